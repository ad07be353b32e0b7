"""Blobs in a folder. Durability: fsync the file, link(2) it to its key, fsync the key's folder (design P5)."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar, TypeVarTuple

import aiofiles
import aiofiles.os

from storage.backend import Segment, Staged
from storage.crashpoints import crash_point
from storage.digest import ALGORITHMS, Digest
from storage.errors import BlobDamaged, BlobMissing, StagedBytesMissing, StorageFailed, StorageFull, SyncFailed
from storage.failure import FailureMark
from storage.files import (
    NO_SPACE,
    append,
    cut,
    drop_cached,
    make_folder,
    opened,
    reading,
    sync,
    sync_data,
    sync_folder,
)
from storage.keys import FAN_OUT, STAGING, blob_key, is_key, joined_name, parse_staged_name, segment_name
from storage.space import has_room

THREADS = 16
PIECE = 1024 * 1024
# A blob up to this size is read when it is opened: one thread hop instead of three
INLINE_LIMIT = 64 * 1024
LIST_BATCH = 1000

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StorageFull("no space left for blobs") from error
        raise StorageFailed(f"{os.strerror(error.errno or errno.EIO)} while handling blobs") from error


class _Threads:
    """Where file calls run. After a failed fsync nothing is written any more, by any process that has the mark."""

    def __init__(self, mark: FailureMark) -> None:
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")
        self.mark = mark

    async def read(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        with _translated():
            return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)

    async def write(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        if self.mark.reason:
            raise StorageFailed(f"writing has stopped: {self.mark.reason}")
        try:
            return await self.read(work, *arguments)
        except SyncFailed as error:
            self.mark.set(str(error))
            raise


class FilesystemStore:
    """A BlobStore in one folder, which only this class touches. Build it with `open_store`."""

    def __init__(self, root: Path, mark: FailureMark) -> None:
        self._root = root
        self._threads = _Threads(mark)

    async def stage(self, staged: Staged, length: int = 0) -> "FilesystemWriter":
        descriptor = await self._threads.write(self._open_segment, staged, length)
        return FilesystemWriter(self._threads, descriptor, staged)

    async def read_staged(self, staged: Staged) -> AsyncGenerator[bytes]:
        for segment in staged.segments:
            left = segment.size
            if not left:
                continue
            path = self._root / segment_name(staged.upload_id, segment)
            try:
                async with aiofiles.open(path, "rb", buffering=0, executor=self._threads.pool) as file:
                    while left:
                        piece = await file.read(min(PIECE, left))
                        if not piece:
                            raise StagedBytesMissing("a staged segment is shorter than recorded")
                        left -= len(piece)
                        yield piece
            except FileNotFoundError as error:
                raise StagedBytesMissing("a staged segment is gone") from error
            except OSError as error:
                raise StorageFailed("staged bytes can't be read") from error

    async def publish(self, staged: Staged, digest: Digest) -> str:
        return await self._threads.write(self._publish, staged, digest)

    async def discard(self, staged: Staged) -> None:
        names = [segment_name(staged.upload_id, segment) for segment in staged.segments]
        for name in [*names, joined_name(staged.upload_id)]:
            await self._unlink(self._root / name)

    async def open(self, key: str, *, uncached: bool = False) -> "FilesystemReader":
        return await self._threads.read(self._open, key, uncached)

    async def size(self, key: str) -> int:
        return (await self._stat(key)).st_size

    async def written_at(self, key: str) -> int:
        return (await self._stat(key)).st_mtime_ns // 1_000_000

    async def _stat(self, key: str) -> os.stat_result:
        try:
            return await aiofiles.os.stat(self._path(key), executor=self._threads.pool)
        except FileNotFoundError as error:
            raise BlobMissing(key) from error

    async def delete(self, key: str) -> None:
        await self._unlink(self._path(key))

    async def keys(self) -> AsyncIterator[Sequence[str]]:
        for folder in FAN_OUT:
            names = await aiofiles.os.listdir(self._root / folder, executor=self._threads.pool)
            found = [key for name in names if is_key(key := f"{folder}/{name}")]
            for start in range(0, len(found), LIST_BATCH):
                yield found[start : start + LIST_BATCH]

    async def uploads(self) -> AsyncIterator[Sequence[Staged]]:
        names = await aiofiles.os.listdir(self._root / STAGING, executor=self._threads.pool)
        for start in range(0, len(names), LIST_BATCH):
            yield await self._threads.read(self._measure, names[start : start + LIST_BATCH])

    async def check(self, *, write: bool) -> None:
        await self._threads.read(self._check, write)

    async def close(self) -> None:
        self._threads.pool.shutdown()

    async def _unlink(self, path: Path) -> None:
        with _translated(), suppress(FileNotFoundError):
            await aiofiles.os.unlink(path, executor=self._threads.pool)

    def _check(self, write: bool) -> None:
        staging = self._root / STAGING
        if write and self._threads.mark.reason:
            raise StorageFailed(f"writing has stopped: {self._threads.mark.reason}")
        if not staging.is_dir():
            raise StorageFailed(f"{staging} is gone")
        space = os.statvfs(staging)
        if write and not os.access(staging, os.W_OK):
            raise StorageFailed(f"{staging} can't be written")
        if write and not (has_room(staging) and (space.f_favail or not space.f_files)):
            raise StorageFull(f"no space left in {staging}")

    def _path(self, key: str) -> Path:
        if not is_key(key):
            raise BlobMissing(key)
        return self._root / key

    def _open_segment(self, staged: Staged, length: int) -> int:
        _check_room(self._root / STAGING, length)
        segment = staged.segments[-1]
        path = self._root / segment_name(staged.upload_id, segment)
        if not segment.size:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            sync_folder(self._root / STAGING)
            return descriptor
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise StagedBytesMissing("a staged segment is gone") from error
        try:
            cut(descriptor, segment.size)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _publish(self, staged: Staged, digest: Digest) -> str:
        key = blob_key(digest, staged.upload_id)
        source = self._one_file(staged)
        crash_point("blob.synced")
        final = self._root / key
        try:
            os.link(source, final)
        except FileExistsError:
            # An earlier try got this far and its commit did not: same upload, same digest, same bytes
            if final.stat().st_size != staged.size:
                raise StorageFailed("a published blob has another size than its upload") from None
        crash_point("blob.linked")
        sync_folder(final.parent)  # link(2) leaves staging as it was
        crash_point("blob.published")
        return key

    def _one_file(self, staged: Staged) -> Path:
        """The staged bytes as one durable file.

        More than one segment means that a lease ran out; its holder may still be writing behind the bytes that
        count, into a file that must therefore not become a blob.
        """
        paths = [self._root / segment_name(staged.upload_id, segment) for segment in staged.segments]
        if len(paths) == 1:
            # Nobody opened the segment of an upload that never got a byte
            with opened(paths[0], os.O_RDWR | (0 if staged.size else os.O_CREAT)) as source:
                cut(source, staged.size)
                sync(source)
            return paths[0]
        joined = self._root / joined_name(staged.upload_id)
        target = os.open(joined, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for path, segment in zip(paths, staged.segments, strict=True):
                append(target, path, segment.size)
            sync(target)
        finally:
            os.close(target)
        return joined

    def _open(self, key: str, uncached: bool) -> "FilesystemReader":
        with reading():
            try:
                file = self._path(key).open("rb", buffering=0)
            except FileNotFoundError as error:
                raise BlobMissing(key) from error
            if uncached:
                drop_cached(file.fileno())
            size = os.fstat(file.fileno()).st_size
            if size > INLINE_LIMIT:
                return FilesystemReader(self._threads, size, file, None, uncached)
            with file:
                content = file.read()
                if uncached:
                    drop_cached(file.fileno())
        return FilesystemReader(self._threads, len(content), None, content)

    def _measure(self, names: Sequence[str]) -> list[Staged]:
        found = []
        for name in names:
            with suppress(FileNotFoundError):
                staged = parse_staged_name(name, (self._root / STAGING / name).stat().st_size)
                found += [staged] if staged else []
        return found


class FilesystemWriter:
    """An open segment; one call at a time."""

    def __init__(self, threads: _Threads, descriptor: int, staged: Staged) -> None:
        self._threads = threads
        self._descriptor = descriptor
        self._staged = staged
        self._size = staged.segments[-1].size

    async def write(self, piece: bytes | bytearray) -> None:
        await self._threads.write(self._write, piece)
        self._size += len(piece)

    async def sync(self) -> Staged:
        await self._threads.write(sync_data, self._descriptor)
        crash_point("segment.synced")
        *before, last = self._staged.segments
        self._staged = Staged(self._staged.upload_id, (*before, Segment(last.version, self._size)))
        return self._staged

    async def close(self) -> None:
        await self._threads.read(os.close, self._descriptor)

    def _write(self, piece: bytes | bytearray) -> None:
        _check_room(self._descriptor, len(piece))
        left, offset = memoryview(piece), self._size
        while left:
            written = os.pwrite(self._descriptor, left, offset)
            left, offset = left[written:], offset + written
            crash_point("segment.written")


class FilesystemReader:
    """An open blob: its file, or all its bytes when they are few."""

    def __init__(
        self,
        threads: _Threads,
        size: int,
        file: BinaryIO | None,
        content: bytes | None,
        uncached: bool = False,
    ) -> None:
        self._threads = threads
        self._uncached = uncached
        self.size = size
        self.file = file
        self.content = content

    async def read(self, offset: int, length: int) -> bytes:
        if self.content is not None:
            piece = self.content[offset : offset + length]
        else:
            assert self.file is not None
            piece = await self._threads.read(self._read, self.file.fileno(), length, offset)
        if len(piece) != length:
            raise BlobDamaged("a blob ended before its size")
        return piece

    async def close(self) -> None:
        if self.file is not None:
            await self._threads.read(self.file.close)

    def _read(self, descriptor: int, length: int, offset: int) -> bytes:
        with reading():
            piece = os.pread(descriptor, length, offset)
        if self._uncached:
            drop_cached(descriptor, offset, length)
        return piece


def open_store(root: Path, mark: FailureMark) -> FilesystemStore:
    """Make the folders that are missing and return the store; raise StorageFailed with what to do.

    Blocks; meant for start-up.
    """
    try:
        _make_folders(root)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise StorageFailed(f"{root}: {reason}; the folder for blobs must be writable by this user") from error
    return FilesystemStore(root, mark)


def _make_folders(root: Path) -> None:
    make_folder(root)
    (root / STAGING).mkdir(mode=0o700, exist_ok=True)
    for algorithm in ALGORITHMS:
        (root / algorithm).mkdir(mode=0o700, exist_ok=True)
    present = {f"{algorithm}/{path.name}" for algorithm in ALGORITHMS for path in (root / algorithm).iterdir()}
    for folder in set(FAN_OUT) - present:
        (root / folder).mkdir(mode=0o700, exist_ok=True)
    devices = {(root / folder).stat().st_dev for folder in (STAGING, *ALGORITHMS)}
    if len(devices) > 1:
        raise StorageFailed(
            f"{root}: staging/ and the blobs must be on one file system, since link(2) joins them; "
            "mount the whole folder, nothing inside it"
        )
    for folder in (*ALGORITHMS, "."):
        sync_folder(root / folder)


def _check_room(where: Path | int, length: int) -> None:
    if not has_room(where, length):
        raise StorageFull("no space left for blobs")
