"""What POSIX lets a power cut take, which is more than any file system here does: names and content never synced.

Journals carry a folder's entry along with the next sync of something else, so no cut of ext4 or XFS shows that an
fsync of a folder is missing. This counts them instead.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class StrictDisk:
    """Knows what was changed through `os` and not synced since. SQLite writes past it."""

    def __init__(self) -> None:
        self._names: set[Path] = set()
        self._contents: set[tuple[int, int]] = set()

    def unsynced(self, *paths: Path) -> list[str]:
        """Which of these might be gone, or differ, after a cut."""
        names = [f"the name {path}" for path in paths if path in self._names]
        return names + [f"the content of {path}" for path in paths if _inode(path.stat()) in self._contents]

    @contextmanager
    def watching(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "mkdir", "link", "pwrite", "ftruncate", "sendfile", "fsync", "fdatasync"):
                patch.setattr(os, name, self._watched(name, getattr(os, name)))
            yield

    def _watched(self, name: str, call: Any) -> Any:
        def watched(*arguments: Any, **options: Any) -> Any:
            fresh = name == "open" and not Path(arguments[0]).exists()
            result = call(*arguments, **options)
            if name in ("mkdir", "link") or fresh:
                self._names.add(Path(arguments[1 if name == "link" else 0]))
            elif name in ("pwrite", "ftruncate", "sendfile"):
                self._contents.add(_inode(os.fstat(arguments[0])))
            elif name in ("fsync", "fdatasync"):
                self._sync(arguments[0])
            return result

        return watched

    def _sync(self, descriptor: int) -> None:
        self._contents.discard(_inode(os.fstat(descriptor)))
        folder = Path(f"/proc/self/fd/{descriptor}").readlink()
        self._names = {path for path in self._names if path.parent != folder}


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
