"""`digestry gc`: what it says, to people and to programs."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from registry.assembly import Registry
from registry.cli import gc
from registry.clock import wall_clock
from tests.content.test_fsck import push_image
from tests.support.commands import Commands
from tests.support.registry import DAY, NAME, execute, opened, push

T = TypeVar("T")


def operate(digestry: Commands, work: Callable[[Registry], Awaitable[T]]) -> T:
    async def run() -> T:
        async with opened(digestry.folder, wall_clock) as registry:
            return await work(registry)

    return asyncio.run(run())


async def _leave_garbage(registry: Registry) -> None:
    await push(registry, b"alone")
    await execute(registry, "UPDATE link SET keep_until = 0, review_at = 0")


@pytest.fixture
def garbage(digestry: Commands) -> Commands:
    """A registry with one blob that nothing needs."""
    operate(digestry, _leave_garbage)
    return digestry


def test_a_run_says_what_it_did(garbage: Commands) -> None:
    said = garbage.done("gc", "run")
    assert said.out.startswith("0 entries of the trash expired, 1 blob (5 B) doomed, 0 files (0 B) removed, in ")
    again = garbage.done("gc", "run", "--json").json
    assert (again["blobs"], again["complete"]) == (0, True)


def test_a_plan_changes_nothing(garbage: Commands) -> None:
    for _ in range(2):
        planned = garbage.done("gc", "plan", "--json").json
        assert (planned["blobs"], planned["doomed_bytes"]) == (1, 5)
    assert garbage.done("gc", "plan").out.startswith("a run would: 0 entries")


def test_explain_takes_the_beginning_of_a_digest(digestry: Commands) -> None:
    image = operate(digestry, push_image)
    said = digestry.done("gc", "explain", image.encoded[:8])
    reasons = [f"manifest: {NAME} has it; untagged ones stay too", f"tag {NAME}:latest points to it"]
    assert said.out.startswith("\n  ".join([image, *reasons, f"lease: {NAME} keeps it at least until 2"]))
    told = digestry.done("gc", "explain", image, "--json").json
    assert (told["digest"], len(told["reasons"])) == (image, 3)


def test_explain_of_doomed_bytes_says_when_they_go(garbage: Commands) -> None:
    garbage.done("gc", "run")
    ((key,),) = operate(garbage, lambda registry: execute(registry, "SELECT key FROM doomed"))
    digest = "sha256:" + key.split("/")[2].partition(".")[0]
    assert f"doomed (unused): its bytes at {key} go after " in garbage.done("gc", "explain", digest).out


def test_what_is_not_here_can_not_be_explained(digestry: Commands) -> None:
    assert "0123456789" in digestry.refused("gc", "explain", "0123456789")


def test_two_runs_take_turns(garbage: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "POLL_SECONDS", 0.01)
    held, end = threading.Event(), threading.Event()

    async def hold(registry: Registry) -> None:
        async with registry.tasks.turn("gc"):
            held.set()
            await asyncio.to_thread(end.wait)

    other = threading.Thread(target=operate, args=(garbage, hold))
    other.start()
    assert held.wait(10)
    threading.Timer(1.0, end.set).start()
    said = garbage.done("gc", "run")
    other.join()
    assert "note: gc runs already" in said.err
    assert "1 blob (5 B) doomed" in said.out


def test_no_run_judges_by_a_clock_that_was_set(garbage: Commands) -> None:
    """Between two commands."""
    garbage.done("gc", "run")
    operate(garbage, lambda registry: execute(registry, "UPDATE clock_state SET difference = difference - ?", DAY))
    assert "the machine's clock was set" in garbage.refused("gc", "run")


def test_sweep_dooms_bytes_that_belong_to_nothing(digestry: Commands) -> None:
    operate(digestry, push_image)
    stray = digestry.folder / "blobs" / "sha256" / "ab" / f"{'ab' * 32}.{'0' * 32}"
    stray.write_bytes(b"stray")
    os.utime(stray, (0, 0))
    told = digestry.done("gc", "run", "--sweep", "--json").json
    assert (told["orphans"], told["complete"]) == (1, True)


def test_a_plan_without_space_for_a_copy_says_so(garbage: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.metadata.snapshots.MARGIN", 1 << 60)
    said = garbage("gc", "plan", "--json")
    assert said.code == 1 and "MiB left" in said.json["error"] and not said.err, (said.code, said.out, said.err)
