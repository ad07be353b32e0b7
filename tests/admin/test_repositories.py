"""Repositories and tags under `/api/v1/`: what is told, to whom, and by which token."""

from typing import Any

import pytest
import pytest_asyncio

from registry.domain.grants import Grant, Pattern, parse_verbs
from tests.admin.world import HOST, World
from tests.support.access import OPERATING, basic, bearer
from tests.support.filling import put, put_manifest
from tests.support.images import OCI, image, index

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "repositories/team%2Fapp"


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def furnished(world: World) -> None:
    """In team/app a tag for an index and more for an image; in public/tool one that anybody may pull."""
    registry = world.registry
    await put(registry, "team/app", "index", index("app"))
    await put(registry, "team/app", "v0", image("app"))
    await put_manifest(registry, "team/app", image("app").manifest, OCI.manifest, *(f"v{n}" for n in range(1, 5)))
    await put(registry, "public/tool", "v1", image("tool"))
    anybody = Grant("anonymous", Pattern("public/**"), parse_verbs(["pull"]))
    await registry.access.grants.add(anybody, OPERATING)


async def names(world: World, who: str = "", headers: dict[str, str] | None = None) -> list[str]:
    answer = await world.send("GET", "/api/v1/repositories", who=who, headers=headers)
    assert answer.status == 200, answer
    return [one["name"] for one in answer.json["items"]]


async def test_a_list_has_what_may_be_pulled(world: World) -> None:
    assert await names(world) == await names(world, "plain") == ["public/tool"]
    assert await names(world, "lead") == await names(world, "robot") == ["public/tool", "team/app"]


async def test_a_repository_and_its_tags(world: World) -> None:
    found = (await world.call("GET", APP, who="lead")).json
    images = (*index("app").images, image("app"))
    size = sum({part.digest: len(part.data) for one in images for part in one.blobs}.values())
    moved_at = found.pop("moved_at")
    assert found == {"name": "team/app", "tags": 6, "more_tags": False, "size": size, "more_size": False}
    tag = (await world.call("GET", f"{APP}/tags?limit=1", who="lead")).json["items"][0]
    assert tag == {
        "name": "index",
        "digest": index("app").digest,
        "kind": "index",
        "media_type": OCI.index,
        "artifact_type": None,
        "platforms": ["linux/amd64", "linux/arm64"],
        "size": sum(len(part.data) for one in index("app").images for part in one.blobs),
        "moved_at": moved_at,
        "moved_by": "anonymous",
    }


async def test_pages_link_to_the_same_repository(world: World) -> None:
    found: list[Any] = []
    target = f"/api/v1/{APP}/tags?limit=4"
    for following in (f"</api/v1/{APP}/tags?limit=4&after=v2>", ""):
        answer = await world.send("GET", target, who="lead")
        found += [tag["name"] for tag in answer.json["items"]]
        link = answer.headers.get("Link", "").replace(HOST, "").partition(";")[0]
        assert link == following
        target = link.strip("<>")
    assert found == ["index", *(f"v{n}" for n in range(5))]


async def test_strangers_do_not_learn_who_pushed(world: World) -> None:
    tags = {
        who: (await world.call("GET", "repositories/public%2Ftool/tags", who=who)) for who in ("plain", "anonymous")
    }
    assert tags["plain"].json["items"][0]["moved_by"] == "anonymous"
    assert tags["anonymous"].json["items"][0]["moved_by"] is None


async def test_a_name_is_one_segment(world: World) -> None:
    assert (await world.call("GET", "repositories/team/app")).status == 404
    for name in ("Team", "team%2F", "..", "a%00", "a%2F..%2Fb"):
        (await world.call("GET", f"repositories/{name}")).problem()
        assert (await world.call("GET", f"repositories/{name}", who="plain")).status == 404


async def test_refusals_name_verb_and_repository(world: World) -> None:
    await world.call("GET", f"{APP}/tags", who="plain")
    events = (await world.call("GET", "audit?identity=user:plain&action=access.denied")).json["items"]
    assert (events[0]["repository"], events[0]["details"]) == ("team/app", {"action": "pull"})


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [
        ("registry:api:*", (200, 200, 403)),
        ("repository:team/app:pull", (401, 200, 401)),
        ("registry:catalog:*", (200, 401, 401)),
        ("repository:team/app:push", (401, 401, 401)),
        ("", (401, 401, 401)),
    ],
)
async def test_a_token_is_good_for_what_it_is_for(world: World, scope: str, statuses: tuple[int, ...]) -> None:
    """One for this API, for all of it, as far as the grants go."""
    headers = bearer(await world.token(basic("lead"), scope))
    targets = ("repositories", APP, "repositories/secret")
    answers = [await world.send("GET", f"/api/v1/{target}", headers=headers) for target in targets]
    assert tuple(answer.status for answer in answers) == statuses
    assert {answer.headers.get("WWW-Authenticate", "").rpartition("scope=")[2] for answer in answers} <= {
        "",
        '"registry:api:*"',
    }


async def test_a_token_is_still_told_as_one(world: World) -> None:
    headers = bearer(await world.token(basic("lead"), "registry:api:*"))
    assert (await world.send("GET", "/api/v1/me", headers=headers)).json["token"] is True
    assert (await world.call("GET", "me", who="lead")).json["token"] is False
