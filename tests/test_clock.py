"""S-16: a clock that jumps lets nothing expire by mistake."""

import pytest

from registry.clock import LARGEST_DRIFT, LARGEST_JUMP, ClockState, JumpWatch
from tests.support.registry import DAY, Clock

PATIENCE = 3_600_000


class Clocks:
    """A wall clock that can be set, and a boot clock that only runs."""

    def __init__(self) -> None:
        self.wall, self.boot = Clock(), Clock(5_000)
        self.watch = JumpWatch(PATIENCE, self.wall, self.boot)

    def run(self, milliseconds: int) -> None:
        self.wall.advance(milliseconds)
        self.boot.advance(milliseconds)


def test_time_that_passes_is_trusted() -> None:
    clocks = Clocks()
    for _ in range(100):
        clocks.run(DAY)
        assert clocks.watch.trusted()


@pytest.mark.parametrize("jump", [DAY, -DAY, LARGEST_JUMP + 1, -LARGEST_JUMP - 1])
def test_s16_after_a_jump_nothing_is_judged_until_a_lease_has_passed(jump: int) -> None:
    clocks = Clocks()
    clocks.wall.advance(jump)
    assert not clocks.watch.trusted()
    clocks.run(PATIENCE - 1)
    assert not clocks.watch.trusted()
    clocks.run(1)
    assert clocks.watch.trusted()


def test_small_corrections_are_no_jump() -> None:
    clocks = Clocks()
    clocks.wall.advance(LARGEST_JUMP)
    assert clocks.watch.trusted()


def test_a_second_jump_begins_the_wait_anew() -> None:
    clocks = Clocks()
    clocks.wall.advance(DAY)
    assert not clocks.watch.trusted()
    clocks.run(PATIENCE - 1)
    clocks.wall.advance(-DAY)
    assert not clocks.watch.trusted()
    clocks.run(PATIENCE - 1)
    assert not clocks.watch.trusted()


def test_corrections_over_months_do_not_add_up_to_a_jump() -> None:
    clocks = Clocks()
    for _ in range(1000):
        clocks.run(DAY)
        clocks.wall.advance(LARGEST_DRIFT // 2)
        assert clocks.watch.trusted()


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_what_another_process_noted_is_compared(jump: int) -> None:
    clocks, noted = Clocks(), Clocks().watch.state
    clocks.wall.advance(jump)
    later = JumpWatch(PATIENCE, clocks.wall, clocks.boot)
    assert later.trusted(), "it began after the jump"
    later.go_on_from(noted)
    assert not later.trusted()


def test_what_another_process_distrusts_is_not_trusted_here() -> None:
    clocks = Clocks()
    noted = ClockState(clocks.watch.state.difference, clocks.boot.now + PATIENCE)
    clocks.watch.go_on_from(noted)
    assert not clocks.watch.trusted()
    clocks.watch.go_on_from(noted._replace(trusted_from=0))
    assert not clocks.watch.trusted(), "what this one has seen is not forgotten"
    clocks.run(PATIENCE)
    assert clocks.watch.trusted()
