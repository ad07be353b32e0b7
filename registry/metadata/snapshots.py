"""Copies of a SQLite database, made by SQLite itself while the registry serves."""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from storage.files import make_folder

KEPT = 7
# What must stay free beside a copy
MARGIN = 64 * 1024 * 1024
# A copy to try something on is not needed for longer
SCRATCH_SECONDS = 86_400
_FORMAT = "%Y%m%dT%H%M%SZ"


class NoSpaceError(Exception):
    """A copy would fill the disk."""


def folder_of(path: Path) -> Path:
    return path.parent / "snapshots"


def newest(path: Path, now: int) -> int | None:
    """When the newest daily copy was made, in milliseconds since the epoch; none of a clock that was ahead."""
    stamps = (copy.stem.removeprefix(f"{path.stem}-") for copy in _daily(path))
    made = (datetime.strptime(stamp, _FORMAT).replace(tzinfo=UTC).timestamp() for stamp in stamps)
    return max((int(when * 1000) for when in made if when * 1000 <= now), default=None)


def take_daily(path: Path, now: int) -> Path:
    """Copy, then forget all but the newest seven. `now` in milliseconds. Blocks; raises NoSpaceError."""
    made = _copy(path, _in_folder(path, f"{path.stem}-{_stamp(now)}.db"))
    for old in _daily(path)[:-KEPT]:
        old.unlink()
    return made


def take_before(path: Path, revision: str, now: int) -> Path:
    """Copy before a migration to `revision`; such a copy is never forgotten. Blocks; raises NoSpaceError."""
    return _copy(path, _in_folder(path, f"{path.stem}-{_stamp(now)}-before-{revision}.db"))


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A copy that may be changed and is gone afterwards. Blocks; raises NoSpaceError."""
    folder = folder_of(path)
    make_folder(folder)
    for left in folder.glob("scratch-*"):  # by a process that was killed
        with suppress(FileNotFoundError):  # its process ends just now
            if time.time() - left.stat().st_mtime > SCRATCH_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=folder) as made:
        yield _copy(path, Path(made) / path.name)


def _daily(path: Path) -> list[Path]:
    digits = "[0-9]" * 8 + "T" + "[0-9]" * 6 + "Z"
    return sorted(folder_of(path).glob(f"{path.stem}-{digits}.db"))


def _stamp(now: int) -> str:
    return datetime.fromtimestamp(now / 1000, UTC).strftime(_FORMAT)


def _in_folder(path: Path, name: str) -> Path:
    """Where a copy goes; what interrupted ones have left there is taken away."""
    folder = folder_of(path)
    make_folder(folder)
    for interrupted in folder.glob("*.partial"):
        interrupted.unlink(missing_ok=True)
    return folder / name


def _copy(path: Path, final: Path) -> Path:
    """In one step: a copy in several would start over at each write of somebody else (sqlite.org/backup.html)."""
    folder, partial = final.parent, final.with_name(f"{final.name}.partial")
    needed = path.stat().st_size + MARGIN
    if (free := shutil.disk_usage(folder).free) < needed:
        raise NoSpaceError(f"a copy of {path} needs {needed >> 20} MiB, and {folder} has {free >> 20} MiB left")
    partial.touch(mode=0o600)
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(partial)) as copy,
    ):
        source.backup(copy)
    _sync(partial)
    partial.rename(final)
    _sync(folder)
    return final


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
