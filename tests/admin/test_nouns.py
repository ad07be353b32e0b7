"""What administrators do, noun by noun, and what comes of it."""

import pytest

from tests.admin.world import World
from tests.support.access import PASSWORD, basic, bearer
from tests.support.registry import DAY, execute

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER = "another password"
NOW = "2023-11-14T22:13:20.000Z"


async def test_users(world: World) -> None:
    made = await world.call("POST", "users", {"name": "ann", "password": PASSWORD})
    user = {"name": "ann", "disabled": False, "created_at": NOW, "groups": []}
    assert (made.status, made.json) == (201, user)
    assert made.headers["Location"] == "https://registry.test/api/v1/users/ann"
    assert (await world.call("POST", "users", {"name": "ann", "password": PASSWORD})).status == 409
    assert "ann" in [found["name"] for found in (await world.call("GET", "users")).json["items"]]
    assert (await world.call("GET", "me", who="ann")).status == 200

    changed = await world.call("PATCH", "users/ann", {"disabled": True})
    assert changed.json == {**user, "disabled": True}
    assert (await world.call("GET", "me", who="ann")).status == 401
    await world.call("PATCH", "users/ann", {"disabled": False})

    assert (await world.call("PUT", "users/ann/password", {"password": OTHER})).status == 204
    assert (await world.call("GET", "me", who="ann")).status == 401
    assert (await world.send("GET", "/api/v1/me", headers=basic("ann", OTHER))).status == 200
    assert (await world.call("DELETE", "users/ann")).status == 204
    gone = (await world.call("GET", "users/ann")).problem()["detail"]
    assert gone == "there is no user ann; `digestry user list` shows them"


async def test_groups(world: World) -> None:
    assert (await world.call("POST", "groups", {"name": "devs"})).json == {"name": "devs", "members": []}
    assert (await world.call("POST", "groups", {"name": "devs"})).status == 409
    assert (await world.call("PUT", "groups/devs/members/plain")).status == 204
    assert (await world.call("GET", "groups/devs")).json == {"name": "devs", "members": ["plain"]}
    assert (await world.call("GET", "users/plain")).json["groups"] == ["devs"]
    assert {"name": "devs"} in (await world.call("GET", "groups")).json["items"]
    assert (await world.call("DELETE", "groups/devs/members/plain")).status == 204
    assert (await world.call("DELETE", "groups/devs/members/plain")).status == 404
    assert (await world.call("DELETE", "groups/devs")).status == 204
    assert (await world.call("GET", "groups/devs")).status == 404


async def test_robots_and_their_secrets(world: World) -> None:
    made = await world.call("POST", "robots", {"name": "build", "about": "nightly", "lifetime": "30d"}, who="lead")
    first = made.json
    assert made.status == 201 and set(first) == {"name", "id", "user", "secret"}
    assert (first["name"], first["user"]) == ("build", "robot$build")
    assert (await world.send("GET", "/api/v1/me", headers=basic(first["user"], first["secret"]))).status == 200

    robot = (await world.call("GET", "robots/build")).json
    secret = robot.pop("secrets")[0]
    about = {"name": "build", "about": "nightly", "disabled": False, "created_at": NOW, "created_by": "user:lead"}
    assert robot == about
    assert secret == {
        "id": first["id"],
        "created_at": NOW,
        "expires_at": "2023-12-14T22:13:20.000Z",
        "expired": False,
        "last_used_at": NOW,
    }
    assert about in (await world.call("GET", "robots", who="lead")).json["items"]

    second = (await world.call("POST", "robots/build/secrets", {"overlap": "12h"}, who="lead")).json
    ends = {one["id"]: one["expires_at"] for one in (await world.call("GET", "robots/build")).json["secrets"]}
    assert ends == {first["id"]: "2023-11-15T10:13:20.000Z", second["id"]: "2024-02-12T22:13:20.000Z"}
    assert (await world.call("DELETE", f"robots/build/secrets/{first['id']}", who="lead")).status == 204
    assert (await world.send("GET", "/api/v1/me", headers=basic("robot$build", first["secret"]))).status == 401
    assert (await world.send("GET", "/api/v1/me", headers=basic("robot$build", second["secret"]))).status == 200

    assert (await world.call("PATCH", "robots/build", {"disabled": True}, who="lead")).json["disabled"] is True
    assert (await world.send("GET", "/api/v1/me", headers=basic("robot$build", second["secret"]))).status == 401
    assert (await world.call("DELETE", "robots/build", who="lead")).status == 204
    assert (await world.call("GET", "robots/build")).status == 404


