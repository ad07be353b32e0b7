"""Every operation, whoever asks for it: whether or not there is what it is about."""

from dataclasses import fields

import msgspec
import pytest

from registry.admin.operation import Operation
from registry.admin.operations import OPERATIONS
from tests.admin.world import BODIES, BY_NAME, HOST, World, filled
from tests.support.access import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLERS = ("anonymous", "plain", "robot", "job", "lead", "admin")
KNOWN = ("plain", "robot", "job", "lead", "admin")
ADMINISTRATORS = ("admin",)
# Lead has made the robot, and administers the pattern; all others get 403, and strangers 401
LEADS = ("lead", "admin")
PULLERS = ("robot", "lead", "admin")
ALLOWED = {
    "list_users": ADMINISTRATORS,
    "add_user": ADMINISTRATORS,
    "get_user": ADMINISTRATORS,
    "change_user": ADMINISTRATORS,
    "delete_user": ADMINISTRATORS,
    "set_password": ADMINISTRATORS,
    "list_groups": ADMINISTRATORS,
    "add_group": ADMINISTRATORS,
    "get_group": ADMINISTRATORS,
    "delete_group": ADMINISTRATORS,
    "add_member": ADMINISTRATORS,
    "remove_member": ADMINISTRATORS,
    "list_robots": KNOWN,
    "add_robot": LEADS,
    "get_robot": LEADS,
    "change_robot": LEADS,
    "delete_robot": LEADS,
    "add_secret": LEADS,
    "revoke_secret": LEADS,
    "list_grants": LEADS,
    "add_grant": LEADS,
    "get_grant": LEADS,
    "remove_grant": LEADS,
    "list_rules": ADMINISTRATORS,
    "add_rule": ADMINISTRATORS,
    "get_rule": ADMINISTRATORS,
    "delete_rule": ADMINISTRATORS,
    "list_repositories": KNOWN,
    "get_repository": PULLERS,
    "list_tags": PULLERS,
    "delete_repository": PULLERS,
    "rename_repository": PULLERS,
    "get_tag": PULLERS,
    "get_tag_history": PULLERS,
    "roll_back": PULLERS,
    "list_trash": KNOWN,
    "get_trash_entry": PULLERS,
    "restore_trash_entry": PULLERS,
    "purge_trash_entry": LEADS,
    "list_events": ADMINISTRATORS,
    "explain_access": ADMINISTRATORS,
    "list_quarantine": ADMINISTRATORS,
    "get_digest": PULLERS,
    "list_digest_tags": PULLERS,
    "list_digest_manifests": PULLERS,
    "list_digest_repositories": PULLERS,
    "verify_digest": ADMINISTRATORS,
    "get_gc": ADMINISTRATORS,
    "run_gc": ADMINISTRATORS,
    "plan_gc": ADMINISTRATORS,
    "explain_gc": ADMINISTRATORS,
    "get_me": KNOWN,
    "set_my_password": ("plain", "lead", "admin"),
    "get_openapi": CALLERS,
}
# What somebody may not pull is nothing to them
UNSEEN = {"get_digest", "list_digest_tags", "list_digest_manifests", "list_digest_repositories"}
QUERIES = {"explain_access": "?as=admin&on=team/app"}
CASES = [(operation.name, who) for operation in OPERATIONS for who in CALLERS]
NOWHERE = {
    "name": "nobody",
    "user": "nobody",
    "secret_id": "none",
    "grant_id": "999999",
    "digest": f"sha256:{'0' * 64}",
    "repository": "nowhere",
    "tag": "none",
    "entry_id": "999999",
}


async def test_the_tables_are_complete() -> None:
    assert {operation.name for operation in OPERATIONS if operation.body} == set(BODIES)
    assert [operation.name for operation in OPERATIONS] == list(ALLOWED)
    assert len(CASES) == 54 * 6


async def test_an_operation_says_what_it_needs() -> None:
    with pytest.raises(TypeError, match="needs"):
        Operation("GET", "users", lambda: None)  # type: ignore[arg-type, call-arg, return-value]
    assert [field.name for field in fields(Operation)][3] == "needs"


@pytest.mark.parametrize(("name", "who"), CASES, ids=map("-".join, CASES))
async def test_who_may(world: World, name: str, who: str) -> None:
    operation, things = BY_NAME[name], await world.things()
    before = await world.changes()
    body = filled(name, things)
    answer = await world.call(operation.method, operation.path.format(**things) + QUERIES.get(name, ""), body, who=who)
    allowed = who in ALLOWED[name]
    assert answer.status == (operation.status if allowed else refused(name, who)), answer
    assert answer.headers["Cache-Control"] == "no-store"
    if not allowed:
        answer.problem()
    elif operation.answer is not None:
        msgspec.convert(answer.json, operation.answer)  # of the types that it is documented to have
    # who is a member stays one; what the collection takes away was deleted before
    changes = allowed and operation.method != "GET" and name not in ("add_member", "run_gc")
    assert (await world.changes() > before) == changes
    challenge = f'Bearer realm="{HOST}/auth/token",service="registry.test",scope="registry:api:*"'
    assert answer.headers.getall("WWW-Authenticate", []) == ([challenge] if answer.status == 401 else [])


@pytest.mark.parametrize(("name", "who"), [case for case in CASES if "{" in BY_NAME[case[0]].path], ids=str)
async def test_only_who_may_learns_that_there_is_nothing(world: World, name: str, who: str) -> None:
    operation = BY_NAME[name]
    body = filled(name, NOWHERE)
    answer = await world.call(operation.method, operation.path.format(**NOWHERE), body, who=who)
    assert (answer.status, answer.problem()["status"]) == (404 if who == "admin" else refused(name, who),) * 2


async def test_what_needs_a_pattern_needs_that_one(world: World) -> None:
    wanted = {"subject": "authenticated", "verbs": ["pull"]}
    answers = {
        pattern: (await world.call("POST", "grants", {**wanted, "pattern": pattern}, who="lead")).status
        for pattern in ("team/**", "team/*", "team/a/b", "teams/a", "team", "**", "*")
    }
    assert answers == {"team/**": 201, "team/*": 201, "team/a/b": 201, "teams/a": 403, "team": 403, "**": 403, "*": 403}


async def test_a_robot_is_its_creators_and_not_of_whoever_has_the_name_next(world: World) -> None:
    users, name = world.registry.access.users, "passing"
    await world.call("POST", "users", {"name": name, "password": PASSWORD})
    await world.call("POST", "grants", {"subject": f"user:{name}", "pattern": "team/**", "verbs": ["admin"]})
    assert (await world.call("POST", "robots", {"name": "left-behind"}, who=name)).status == 201
    assert (await world.call("GET", "robots/left-behind", who=name)).status == 200
    assert (await world.call("GET", "robots/left-behind", who="lead")).status == 403
    await world.call("DELETE", f"users/{name}")
    await world.call("POST", "users", {"name": name, "password": PASSWORD})
    assert (await world.call("GET", "robots/left-behind", who=name)).status == 403
    assert (await world.call("GET", "robots", who=name)).json == {"items": []}
    assert (await users.get(name)).name == name


async def test_refusals_are_in_the_audit_log(world: World) -> None:
    await world.call("GET", "users", who="plain")
    events = (await world.call("GET", "audit?identity=user:plain&action=access.denied")).json["items"]
    assert {"action": "admin"} in [event["details"] for event in events]


def refused(name: str, who: str) -> int:
    if who == "anonymous":
        return 401
    return 404 if name in UNSEEN else 403
