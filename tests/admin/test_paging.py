"""Long lists come in pages, each entry once."""

import re
from typing import Any
from urllib.parse import quote_plus

import pytest

from registry.domain.grants import Grant, Pattern, parse_verbs
from tests.admin.world import HASH, World
from tests.support.access import OPERATING

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANY = 250


async def pages(world: World, path: str, who: str = "admin") -> list[list[Any]]:
    """Follow Link, which must agree with `next`."""
    found = []
    following: str | None = f"/api/v1/{path}"
    while following:
        answer = await world.send("GET", following, who=who)
        assert answer.status == 200, answer
        found.append(answer.json["items"])
        link = re.fullmatch(r'<https://registry\.test(.+)>; rel="next"', answer.headers.get("Link", ""))
        assert (link is None) == ("next" not in answer.json)
        following = link[1] if link else None
        assert following is None or f"after={quote_plus(answer.json['next'])}" in following
    return found


async def test_users(world: World) -> None:
    for number in range(MANY):
        await world.registry.access.users.adopt(f"many-{number:03}", HASH, OPERATING)
    found = await pages(world, "users")
    assert [len(page) for page in found] == [100, 100, MANY + 3 - 200]
    names = [user["name"] for page in found for user in page]
    assert names == sorted({"admin", "lead", "plain", *(f"many-{number:03}" for number in range(MANY))})
    assert [len(page) for page in await pages(world, "users?limit=1000")] == [MANY + 3]
    assert (await world.call("GET", "users?after=many-249&limit=1")).json["items"][0]["name"] == "plain"


async def test_an_exact_page_is_the_last_one(world: World) -> None:
    for name in ("one", "two"):
        await world.call("POST", "groups", {"name": name})
    assert [len(page) for page in await pages(world, "groups?limit=2")] == [2]


async def test_grants_are_those_that_one_may_administer(world: World) -> None:
    for number in range(60):
        pattern = f"{'team' if number % 3 else 'other'}/{number}"
        wanted = Grant("authenticated", Pattern(pattern), parse_verbs(["pull"]))
        await world.registry.access.grants.add(wanted, OPERATING)
    found = await pages(world, "grants?limit=15&subject=authenticated", who="lead")
    patterns = [grant["pattern"] for page in found for grant in page]
    assert [len(page) for page in found] == [15, 15, 10]
    assert patterns == [f"team/{number}" for number in range(60) if number % 3]
    everything = [grant for page in await pages(world, "grants?limit=7") for grant in page]
    assert len({grant["id"] for grant in everything}) == len(everything) > 60


async def test_events_newest_first(world: World) -> None:
    found = await pages(world, "audit?limit=100&action=user.create")
    ids = [event["id"] for page in found for event in page]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == MANY + 3


async def test_robots_of_others_are_not_listed(world: World) -> None:
    for number in range(5):
        await world.call("POST", "robots", {"name": f"r{number}"}, who="lead" if number % 2 else "admin")
    found = await pages(world, "robots?limit=2", who="lead")
    assert [robot["name"] for page in found for robot in page] == ["builder", "r1", "r3"]
    assert await pages(world, "robots", who="robot") == await pages(world, "robots", who="plain") == [[]]
    assert len((await world.call("GET", "robots")).json["items"]) == 6
