"""Digests, as the API tells of them: to each as far as they may pull."""

from typing import Any

import pytest
import pytest_asyncio

from registry.domain.names import Digest, RepositoryName
from tests.admin.test_paging import pages
from tests.admin.world import World
from tests.support.access import basic, grant, revoke
from tests.support.digests import BASE, built, twins
from tests.support.images import OCI, image_config
from tests.support.registry import push
from tests.support.shelf import Shelf

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEAM, ELSEWHERE = RepositoryName("team/app"), RepositoryName("elsewhere/app")
LAYER = Digest.of(BASE)
AT = "2023-11-14T22:13:20"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def images(world: World) -> list[Digest]:
    """Two in team/app, of which a tag moved from the first to the second; one elsewhere, with a better name."""
    shelf = Shelf(world.registry, world.clock)
    first = await built(shelf, "a", "v", name=TEAM)
    second = await built(shelf, "b", "v", name=TEAM)
    await shelf.point(first, "w", name=TEAM)
    return [first, second, await built(shelf, "c", "1.0.0", name=ELSEWHERE)]


async def items(world: World, path: str, who: str = "lead") -> list[dict[str, Any]]:
    found = await pages(world, f"digests/{path}", who)
    return [item for page in found for item in page]


async def test_a_manifest(world: World, images: list[Digest]) -> None:
    told = (await world.call("GET", f"digests/{images[0][:15]}", who="lead")).json
    payload = (await world.registry.manifests.get(TEAM, images[0])).payload
    assert told == {
        "digest": images[0],
        "kinds": ["manifest"],
        "media_type": OCI.manifest,
        "artifact_type": OCI.config,
        "platform": "linux/amd64",
        "size": len(payload),
        "state": "ok",
        "verified_at": None,
        "name": "team/app:w",
    }


async def test_a_blob_is_called_by_what_the_caller_may_pull(world: World, images: list[Digest]) -> None:
    told = {who: (await world.call("GET", f"digests/{LAYER.encoded[:8]}", who=who)).json for who in ("lead", "admin")}
    assert told["lead"] == {**told["admin"], "name": "team/app:w"}
    assert told["admin"]["name"] == "elsewhere/app:1.0.0"
    assert (told["lead"]["kinds"], told["lead"]["verified_at"]) == (["blob"], f"{AT}.000Z")


async def test_tags_now_and_ever(world: World, images: list[Digest]) -> None:
    now = {"repository": "team/app", "tag": "w", "digest": images[0], "since": f"{AT}.002Z", "until": None}
    before = {**now, "tag": "v", "since": f"{AT}.000Z", "until": f"{AT}.001Z"}
    assert await items(world, f"{images[0]}/tags") == [now]
    assert await items(world, f"{images[0]}/tags?ever=true") == [before, now]
    assert [one["tag"] for one in await items(world, f"{LAYER}/tags?limit=1")] == ["v", "w"]
    assert [one["tag"] for one in await items(world, f"{LAYER}/tags?limit=1", "admin")] == ["v", "w", "1.0.0"]
    assert [one["tag"] for one in await items(world, f"{LAYER}/tags?ever=true&limit=1")] == ["v", "v", "w"]


async def test_manifests_and_repositories(world: World, images: list[Digest]) -> None:
    manifests = await items(world, f"{LAYER}/manifests?limit=1")
    frees = {
        digest: len(f"layer of {seed}") + len(image_config([seed])) for digest, seed in zip(images, "ab", strict=False)
    }
    assert [(one["digest"], one["frees"]) for one in manifests] == sorted(frees.items())
    assert {one["name"] for one in manifests} == {"team/app:w", "team/app:v"}
    repositories = await items(world, f"{LAYER}/repositories?limit=1")
    assert repositories == [{"repository": "team/app", "kinds": ["blob"], "frees": sum(frees.values())}]
    everywhere = await items(world, f"{LAYER}/repositories?limit=1", "admin")
    assert [one["repository"] for one in everywhere] == ["team/app", "elsewhere/app"]


async def test_strangers_see_what_anybody_may_pull(world: World, images: list[Digest]) -> None:
    paths = [f"digests/{LAYER}{below}" for below in ("", "/tags?ever=true", "/manifests", "/repositories")]
    assert {(await world.send("GET", f"/api/v1/{path}")).status for path in paths} == {401}
    await grant(world.registry, "anonymous", {"elsewhere/*": "pull"})
    answers = [await world.send("GET", f"/api/v1/{path}") for path in paths]
    assert {answer.status for answer in answers} == {200}
    assert all(b"elsewhere/app" in answer.body and b"team" not in answer.body for answer in answers)
    assert (await world.send("GET", f"/api/v1/digests/{images[0]}")).problem()["status"] == 404
    await revoke(world.registry, "anonymous", "elsewhere/*")


async def test_a_token_of_a_client_shows_what_it_is_for(world: World, images: list[Digest]) -> None:
    for scope, status in (("registry:api:*", 200), ("repository:team/app:pull", 401)):
        token = await world.token(basic("lead"), scope)
        answer = await world.send("GET", f"/api/v1/digests/{LAYER}", headers={"Authorization": f"Bearer {token}"})
        assert answer.status == status


async def test_a_beginning_of_several(world: World) -> None:
    one, two = [await push(world.registry, data, name) for data, name in zip(twins(), (TEAM, ELSEWHERE), strict=True)]
    assert (await world.call("GET", f"digests/{one[:15]}", who="lead")).json["digest"] == one
    answer = await world.call("GET", f"digests/{one[:15]}")
    assert answer.status == 409 and all(digest in answer.problem()["detail"] for digest in (one, two))


@pytest.mark.parametrize("text", ["sha256:0123456", "latest", "01234567g", "sha256%3A012345678%0A", "ABCDEF0123"])
async def test_what_is_no_digest(world: World, text: str) -> None:
    answer = await world.call("GET", f"digests/{text}")
    assert (answer.status, "the first 8 digits" in answer.problem()["detail"]) == (400, True)


@pytest.mark.parametrize("query", ["tags?ever=maybe", "tags?after=x", "manifests?after=x", "repositories?after=x"])
async def test_wrong_queries(world: World, images: list[Digest], query: str) -> None:
    assert (await world.call("GET", f"digests/{LAYER}/{query}")).problem()["status"] == 400
