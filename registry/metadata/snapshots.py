"""Copies of a SQLite database, made by SQLite itself while the registry serves."""

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from storage.files import make_folder

KEPT = 7
# What must stay free beside a copy
MARGIN = 64 * 1024 * 1024
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
    made = _copy(path, f"{path.stem}-{_stamp(now)}.db")
    for old in _daily(path)[:-KEPT]:
        old.unlink()
    return made


def take_before(path: Path, revision: str, now: int) -> Path:
    """Copy before a migration to `revision`; such a copy is never forgotten. Blocks; raises NoSpaceError."""
    return _copy(path, f"{path.stem}-{_stamp(now)}-before-{revision}.db")


def _daily(path: Path) -> list[Path]:
    digits = "[0-9]" * 8 + "T" + "[0-9]" * 6 + "Z"
    return sorted(folder_of(path).glob(f"{path.stem}-{digits}.db"))


def _stamp(now: int) -> str:
    return datetime.fromtimestamp(now / 1000, UTC).strftime(_FORMAT)


def _copy(path: Path, name: str) -> Path:
    """In one step: a copy in several would start over at each write of somebody else (sqlite.org/backup.html)."""
    folder = folder_of(path)
    make_folder(folder)
    needed = path.stat().st_size + MARGIN
    if (free := shutil.disk_usage(folder).free) < needed:
        raise NoSpaceError(f"a copy of {path} needs {needed >> 20} MiB, and {folder} has {free >> 20} MiB left")
    for interrupted in folder.glob("*.partial"):
        interrupted.unlink(missing_ok=True)
    partial, final = folder / f"{name}.partial", folder / name
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
