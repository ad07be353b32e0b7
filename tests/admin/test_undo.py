"""Tag history, rollback, the trash, repositories as a whole: over /api/v1/."""

from collections.abc import AsyncIterator
from itertools import count
from urllib.parse import quote

import pytest
import pytest_asyncio

from registry.domain.names import Digest, RepositoryName
from registry.domain.times import rfc3339
from tests.admin.world import LEAD, World
from tests.support.access import add_user, grant
from tests.support.registry import DAY
from tests.support.shelf import Shelf

pytestmark = pytest.mark.asyncio(loop_scope="module")

ABSENT = f"sha256:{'0' * 64}"
numbers = count(1)


class Place:
    """A repository of its own for each test, under team/."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.shelf = Shelf(world.registry, world.clock)
        self.name = RepositoryName(f"team/place{next(numbers)}")
        self.path = f"repositories/{quote(self.name, safe='')}"

    async def image(self, seed: str, *tags: str) -> Digest:
        return await self.shelf.image(seed, *tags, name=self.name)


@pytest_asyncio.fixture(loop_scope="module")
async def place(world: World) -> AsyncIterator[Place]:
    yield Place(world)


# --- tags ----------------------------------------------------------------------------------------------------------


async def test_what_a_tag_points_to_now_and_then(world: World, place: Place) -> None:
    one = await place.image("one", "v")
    then = rfc3339(world.clock.now - 1)
    two = await place.image("two", "v")
    now = await world.call("GET", f"{place.path}/tags/v")
    assert now.json == {"repository": place.name, "tag": "v", "digest": two}
    assert (await world.call("GET", f"{place.path}/tags/v?at={then}")).json["digest"] == one
    early = await world.call("GET", f"{place.path}/tags/v?at=2000-01-01T00:00:00Z")
    assert early.problem()["detail"].startswith(f"{place.name} had no tag v at 2000-01-01T00:00:00.000Z")
    for query, status in (("?at=noon", 400), ("?at=2026-01-01T00:00:00", 400), ("?after=1", 400)):
        assert (await world.call("GET", f"{place.path}/tags/v{query}")).problem()["status"] == status
    for tag in ("w", quote(ABSENT), "%00", "a%2Fb"):
        assert (await world.call("GET", f"{place.path}/tags/{tag}")).problem()["status"] == 404


async def test_a_history_comes_in_pages_newest_first(world: World, place: Place) -> None:
    one, two = await place.image("one", "v"), await place.image("two", "v")
    await place.shelf.delete("v", place.name)
    first = (await world.call("GET", f"{place.path}/tags/v/history?limit=2")).json
    rest = (await world.call("GET", f"{place.path}/tags/v/history?limit=2&after={first['next']}")).json
    moves = [*first["items"], *rest["items"]]
    assert [(move["action"], move["old"], move["new"]) for move in moves] == [
        ("tag.delete", two, None),
        ("tag.point", one, two),
        ("tag.point", None, one),
    ]
    assert (len(first["items"]), "next" in rest) == (2, False)
    assert set(moves[0]) == {"at", "action", "old", "new", "identity", "address", "request_id"}
    assert (moves[0]["at"], moves[0]["request_id"]) == (rfc3339(world.clock.now - 1), "request")
    missing = await world.call("GET", f"{place.path}/tags/other/history")
    assert missing.problem()["detail"] == f"{place.name} never had a tag other"


async def test_who_it_was_is_not_for_strangers_and_from_where_not_for_all(world: World) -> None:
    public = Place(world)
    await public.image("one", "v")
    await world.call(
        "POST", "rollbacks", {"tags": [{"repository": public.name, "tag": "w", "digest": await public.image("one")}]}
    )
    await grant(world.registry, "anonymous", {public.name: "pull"})
    seen = {}
    for who in ("anonymous", "plain", "lead"):
        answer = await world.call("GET", f"{public.path}/tags/w/history", who=who)
        (move,) = answer.json["items"]
        seen[who] = [move["identity"], bool(move["address"]), bool(move["request_id"])]
    assert seen == {
        "anonymous": [None, False, False],
        "plain": ["user:admin", False, False],
        "lead": ["user:admin", True, True],
    }


# --- rollback ------------------------------------------------------------------------------------------------------


async def test_tags_go_back_together(world: World, place: Place) -> None:
    one, two = await place.image("one", "v", "w"), await place.image("two", "v", "w")
    tags = [{"repository": place.name, "tag": "v"}, {"repository": place.name, "tag": "x", "digest": two[:20]}]
    answer = await world.call("POST", "rollbacks", {"tags": tags})
    assert (answer.status, answer.json) == (
        200,
        {
            "tags": [
                {"repository": place.name, "tag": "v", "old": two, "new": one},
                {"repository": place.name, "tag": "x", "old": None, "new": two},
            ]
        },
    )
    assert await place.shelf.tags(place.name) == {"v": one, "w": two, "x": two}
    at = rfc3339(world.clock.now - 1)
    everything = [
        {"repository": place.name, "tag": tag, "expected": digest} for tag, digest in (("v", one), ("w", two))
    ]
    await world.call("POST", "rollbacks", {"tags": everything, "at": at})
    assert await place.shelf.tags(place.name) == {"v": two, "w": two, "x": two}


@pytest.mark.parametrize(
    ("wish", "status", "told"),
    [
        ({"tag": "v", "expected": ABSENT}, 412, f"now, not {ABSENT}"),
        ({"tag": "v", "digest": ABSENT}, 409, "a push brings one back"),
        ({"tag": "v", "digest": "00000000"}, 404, "nothing under 00000000"),
        ({"tag": "v", "digest": "0000000"}, 400, "8 digits or more"),
        ({"tag": "v", "digest": "md5:00000000"}, 400, "a digest is"),
        ({"tag": "new"}, 404, "pointed to nothing else"),
        ({"tag": "-"}, 400, "tag"),
        ({"tag": "w"}, 400, "once"),
    ],
    ids=str,
)
async def test_one_that_cannot_go_back_keeps_all(
    world: World, place: Place, wish: dict[str, str], status: int, told: str
) -> None:
    await place.image("one", "v", "w")
    await place.image("two", "v", "w")
    before = await place.shelf.tags(place.name)
    body = {"tags": [{"repository": place.name, "tag": "w"}, {"repository": place.name, **wish}]}
    problem = (await world.call("POST", "rollbacks", body)).problem()
    assert (problem["status"], told in problem["detail"]) == (status, True), problem
    assert await place.shelf.tags(place.name) == before


@pytest.mark.parametrize("many", [0, 101])
async def test_a_rollback_is_of_one_to_a_hundred_tags(world: World, place: Place, many: int) -> None:
    tags = [{"repository": place.name, "tag": f"t{number}"} for number in range(many)]
    assert (await world.call("POST", "rollbacks", {"tags": tags})).problem()["status"] == 400


async def test_what_is_there_is_not_told_to_those_who_may_not_roll_back(world: World, place: Place) -> None:
    await place.image("one", "v")
    own = Place(world)
    await own.image("one", "v")
    await add_user(world.registry, f"owner{own.name[-1]}", **{own.name: "pull,push,overwrite"})
    for who, verbs in (("plain", ""), (f"owner{own.name[-1]}", "team")):
        told = set()
        for name in (place.name, RepositoryName("team/nowhere")):
            tags = [{"repository": own.name, "tag": "v"}] * bool(verbs) + [{"repository": name, "tag": "v"}]
            problem = (await world.call("POST", "rollbacks", {"tags": tags}, who=who)).problem()
            told.add((problem["status"], problem["detail"]))
        assert len(told) == 1 and next(iter(told))[0] == 403
    tags = [{"repository": own.name, "tag": "v"}, {"repository": "team/nowhere", "tag": "v"}]
    assert (await world.call("POST", "rollbacks", {"tags": tags})).problem()["status"] == 404


# --- the trash -----------------------------------------------------------------------------------------------------


async def test_a_tag_in_the_trash(world: World, place: Place) -> None:
    digest = await place.image("one", "v")
    entry = await place.shelf.delete("v", place.name)
    told = {
        "id": entry.id,
        "kind": "tag",
        "repository": place.name,
        "tag": "v",
        "digest": digest,
        "deleted_at": rfc3339(entry.deleted_at),
        "deleted_by": "anonymous",
        "restorable_until": rfc3339(entry.deleted_at + 14 * DAY),
    }
    assert (await world.call("GET", f"trash?repository={place.name}")).json == {"items": [told]}
    assert (await world.call("GET", f"trash/{entry.id}")).json == {**told, "taken_along": [], "more": False}
    restored = await world.call("POST", f"trash/{entry.id}/restore", {})
    assert restored.json == {"repository": place.name, "manifests": 0, "tags": 1, "conflicts": []}
    assert (await world.call("GET", f"trash/{entry.id}")).problem()["status"] == 404
    assert (await world.call("GET", f"trash?repository={place.name}")).json == {"items": []}
    events = (await world.call("GET", f"audit?repository={place.name}&action=tag.restore")).json["items"]
    assert [(event["identity"], event["tag"]) for event in events] == [("user:admin", "v")]


async def test_what_went_along_is_told_by_its_entry(world: World, place: Place) -> None:
    digest = await place.image("one", "a", "b")
    signature = await place.shelf.referrer(digest, "signature", name=place.name)
    await place.shelf.delete(digest, place.name)
    (listed,) = (await world.call("GET", f"trash?repository={place.name}")).json["items"]
    detail = (await world.call("GET", f"trash/{listed['id']}")).json
    assert [(one["kind"], one["tag"] or one["digest"]) for one in detail["taken_along"]] == [
        ("tag", "a"),
        ("tag", "b"),
        ("manifest", signature),
    ]
    assert not detail["more"]


async def test_newer_tags_stay_and_are_told(world: World, place: Place) -> None:
    old = await place.image("old", "v")
    entry = await place.shelf.delete("v", place.name)
    new = await place.image("new", "v")
    restored = await world.call("POST", f"trash/{entry.id}/restore", {})
    assert restored.json["conflicts"] == [{"tag": "v", "kept": new, "restored": old}]
    assert (await world.call("POST", f"trash/{entry.id}/restore", {"name": "w"})).json["tags"] == 1
    assert await place.shelf.tags(place.name) == {"v": new, "w": old}


async def test_a_purge(world: World, place: Place) -> None:
    await place.image("one", "v")
    entry = await place.shelf.delete("v", place.name)
    assert (await world.call("DELETE", f"trash/{entry.id}", who="robot")).problem()["status"] == 403
    assert (await world.call("DELETE", f"trash/{entry.id}", who="lead")).status == 204
    assert (await world.call("POST", f"trash/{entry.id}/restore", {})).problem()["status"] == 404


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/restore"), ("DELETE", "")])
async def test_nobody_learns_which_ids_there_are(world: World, place: Place, method: str, path: str) -> None:
    await place.image("one", "v")
    entry = await place.shelf.delete("v", place.name)
    told = set()
    for entry_id in (entry.id, 999_999, "x", "9" * 30):
        answer = await world.call(method, f"trash/{entry_id}{path}", {} if path else None, who="plain")
        told.add((answer.problem()["status"], answer.problem()["detail"]))
    assert len(told) == 1 and next(iter(told))[0] == 403
    assert (await world.call(method, f"trash/999999{path}", {} if path else None)).problem()["status"] == 404


async def test_whoever_may_delete_everything_learns_that_there_is_nothing(world: World) -> None:
    name = f"deleter{next(numbers)}"
    await add_user(world.registry, name, **{"**": "delete"})
    assert (await world.call("GET", "trash/999999", who=name)).problem()["status"] == 404
    assert (await world.call("DELETE", "trash/999999", who=name)).problem()["status"] == 403


async def test_the_list_has_what_one_may_restore(world: World, place: Place) -> None:
    await place.image("one", *(f"t{number}" for number in range(5)))
    for number in range(5):
        await place.shelf.delete(f"t{number}", place.name)
    name = f"keeper{next(numbers)}"
    await add_user(world.registry, name, **{place.name: "pull,delete"})
    found, path = list[str](), "trash?limit=2"
    while True:
        page = (await world.call("GET", path, who=name)).json
        found += [entry["tag"] for entry in page["items"]]
        if "next" not in page:
            break
        path = f"trash?limit=2&after={page['next']}"
    assert found == ["t4", "t3", "t2", "t1", "t0"]
    assert (await world.call("GET", "trash", who="plain")).json == {"items": []}
    assert (await world.call("GET", f"trash?repository={place.name}", who="plain")).json == {"items": []}
    for query in ("repository=A", "after=x", "limit=0"):
        assert (await world.call("GET", f"trash?{query}")).problem()["status"] == 400
    entry = (await world.call("GET", "trash?limit=1", who=name)).json["items"][0]["id"]
    assert (await world.call("POST", f"trash/{entry}/restore", {}, who=name)).problem()["status"] == 403  # no push


# --- repositories --------------------------------------------------------------------------------------------------


async def test_a_repository_goes_and_comes_back(world: World, place: Place) -> None:
    digest = await place.image("one", "v")
    deleted = await world.call("DELETE", place.path)
    assert (deleted.status, deleted.json["kind"], deleted.json["tag"]) == (200, "repository", None)
    assert deleted.json["restorable_until"] == rfc3339(world.clock.now + 14 * DAY)
    assert (await world.call("GET", place.path)).status == 404
    assert (await world.call("DELETE", place.path)).problem()["status"] == 404
    new = await place.image("two", "v")
    restore = f"trash/{deleted.json['id']}/restore"
    other = f"{place.name}/before"
    for name, status in (("A", 400), (place.name, 409)):
        assert (await world.call("POST", restore, {"name": name})).problem()["status"] == status
    restored = await world.call("POST", restore, {"name": other})
    assert restored.json == {"repository": other, "manifests": 1, "tags": 1, "conflicts": []}
    assert await place.shelf.tags(place.name) == {"v": new}
    assert await place.shelf.tags(RepositoryName(other)) == {"v": digest}


async def test_a_repository_gets_another_name(world: World, place: Place) -> None:
    digest = await place.image("one", "v")
    other = Place(world)
    assert (await world.call("POST", f"{place.path}/rename", {"name": other.name}, who="lead")).status == 204
    assert (await world.call("GET", f"{other.path}/tags/v")).json["digest"] == digest
    assert (await world.call("POST", f"{place.path}/rename", {"name": "team/x"})).problem()["status"] == 404
    for name, status in ((other.name, 409), ("A", 400), ("", 400)):
        assert (await world.call("POST", f"{other.path}/rename", {"name": name})).problem()["status"] == status
    outside = await world.call("POST", f"{other.path}/rename", {"name": "elsewhere/app"}, who="lead")
    assert outside.problem()["status"] == 403
    assert LEAD.identity.name in outside.problem()["detail"]
