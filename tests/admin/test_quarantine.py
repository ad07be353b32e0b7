"""The quarantine over /api/v1/."""

import json

import pytest

from tests.admin.world import World
from tests.support.registry import execute, push
from tests.support.rot import flip, stored_file

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_blob_that_an_administrator_suspects_is_looked_at_next_and_listed(world: World) -> None:
    registry = world.registry
    digest = await push(registry, b"suspected")
    flip(await stored_file(registry, digest), 3)
    assert (await world.call("GET", "quarantine")).json == {"items": []}

    wanted = await world.call("POST", f"digests/{digest[:20]}/verify")
    assert (wanted.status, wanted.json) == (202, {"digest": digest})
    assert not await registry.scrub.some(60)

    listed = {"digest": digest, "size": 9, "tags": [], "more_tags": False}
    assert (await world.call("GET", "quarantine")).json == {
        "items": [{**listed, "found_at": "2023-11-14T22:13:20.000Z"}]
    }
    await world.call("POST", f"digests/{digest}/verify")
    assert (await world.call("GET", "quarantine")).json == {"items": [{**listed, "found_at": None}]}
    await push(registry, b"suspected")
    assert (await world.call("GET", "quarantine")).json == {"items": []}


async def test_who_did_what_is_in_the_audit_log(world: World) -> None:
    digest = await push(world.registry, b"audited")
    (await stored_file(world.registry, digest)).unlink()
    await world.call("POST", f"digests/{digest}/verify")
    await world.registry.scrub.some(60)
    events = (await world.call("GET", "audit?action=blob.*")).json["items"]
    told = [(event["identity"], event["action"]) for event in events if event["details"]["digest"] == digest]
    assert told == [("scrub", "blob.quarantine"), ("user:admin", "blob.verify")]


@pytest.mark.parametrize(
    ("text", "status"), [("0" * 64, 404), ("abc", 400), ("sha256:xyz", 400), ("md5:" + "0" * 32, 400)]
)
async def test_what_is_no_blob_can_t_be_verified(world: World, text: str, status: int) -> None:
    assert (await world.call("POST", f"digests/{text}/verify")).problem()["status"] == status


async def test_a_long_quarantine_comes_in_pages(world: World) -> None:
    digests = sorted([await push(world.registry, b"page %d" % number) for number in range(3)])
    await execute(world.registry, f"UPDATE blob SET state = 'quarantined' WHERE digest IN {(*digests,)}")
    found, after = [], ""
    while after is not None:
        page = json.loads((await world.call("GET", f"quarantine?limit=2&after={after}")).body)
        found += [item["digest"] for item in page["items"]]
        after = page.get("next")
    assert [digest for digest in found if digest in digests] == digests
