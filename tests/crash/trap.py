"""A trap that is set from outside: the crash points of servers, armed through memory that is shared with them."""

import mmap
import os
import signal
import time
from collections.abc import Mapping
from enum import IntEnum

from storage.crashpoints import ANY, POINTS, die

NAMES = (*POINTS, ANY)
NUMBERS: Mapping[str, int] = {name: number for number, name in enumerate(NAMES)}

_BYTES = 4096
_ARMED, _VICTIM, _POINT, _LEFT, _DWELL, _SPRUNG, _PARENT = range(7)


class Victim(IntEnum):
    """Who dies: the worker that got there, the whole server, or the parent alone."""

    WORKER = 0
    GROUP = 1
    PARENT = 2


class Trap:
    """Made in one process, opened in others by its descriptor."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = os.memfd_create("trap", 0) if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, _BYTES)
        self._memory = mmap.mmap(self.descriptor, _BYTES)
        self._cells = memoryview(self._memory).cast("i")

    def set(self, name: str, hit: int, victim: Victim, dwell: int = 0) -> None:
        """Spring at the `hit`-th time that any process of the server gets to the point.

        The thread that got there first dwells so many milliseconds, in which others may tell too early of success.
        """
        self._cells[_ARMED] = 0
        self._cells[_SPRUNG] = -1
        self._cells[_VICTIM] = victim
        self._cells[_POINT] = NUMBERS[name]
        self._cells[_LEFT] = hit
        self._cells[_DWELL] = dwell
        self._cells[_ARMED] = 1

    def disarm(self) -> None:
        self._cells[_ARMED] = 0

    @property
    def sprung(self) -> str | None:
        """Where it sprang."""
        number = self._cells[_SPRUNG]
        return None if number < 0 else NAMES[number]

    def in_parent(self) -> None:
        """Called by the parent of the workers, before there are any."""
        self._cells[_PARENT] = os.getpid()

    def reach(self, name: str) -> None:
        """The watcher of crash points."""
        cells = self._cells
        if not cells[_ARMED] or cells[_POINT] not in (NUMBERS[name], NUMBERS[ANY]):
            return
        cells[_LEFT] -= 1
        if cells[_LEFT] > 0:
            return
        cells[_ARMED] = 0
        time.sleep(cells[_DWELL] / 1000)
        cells[_SPRUNG] = NUMBERS[name]
        if cells[_VICTIM] == Victim.PARENT:
            os.kill(cells[_PARENT], signal.SIGKILL)
        else:
            die(group=cells[_VICTIM] == Victim.GROUP)
