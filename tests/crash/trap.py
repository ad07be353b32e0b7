"""A trap that is set from outside: the crash points of servers, armed through memory that is shared with them."""

import mmap
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
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
    """Made in one process, opened in others by its descriptors: the memory, and an eventfd that only one can take."""

    def __init__(self, memory: int | None = None, once: int | None = None) -> None:
        if memory is None:
            memory = os.memfd_create("trap", 0)
            os.ftruncate(memory, _BYTES)
        self._once = os.eventfd(0, os.EFD_NONBLOCK) if once is None else once
        self.descriptors = (memory, self._once)
        self._memory = mmap.mmap(memory, _BYTES)
        self._cells = memoryview(self._memory).cast("i")

    def set(self, name: str, hit: int, victim: Victim, dwell: int = 0) -> None:
        """Spring at the `hit`-th time that any process of the server gets to the point.

        The thread that got there first dwells so many milliseconds, in which others may tell too early of success.
        """
        self.disarm()
        self._cells[_SPRUNG] = -1
        self._cells[_VICTIM] = victim
        self._cells[_POINT] = NUMBERS[name]
        self._cells[_LEFT] = hit
        self._cells[_DWELL] = dwell
        os.eventfd_write(self._once, 1)
        self._cells[_ARMED] = 1

    def disarm(self) -> None:
        self._cells[_ARMED] = 0
        with suppress(BlockingIOError):
            os.eventfd_read(self._once)

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
        try:
            os.eventfd_read(self._once)
        except BlockingIOError:  # another thread or process got here first
            return
        cells[_ARMED] = 0
        # From the moment that it is told, the trap may be set anew
        victim, parent = cells[_VICTIM], cells[_PARENT]
        time.sleep(cells[_DWELL] / 1000)
        cells[_SPRUNG] = NUMBERS[name]
        if victim == Victim.PARENT:
            os.kill(parent, signal.SIGKILL)
        else:
            die(group=victim == Victim.GROUP)
