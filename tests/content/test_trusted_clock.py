"""S-16, P13: neither a restart nor a command forgets that the clock was set."""

import logging
from pathlib import Path

import pytest

from registry.assembly import Registry
from registry.clock import LARGEST_DRIFT, LARGEST_JUMP, ClockState, JumpWatch
from registry.content.trusted_clock import TrustedClock
from registry.metadata import clocks
from tests.support.registry import DAY, Clock, execute, opened

PATIENCE = DAY
BOOT = "the first start"


class Machine:
    """A wall clock that can be set, and a boot clock that only runs."""

    def __init__(self) -> None:
        self.wall, self.boot, self.name = Clock(), Clock(5_000), BOOT

    def run(self, milliseconds: int) -> None:
        self.wall.advance(milliseconds)
        self.boot.advance(milliseconds)

    def start_again(self) -> None:
        self.boot.now, self.name = 0, "the second start"

    def process(self, registry: Registry) -> TrustedClock:
        """What a process that starts now thinks of the clock."""
        return TrustedClock(registry.database, JumpWatch(PATIENCE, self.wall, self.boot), self.name)


@pytest.mark.parametrize("jump", [DAY, -DAY, LARGEST_JUMP + 1, -LARGEST_JUMP - 1])
async def test_a_jump_is_noticed_while_serving_and_learned_by_others(tmp_path: Path, jump: int) -> None:
    machine = Machine()
    async with opened(tmp_path) as registry:
        keeper = machine.process(registry)
        assert await keeper.trusted()
        machine.wall.advance(jump)
        assert not await keeper.trusted()
        assert not await machine.process(registry).trusted()
        machine.run(PATIENCE - 1)
        assert not await machine.process(registry).trusted()
        machine.run(1)
        assert await machine.process(registry).trusted()
        assert await keeper.trusted()


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_a_jump_between_two_runs_is_noticed(tmp_path: Path, jump: int) -> None:
    machine = Machine()
    async with opened(tmp_path) as registry:
        assert await machine.process(registry).trusted()
    machine.run(DAY)
    machine.wall.advance(jump)
    async with opened(tmp_path) as registry:
        assert not await machine.process(registry).trusted()
    async with opened(tmp_path) as registry:
        again = machine.process(registry)
        assert not await again.trusted()
        machine.run(PATIENCE)
        assert await again.trusted()


async def test_a_keeper_learns_of_a_jump_that_only_a_command_saw(tmp_path: Path) -> None:
    machine = Machine()
    async with opened(tmp_path) as registry:
        keeper = machine.process(registry)
        assert await keeper.trusted()
        machine.wall.advance(DAY)
        assert not await machine.process(registry).trusted()
        machine.wall.advance(-DAY)
        assert keeper.seems_trusted(), "it did not look meanwhile"
        assert not await keeper.trusted()
        assert not keeper.seems_trusted()


async def test_of_two_that_note_a_jump_at_once_the_longer_wait_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as registry:
        for trusted_from in (PATIENCE, PATIENCE + 1, PATIENCE):
            await registry.database.write(clocks.note, BOOT, ClockState(DAY, trusted_from))
        assert await registry.database.read(clocks.find, BOOT) == (DAY, PATIENCE + 1)


@pytest.mark.parametrize("drift", [LARGEST_DRIFT // 2, LARGEST_DRIFT * 3, LARGEST_JUMP])
async def test_corrections_suspend_nothing_over_any_number_of_runs(tmp_path: Path, drift: int) -> None:
    machine = Machine()
    async with opened(tmp_path) as registry:
        for _ in range(200):
            machine.run(DAY)
            machine.wall.advance(drift)
            assert await machine.process(registry).trusted()


async def test_after_the_machine_was_started_anew_nothing_is_compared(tmp_path: Path) -> None:
    machine = Machine()
    async with opened(tmp_path) as registry:
        assert await machine.process(registry).trusted()
        machine.wall.advance(DAY)
        assert not await machine.process(registry).trusted()
        machine.start_again()
        assert await machine.process(registry).trusted()
        machine.wall.advance(DAY)
        assert not await machine.process(registry).trusted()


async def test_where_starts_have_no_name_each_process_looks_for_itself(tmp_path: Path) -> None:
    machine = Machine()
    async with opened(tmp_path) as registry:
        one = TrustedClock(registry.database, JumpWatch(PATIENCE, machine.wall, machine.boot), None)
        machine.wall.advance(DAY)
        assert not await one.trusted()
        another = TrustedClock(registry.database, JumpWatch(PATIENCE, machine.wall, machine.boot), None)
        assert await another.trusted()
        assert await execute(registry, "SELECT * FROM clock_state") == []


async def test_a_jump_is_told_once_and_a_quiet_clock_writes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine()
    caplog.set_level(logging.WARNING)
    async with opened(tmp_path) as registry:
        keeper = machine.process(registry)
        assert await keeper.trusted()
        machine.wall.advance(DAY)
        for _ in range(3):
            assert not await keeper.trusted()
        assert [record.message for record in caplog.records] == [
            "the clock jumped by 86400 s: nothing expires for the next 24.0 hours"
        ]
        before = await execute(registry, "SELECT * FROM clock_state")
        await execute(registry, "CREATE TRIGGER quiet BEFORE UPDATE ON clock_state BEGIN SELECT RAISE(ABORT, ''); END")
        machine.run(DAY // 2)
        assert not await keeper.trusted()
        assert not await machine.process(registry).trusted()
        assert await execute(registry, "SELECT * FROM clock_state") == before
