"""The folder of a running server for what its processes share; in memory where the machine offers that."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "digestry-runtime-"


@contextmanager
def runtime_folder() -> Iterator[Path]:
    """A fresh folder while the block runs. Those that killed servers left behind are removed first.

    A lock on the folder says that its server lives. Forked processes hold it too, and must not leave the block.
    """
    folder, lock = _make_anywhere()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make_anywhere() -> tuple[Path, int]:
    bases = _bases()
    for base in bases:
        with suppress(OSError):
            _remove_left_behind(base)
            return _make(base)
    raise OSError(f"no place for a runtime folder: can write to none of {', '.join(map(str, bases))}")


def _bases() -> list[Path]:
    """Where systemd says, where the session says, memory, disk."""
    told = [os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0], os.environ.get("XDG_RUNTIME_DIR", "")]
    return [*(Path(path) for path in told if path), Path("/dev/shm"), Path(tempfile.gettempdir())]  # noqa: S108


def _make(base: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        with suppress(FileNotFoundError, BlockingIOError):  # another server took it for left behind
            return folder, _lock(folder)


def _remove_left_behind(base: Path) -> None:
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError):  # its server lives, or somebody else removes it
            if folder.lstat().st_uid == os.geteuid():
                lock = _lock(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _lock(folder: Path) -> int:
    """Raise BlockingIOError when it is held, FileNotFoundError when the folder is gone."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder.stat()
    except OSError:
        os.close(lock)
        raise
    return lock