async def test_grants(world: World) -> None:
    made = await world.call("POST", "grants", {"subject": "user:plain", "pattern": "a/*", "verbs": ["push", "pull"]})
    grant = {"id": made.json["id"], "subject": "user:plain", "pattern": "a/*", "verbs": ["pull", "push"]}
    assert (made.status, made.json) == (201, grant)
    path = f"grants/{grant['id']}"
    assert made.headers["Location"] == f"https://registry.test/api/v1/{path}"
    more = await world.call("POST", "grants", {"subject": "user:plain", "pattern": "a/*", "verbs": ["delete"]})
    grant["verbs"] = ["pull", "push", "delete"]
    assert more.json == grant == (await world.call("GET", path)).json
    assert (await world.call("GET", "grants?subject=user:plain")).json == {"items": [grant]}
    assert (await world.call("GET", "me", who="plain")).json["grants"] == [grant]

    told = (await world.call("GET", "access/explain?as=plain&on=a/b")).json
    reasons = {reason["verb"]: (reason["allowed"], reason["grants"]) for reason in told["verbs"]}
    assert reasons["delete"] == (True, [grant])
    assert reasons["admin"] == reasons["overwrite"] == (False, [])
    assert (await world.call("DELETE", path)).status == 204
    assert (await world.call("GET", path)).status == 404
    assert (await world.call("GET", "me", who="plain")).json["grants"] == []


async def test_rules(world: World) -> None:
    rule = {
        "name": "deploy-main",
        "provider": "github",
        "audience": "https://registry.test",
        "claims": {"repository_id": ["1"], "ref": ["refs/heads/main", "refs/tags/*"]},
        "lifetime": "20m",
        "reuse": "10s",
    }
    issuer = "https://token.actions.githubusercontent.com"
    made = await world.call("POST", "ci-rules", rule)
    assert (made.status, made.json) == (201, {**rule, "issuer": issuer, "created_by": "user:admin", "created_at": NOW})
    assert (await world.call("POST", "ci-rules", rule)).status == 409
    assert made.json in (await world.call("GET", "ci-rules")).json["items"]
    assert made.json == (await world.call("GET", "ci-rules/deploy-main")).json
    careless = await world.call("POST", "ci-rules", {**rule, "claims": {"ref": ["refs/heads/main"]}})
    assert careless.status == 400 and "repository_id" in careless.problem()["detail"]
    careless = await world.call("POST", "ci-rules", {**rule, "reuse": "2m"})
    assert careless.status == 400 and "1 minute" in careless.problem()["detail"]
    once = await world.call("POST", "ci-rules", {**rule, "name": "deploy-once", "reuse": None})
    assert (once.status, once.json["reuse"]) == (201, None)
    assert (await world.call("DELETE", "ci-rules/deploy-main")).status == 204
    assert (await world.call("DELETE", "ci-rules/deploy-main")).status == 404


async def test_the_audit_log_tells_who_did_what_from_where(world: World) -> None:
    asked = await world.send("POST", "/api/v1/groups", {"name": "ops"}, who="admin", headers={"X-Request-Id": "story"})
    assert asked.status == 201
    event = (await world.call("GET", "audit?identity=user:admin&action=group.*&limit=1")).json["items"][0]
    found = {name: event[name] for name in ("at", "action", "details", "request_id", "address", "repository")}
    assert found == {
        "at": NOW,
        "action": "group.create",
        "details": {"group": "ops"},
        "request_id": "story",
        "address": "127.0.0.1",
        "repository": None,
    }
    assert event["credential"].startswith("user.")
    assert (await world.call("GET", "audit?since=2023-11-14T22:13:21Z")).json == {"items": []}
    assert (await world.call("GET", "audit?until=2023-11-14T22:13:20Z")).json == {"items": []}
    assert (await world.call("GET", "audit?repository=team/app")).json == {"items": []}


@pytest.mark.parametrize(
    ("who", "identity", "credential", "token"),
    [
        ("plain", "user:plain", "password", False),
        ("robot", "robot:builder", "robot secret", False),
        ("job", "ci:deploy", "CI job", True),
    ],
)
async def test_me(world: World, who: str, identity: str, credential: str, token: bool) -> None:
    told = (await world.call("GET", "me", who=who)).json
    told.pop("grants")
    assert told == {"identity": identity, "credential": credential, "token": token}


