"""Periodic work is done by one process at a time, and taken over from one that is gone."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.assembly import Registry, Seat, new_instance, open_registry
from registry.content.tasks import LEASE, Tasks
from registry.metadata import instances
from registry.metadata import tasks as rows
from registry.metadata.schema import upgrade
from tests.support.registry import Clock, execute, opened, settings

INTERVAL = 900_000
SHORT = 600
ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 20.0


@dataclass
class Site:
    """Two processes on one database, as far as it can tell."""

    clock: Clock
    registry: Registry
    one: Tasks
    two: Tasks

    async def is_due(self) -> bool:
        return (await self.one.state("gc")).is_due(INTERVAL)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = Clock()
    async with AsyncExitStack() as stack:
        registry, other = [await stack.enter_async_context(opened(tmp_path, clock)) for _ in range(2)]
        yield Site(clock, registry, registry.tasks, other.tasks)


async def until_lost(tasks: Tasks) -> None:
    """Work for as long as the turn is held."""
    async with tasks.turn("gc") as turn:
        assert turn is not None
        async with asyncio.timeout(WAIT_SECONDS):
            while turn.held():  # noqa: ASYNC110 - as work in steps does
                await asyncio.sleep(0.01)


async def test_one_at_a_time_and_each_task_for_itself(site: Site) -> None:
    async with site.one.turn("gc") as turn, site.two.turn("gc") as second, site.two.turn("scrub") as other:
        assert turn is not None and turn.held()
        assert second is None
        assert other is not None
        assert (await site.two.state("gc")).running
    assert not (await site.two.state("gc")).running
    async with site.two.turn("gc") as turn:
        assert turn is not None


async def test_a_task_is_due_at_first_and_then_once_an_interval(site: Site) -> None:
    assert await site.is_due()
    async with site.one.turn("gc"):
        pass
    assert not await site.is_due()
    site.clock.advance(INTERVAL - 1)
    assert not await site.is_due()
    site.clock.advance(1)
    assert await site.is_due()


async def test_done_by_a_clock_that_was_ahead_is_not_done(site: Site) -> None:
    async with site.one.turn("gc"):
        pass
    site.clock.advance(-1)
    assert await site.is_due()


async def test_what_somebody_wants_is_due_until_it_was_done(site: Site) -> None:
    async with site.one.turn("gc"):
        pass
    await site.two.want("gc")
    assert await site.is_due()
    async with site.one.turn("gc"):
        assert (await site.two.state("gc")).wanted
    assert not await site.is_due()


async def test_what_is_wanted_during_a_run_is_done_once_more(site: Site) -> None:
    async with site.one.turn("gc"):
        site.clock.advance(1)
        await site.two.want("gc")
    assert await site.is_due()
    async with site.one.turn("gc"):
        pass
    assert not await site.is_due()


async def test_a_wish_from_a_clock_that_was_ahead_is_fulfilled_once(site: Site) -> None:
    await site.two.want("gc")
    site.clock.advance(-1000)
    async with site.one.turn("gc"):
        pass
    assert not (await site.one.state("gc")).wanted


async def test_work_that_fails_was_not_done(site: Site) -> None:
    with pytest.raises(ZeroDivisionError):
        async with site.one.turn("gc"):
            raise ZeroDivisionError
    state = await site.two.state("gc")
    assert (state.done_at, state.running) == (None, False)


async def test_work_that_is_cancelled_was_not_done(site: Site) -> None:
    working = asyncio.create_task(until_lost(site.one))
    while not (await site.two.state("gc")).running:  # noqa: ASYNC110 - another process would ask
        await asyncio.sleep(0.01)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    state = await site.two.state("gc")
    assert (state.done_at, state.running) == (None, False)


async def test_work_that_had_to_stop_was_not_done(site: Site) -> None:
    may_go_on = True
    async with site.one.turn("gc", lambda: may_go_on) as turn:
        assert turn is not None and turn.held()
        may_go_on = False
        assert not turn.held()
    state = await site.two.state("gc")
    assert (state.done_at, state.running) == (None, False)


async def test_after_its_lease_a_task_is_anybody_s(site: Site) -> None:
    async with site.one.turn("gc"):
        site.clock.advance(LEASE - 1)
        async with site.two.turn("gc") as turn:
            assert turn is None
        site.clock.advance(1)
        async with site.two.turn("gc") as turn:
            assert turn is not None


async def test_who_lost_its_lease_hears_of_it_and_takes_nothing_away(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as registry, opened(tmp_path, clock) as other:
        working = asyncio.create_task(until_lost(Tasks(registry.database, "sleeper", SHORT)))
        while not (await other.tasks.state("gc")).running:  # noqa: ASYNC110 - another process would ask
            await asyncio.sleep(0.01)
        clock.advance(SHORT)
        async with other.tasks.turn("gc") as turn:
            assert turn is not None
            await working
            assert turn.held()
            state = await other.tasks.state("gc")
            assert (state.done_at, state.running) == (None, True)


async def test_a_lease_is_renewed_while_the_work_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path, now) as registry, opened(tmp_path, now) as other:
        async with Tasks(registry.database, "one", SHORT).turn("gc") as turn:
            assert turn is not None
            await asyncio.sleep(3 * SHORT / 1000)
            assert turn.held()
            async with other.tasks.turn("gc") as second:
                assert second is None
        assert (await other.tasks.state("gc")).done_at is not None


async def test_a_database_that_can_t_be_written_ends_a_turn_with_its_lease(tmp_path: Path) -> None:
    async with opened(tmp_path) as registry:
        tasks = Tasks(registry.database, "one", SHORT)
        async with tasks.turn("gc") as turn:
            assert turn is not None
            with closing(sqlite3.connect(tmp_path / "registry.db", isolation_level=None)) as locker:
                locker.execute("BEGIN IMMEDIATE")
                async with asyncio.timeout(WAIT_SECONDS):
                    while turn.held():  # noqa: ASYNC110 - as work in steps does
                        await asyncio.sleep(0.01)
        assert not (await tasks.state("gc")).running


async def test_the_leases_of_dead_processes_are_cleared(site: Site) -> None:
    async with AsyncExitStack() as stack:
        for owner in ("dead.1", "dead.2", "living.3"):
            await stack.enter_async_context(Tasks(site.registry.database, owner).turn(owner))
        await site.two.clear(["dead.1", "dead.2"])
        found = await execute(site.registry, "SELECT owner FROM task WHERE owner IS NOT NULL")
        assert found == [("living.3",)]


async def test_a_new_server_clears_the_leases_of_the_one_before_and_leaves_those_of_commands(tmp_path: Path) -> None:
    upgrade(tmp_path / "registry.db")
    before, command = new_instance(), new_instance()
    async with AsyncExitStack() as stack:
        for instance, owner in ((before, f"{before.id}.7"), (command, command.id)):
            registry = open_registry(settings(tmp_path), now=Clock(), seat=Seat(instance, owner))
            stack.push_async_callback(registry.close)
            if instance is before:
                await registry.database.write(instances.register, instance)
            await registry.database.write(rows.take, owner, owner, LEASE)
        await registry.database.write(instances.register, new_instance())
        assert await execute(registry, "SELECT owner FROM task WHERE owner IS NOT NULL") == [(command.id,)]


# --- processes ---------------------------------------------------------------------------------------------------

WORKING = """
import asyncio, sys, time
from pathlib import Path
from registry.assembly import open_registry
from registry.content.tasks import Tasks
from tests.support.registry import settings

