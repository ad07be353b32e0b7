"""Time, and whether the wall clock can be believed."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

LARGEST_JUMP = 60_000
# Corrections are followed in steps of this size, so that over months they do not add up to a jump
LARGEST_DRIFT = 1_000


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def boot_clock() -> int:
    """Milliseconds since some moment; nobody can set this clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


def boot_id() -> str | None:
    """What the boot clock counts from (random(4)); None where the system has no name for it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None


class ClockState(NamedTuple):
    """How far the wall clock is ahead of the boot clock, and from when on, by the boot clock, it is trusted."""

    difference: int
    trusted_from: int


class JumpWatch:
    """Notices that the wall clock was set, so that nothing expires by mistake (design P13).

    After a jump of more than a minute the clock is not trusted for `patience` milliseconds.
    """

    def __init__(
        self, patience: int, wall: Callable[[], int] = wall_clock, boot: Callable[[], int] = boot_clock
    ) -> None:
        self.patience = patience
        self._wall = wall
        self._boot = boot
        self.state = ClockState(wall() - boot(), 0)

    def go_on_from(self, noted: ClockState) -> None:
        """Take over what another process has seen since the machine was started."""
        self.state = ClockState(noted.difference, max(noted.trusted_from, self.state.trusted_from))

    def trusted(self) -> bool:
        """Whether leases and expiries may be judged by the clock now."""
        difference, now = self._wall() - self._boot(), self._boot()
        jump = difference - self.state.difference
        if abs(jump) > LARGEST_JUMP:
            self.state = ClockState(difference, now + self.patience)
            hours = self.patience / 3_600_000
            log.warning("the clock jumped by %d s: nothing expires for the next %.1f hours", round(jump / 1000), hours)
        elif abs(jump) > LARGEST_DRIFT:
            self.state = self.state._replace(difference=difference)
        return now >= self.state.trusted_from