async def test_one_changes_ones_own_password_by_the_current_one(world: World) -> None:
    await world.call("POST", "users", {"name": "bob", "password": PASSWORD})
    path, new = "/api/v1/me/password", {"current": PASSWORD, "new": OTHER}
    assert (await world.send("PUT", path, new, who="bob")).status == 204
    headers = basic("bob", OTHER)
    for _ in range(3):
        wrong = await world.send("PUT", path, {"current": "guess", "new": PASSWORD}, headers=headers)
        assert (wrong.status, wrong.headers.get("WWW-Authenticate")) == (403, None)
        assert wrong.problem()["detail"] == "the current password is wrong"
    many = await world.send("PUT", path, {"current": OTHER, "new": PASSWORD}, headers=headers)
    assert (many.status, many.problem()["status"]) == (429, 429) and int(many.headers["Retry-After"]) > 0


@pytest.mark.parametrize(("scope", "status"), [("registry:api:*", 200), ("registry:catalog:*", 401), ("", 401)])
async def test_a_token_must_be_for_this_api(world: World, scope: str, status: int) -> None:
    token = await world.token(basic("admin"), scope)
    for path in ("me", "users"):
        assert (await world.send("GET", f"/api/v1/{path}", headers=bearer(token))).status == status


async def test_the_last_administrator_stays(world: World) -> None:
    """Reliability A-20."""
    await world.call("POST", "groups", {"name": "chiefs"})
    await world.call("PUT", "groups/chiefs/members/lead")
    grant = (await world.call("GET", "grants?subject=user:admin")).json["items"][0]
    ways = [("DELETE", "users/admin", None), ("PATCH", "users/admin", {"disabled": True})]
    ways.append(("DELETE", f"grants/{grant['id']}", None))
    for way in ways:
        assert (await world.call(*way)).problem()["status"] == 409
    chiefs = await world.call("POST", "grants", {"subject": "group:chiefs", "pattern": "**", "verbs": ["admin"]})
    assert chiefs.status == 201
    assert (await world.call("PATCH", "users/admin", {"disabled": True})).status == 200
    for last in (("DELETE", "groups/chiefs/members/lead"), ("DELETE", "groups/chiefs"), ("DELETE", "users/lead")):
        assert (await world.call(*last, who="lead")).status == 409
    assert (await world.call("PATCH", "users/admin", {"disabled": False}, who="lead")).status == 200
    assert (await world.call("DELETE", "groups/chiefs")).status == 204


@pytest.mark.parametrize("who", ["robot", "job"])
async def test_no_credential_makes_another_one(world: World, who: str) -> None:
    """Reliability A-20: not even one that got admin past our checks."""
    subject = {"robot": "robot:builder", "job": "ci:deploy"}[who]
    columns = "subject, pattern, verbs, created_at, created_by"
    await execute(
        world.registry, f"INSERT INTO access_grant ({columns}) VALUES (?, 'team/**', 'pull,admin', 0, '')", subject
    )
    await world.things()  # a change that everybody sees
    held = (await world.call("GET", "me", who=who)).json["grants"]
    assert ("team/**", ["pull", "admin"]) in [(grant["pattern"], grant["verbs"]) for grant in held]
    made = await world.call("POST", "robots", {"name": "heir"}, who=who)
    granted = await world.call(
        "POST", "grants", {"subject": "anonymous", "pattern": "team/a", "verbs": ["pull"]}, who=who
    )
    rotated = await world.call("POST", "robots/builder/secrets", {}, who=who)
    assert (made.status, granted.status, rotated.status) == (403, 403, 403)
    admin = {"subject": "robot:builder", "pattern": "**", "verbs": ["admin"]}
    assert (await world.call("POST", "grants", admin)).status == 400


async def test_a_secret_is_shown_once(world: World) -> None:
    password = "canary in a password"
    await world.call("POST", "users", {"name": "kay", "password": password})
    secrets = [
        (await world.call("POST", "robots", {"name": "singer"})).json["secret"],
        (await world.call("POST", "robots/singer/secrets", {})).json["secret"],
    ]
    pages = [(await world.call("GET", path)).body.decode() for path in READABLE]
    hashes = await execute(world.registry, "SELECT password FROM user_account UNION SELECT hash FROM robot_secret")
    hidden = [password, *secrets, *[text for (text,) in hashes if isinstance(text, str)]]
    assert len(hidden) > 5
    assert [text for page in pages for text in hidden if text in page] == []


READABLE = (
    "users",
    "users/kay",
    "robots",
    "robots/singer",
    "grants",
    "audit?limit=1000",
    "me",
    "access/explain?as=robot:singer&on=a",
    "openapi.json",
)


async def test_an_expired_secret_is_told_to_be(world: World) -> None:
    await world.call("POST", "robots", {"name": "brief", "lifetime": "1d"})
    world.clock.advance(DAY)
    assert (await world.call("GET", "robots/brief")).json["secrets"][0]["expired"] is True
