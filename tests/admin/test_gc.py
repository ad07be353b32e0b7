"""The garbage collection over /api/v1/."""

import pytest

from tests.admin.world import World
from tests.support.registry import execute, push

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_what_waits_what_a_run_would_do_and_why_something_stays(world: World) -> None:
    digest = await push(world.registry, b"not needed")
    (reason,) = (await world.call("GET", f"gc/explain/{digest[:20]}")).json["reasons"]
    assert reason.startswith("lease: team/app keeps it at least until ")

    await execute(
        world.registry, "UPDATE link SET keep_until = 0, review_at = ? WHERE digest = ?", world.clock.now, digest
    )
    world.clock.advance(5000)
    told = (await world.call("GET", "gc")).json
    assert (told["candidates"]["links"], told["late"], told["running"], told["wanted"]) == (1, 5.0, False, False)
    planned = (await world.call("GET", "gc/plan")).json
    assert (planned["links"], planned["blobs"], planned["doomed_bytes"]) == (1, 1, len(b"not needed"))
    assert (await world.call("GET", f"gc/explain/{digest}")).json["reasons"] == ["nothing: the next run takes it"]


async def test_a_run_is_wanted_from_the_keeper(world: World) -> None:
    answer = await world.call("POST", "gc/runs")
    assert (answer.status, answer.json["wanted"]) == (202, True)
    assert (await world.registry.tasks.state("gc")).is_due(10**9)


@pytest.mark.parametrize("digest", ["0" * 8, "sha256:" + "0" * 64])
async def test_what_is_not_here_keeps_nothing(world: World, digest: str) -> None:
    answer = await world.call("GET", f"gc/explain/{digest}")
    assert answer.status == 404 or answer.json["reasons"] == []
