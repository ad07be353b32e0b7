"""What a folder of blobs asks of the operating system: names and bytes that survive a power cut."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import BlobDamaged, StagedBytesMissing, SyncFailed

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# A sector that can't be read, and checksums of file systems that have some; a lack of memory or descriptors is none
_DAMAGED = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)


def make_folder(folder: Path) -> None:
    """`mkdir -p` whose new entries survive a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in reversed(missing):
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    with _syncing():
        os.fsync(descriptor)


def sync_data(descriptor: int) -> None:
    with _syncing():
        os.fdatasync(descriptor)


@contextmanager
def _syncing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise SyncFailed(f"fsync in the folder for blobs: {os.strerror(error.errno or errno.EIO)}") from error


@contextmanager
def reading() -> Iterator[None]:
    """Tell bytes that the disk can't give back from all else that may go wrong."""
    try:
        yield
    except OSError as error:
        if error.errno in _DAMAGED:
            raise BlobDamaged(f"{os.strerror(error.errno)} while reading a blob") from error
        raise


def drop_cached(descriptor: int, offset: int = 0, length: int = 0) -> None:
    """Let the kernel forget its copy of these bytes, 0 for all: the next read asks the disk. Dirty pages stay."""
    os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise StagedBytesMissing("a staged segment is gone") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def cut(descriptor: int, size: int) -> None:
    """Drop the bytes that no row counts: written after the last checkpoint of a lease that ended."""
    found = os.fstat(descriptor).st_size
    if found < size:
        raise StagedBytesMissing("a staged segment is shorter than recorded")
    if found > size:
        os.ftruncate(descriptor, size)


def append(target: int, path: Path, size: int) -> None:
    if not size:
        return
    with opened(path, os.O_RDONLY) as source:
        offset = 0
        while offset < size:
            copied = os.sendfile(target, source, offset, size - offset)
            if not copied:
                raise StagedBytesMissing("a staged segment is shorter than recorded")
            offset += copied
