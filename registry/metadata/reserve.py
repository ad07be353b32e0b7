"""Space for deletes on a disk that something else has filled: SQLite's log must grow even to remove a row."""

import os
from contextlib import suppress
from pathlib import Path

from storage.space import has_room

# SQLite copies its log back every 4 MiB, then uses it again; what it grows the database by is less than that
SIZE = 16 * 1024 * 1024


class Reserve:
    """A file beside the database, given up when the disk is full and taken again when it no longer is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> None:
        """Allocate the file, unless it is there or there is little room for it. Blocks."""
        if self._is_whole() or not has_room(self._path.parent, SIZE):
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
        except OSError:
            self.give_up()
        finally:
            os.close(descriptor)

    def give_up(self) -> None:
        """Free the space; another process may have done so already."""
        self._path.unlink(missing_ok=True)

    def _is_whole(self) -> bool:
        with suppress(FileNotFoundError):
            return self._path.stat().st_size == SIZE
        return False
