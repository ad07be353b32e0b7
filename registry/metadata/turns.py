"""Turns at writing. SQLite lets one process write and the others sleep and try again, up to 100 ms at a time: under
load the one that has just written is first again, and its neighbours wait for seconds.

Nothing but speed rests on this: SQLite's own lock still decides.
"""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Whoever has the first byte is next; whoever has the second writes
_NEXT, _NOW = 0, 1
# Locks of an open file: they end with it, and other descriptors of this process do not matter (fcntl(2))
_TRY = getattr(fcntl, "F_OFD_SETLK", None)
POLL_SECONDS = 0.0005
LONGEST_WAIT_SECONDS = 5.0


class Turns:
    """Bytes of a lock file beside the database. One object a process; one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for our turn, or for a few seconds: then SQLite alone decides.

        Who has just had a turn queues behind those that wait, since one of them is next.
        """
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        self._take(_NEXT, deadline)
        self._take(_NOW, deadline)
        self._lock(_NEXT, fcntl.F_UNLCK)
        try:
            yield
        finally:
            self._lock(_NOW, fcntl.F_UNLCK)

    def close(self) -> None:
        os.close(self._descriptor)

    def _take(self, byte: int, deadline: float) -> None:
        while not self._lock(byte, fcntl.F_WRLCK) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _lock(self, byte: int, kind: int) -> bool:
        if _TRY is None:
            return True
        try:
            fcntl.fcntl(self._descriptor, _TRY, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))
        except OSError:  # somebody has it, or the file system has no locks
            return False
        return True