async def main(folder, owner, lease):
    registry = open_registry(settings(folder))
    tasks = Tasks(registry.database, owner, lease)
    turn = None
    while turn is None:
        async with tasks.turn("gc") as turn:
            while turn is not None and turn.held():
                print(owner, "works", time.monotonic(), flush=True)
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.02)
    print(owner, "lost it", flush=True)
    await registry.close()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
"""


def now() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def working(folder: Path, owner: str) -> Iterator[subprocess.Popen[str]]:
    """A process that takes the task as soon as it can, and works at it for as long as it may."""
    command = [sys.executable, "-c", WORKING, str(folder), owner, str(SHORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_killed_process_is_taken_over_when_its_lease_is_over(tmp_path: Path) -> None:
    upgrade(tmp_path / "registry.db")
    with working(tmp_path, "one") as one:
        assert says(one).startswith("one works")
        with working(tmp_path, "two") as two:
            os.kill(one.pid, signal.SIGKILL)
            killed = time.monotonic()
            assert says(two).startswith("two works")
            assert time.monotonic() - killed < WAIT_SECONDS


def test_a_process_that_was_stopped_for_long_works_no_more(tmp_path: Path) -> None:
    upgrade(tmp_path / "registry.db")
    with working(tmp_path, "one") as one, working(tmp_path, "two") as two:
        first, second = (one, two) if _works(tmp_path) == "one" else (two, one)
        os.kill(first.pid, signal.SIGSTOP)
        assert "works" in says(second)
        woken = time.monotonic()
        os.kill(first.pid, signal.SIGCONT)
        *worked, last = iter(lambda: says(first), "")
        assert last.endswith("lost it")
        late = [word for word in worked if float(word.split()[-1]) > woken]
        assert len(late) <= 1, "it may have been stopped between its question and its work"
        assert _works(tmp_path) == ("two" if first is one else "one")


def _works(folder: Path) -> str:
    """Who has the task."""
    deadline = time.monotonic() + WAIT_SECONDS
    with closing(sqlite3.connect(folder / "registry.db")) as connection:
        while time.monotonic() < deadline:
            found = connection.execute("SELECT owner FROM task WHERE owner IS NOT NULL").fetchall()
            if found:
                return str(found[0][0])
            time.sleep(0.01)
    raise AssertionError("nobody took the task")
