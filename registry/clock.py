"""Time, and whether the wall clock can be believed."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

LARGEST_JUMP = 60_000


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def boot_clock() -> int:
    """Milliseconds since some moment; nobody can set this clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


class JumpWatch:
    """Notices that the wall clock was set, so that nothing expires by mistake (design P13).

    After a jump of more than a minute the clock is not trusted for `patience` milliseconds.
    """

    def __init__(
        self, patience: int, wall: Callable[[], int] = wall_clock, boot: Callable[[], int] = boot_clock
    ) -> None:
        self._patience = patience
        self._wall = wall
        self._boot = boot
        self._offset = wall() - boot()
        self._trusted_from = boot()

    def trusted(self) -> bool:
        """Whether leases and expiries may be judged by the clock now."""
        offset, now = self._wall() - self._boot(), self._boot()
        jump = offset - self._offset
        if abs(jump) > LARGEST_JUMP:
            self._offset = offset
            self._trusted_from = now + self._patience
            hours = self._patience / 3_600_000
            log.warning("the clock jumped by %d s: nothing expires for the next %.1f hours", jump // 1000, hours)
        return now >= self._trusted_from
