"""The folder: the order that durability rests on, and what the operating system can refuse."""

import ctypes
import errno
import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.backend import Segment, Staged
from storage.digest import Digest
from storage.errors import BlobDamaged, StorageError, StorageFailed, StorageFull, SyncFailed
from storage.failure import FailureMark
from storage.filesystem import INLINE_LIMIT, PIECE, FilesystemStore, open_store
from tests.support.tools import give_up

ID = "0" * 31 + "1"
DATA = b"some bytes"
NEW = Staged(ID, (Segment(1, 0),))


async def stage(store: FilesystemStore, new: Staged = NEW, content: bytes = DATA) -> Staged:
    writer = await store.stage(new)
    await writer.write(content)
    staged = await writer.sync()
    await writer.close()
    return staged


async def test_publishing_syncs_the_file_then_links_it_then_syncs_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, FailureMark())
    staged = await stage(store)
    calls: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append(f"fsync {target.relative_to(tmp_path)}")
        real_fsync(descriptor)

    def link(source: Path, target: Path) -> None:
        calls.append("link")
        real_link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    key = await store.publish(staged, Digest.of(DATA))
    assert calls == [f"fsync staging/{ID}.1", "link", f"fsync {Path(key).parent}"]
    await store.close()


def refuse(number: int) -> Callable[..., None]:
    def call(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    ("call", "number", "error"),
    [
        ("pwrite", errno.ENOSPC, StorageFull),
        ("pwrite", errno.EDQUOT, StorageFull),
        ("pwrite", errno.EIO, StorageFailed),
        ("fdatasync", errno.ENOSPC, StorageFull),
        ("link", errno.ENOSPC, StorageFull),
        ("link", errno.EIO, StorageFailed),
    ],
)
async def test_refusals_of_the_system_have_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, error: type[StorageError]
) -> None:
    store = open_store(tmp_path, FailureMark())
    monkeypatch.setattr(os, call, refuse(number))
    with pytest.raises(error):
        await store.publish(await stage(store), Digest.of(DATA))
    monkeypatch.undo()
    await store.publish(await stage(store), Digest.of(DATA))
    await store.close()


async def test_nobody_else_may_read(tmp_path: Path) -> None:
    store = open_store(tmp_path / "blobs", FailureMark())
    key = await store.publish(await stage(store), Digest.of(DATA))
    modes = {path: stat.S_IMODE((tmp_path / "blobs" / path).stat().st_mode) for path in (key, "staging", "sha256")}
    assert modes == {key: 0o600, "staging": 0o700, "sha256": 0o700}
    await store.close()


def test_a_root_that_is_a_file_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="must be writable"):
        open_store(tmp_path / "file", FailureMark())


async def test_strangers_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path, FailureMark())
    (tmp_path / "staging" / "README").write_text("")
    (tmp_path / "sha256" / "00" / "README").write_text("")
    assert [found async for some in store.uploads() for found in some] == []
    assert [keys async for keys in store.keys() if keys] == []  # noqa: SIM118 - no dict
    await store.close()


@pytest.mark.parametrize("size", [1000, INLINE_LIMIT + 1, 3 * PIECE], ids=["small", "middle", "large"])
async def test_a_reader_past_the_cache_asks_the_disk_and_leaves_nothing_in_the_cache(tmp_path: Path, size: int) -> None:
    if is_in_memory(tmp_path):
        give_up("the files of this file system live in memory")
    store = open_store(tmp_path, FailureMark())
    content = os.urandom(size)
    key = await store.publish(await stage(store, content=content), Digest.of(content))
    assert cached_pages(tmp_path / key)

    reader = await store.open(key, uncached=True)
    before = cached_pages(tmp_path / key)
    assert b"".join([await reader.read(at, min(PIECE, size - at)) for at in range(0, size, PIECE)]) == content
    await reader.close()

    assert (before, cached_pages(tmp_path / key)) == (0, 0)
    await store.close()


def is_in_memory(folder: Path) -> bool:
    file = folder / "probe"
    file.write_bytes(b"probe")
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return cached_pages(file) > 0


def cached_pages(path: Path) -> int:
    """How many pages of a file the kernel has in memory; where files live in memory, all."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as memory:
        mapped = (ctypes.c_char * len(memory)).from_buffer(memory)
        pages = (ctypes.c_ubyte * -(-len(memory) // mmap.PAGESIZE))()
        code = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(mapped)), len(memory), pages)
        del mapped  # or it could not be closed
    assert code == 0
    return sum(page & 1 for page in pages)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EIO, BlobDamaged),
        (errno.EBADMSG, BlobDamaged),
        (errno.EMFILE, StorageFailed),
        (errno.ENOMEM, StorageFailed),
    ],
)
async def test_only_some_refusals_tell_of_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[StorageError]
) -> None:
    store = open_store(tmp_path, FailureMark())
    content = bytes(INLINE_LIMIT + 1)
    reader = await store.open(await store.publish(await stage(store, content=content), Digest.of(content)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", refuse(number))
        with pytest.raises(StorageFailed) as raised:
            await reader.read(0, 1)
    assert type(raised.value) is error
    await reader.close()
    await store.close()


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
async def test_a_failed_fsync_stops_every_later_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    mark = FailureMark()
    store, neighbour = open_store(tmp_path, mark), open_store(tmp_path, mark)
    digest = Digest.of(DATA, "sha256")
    key = await store.publish(await stage(store), digest)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse(errno.EIO))
        with pytest.raises(SyncFailed):
            await store.publish(await stage(store, Staged("2" * 32, (Segment(1, 0),))), digest)
    assert mark.reason
    with pytest.raises(StorageFailed, match="stopped"):
        await neighbour.stage(Staged("3" * 32, (Segment(1, 0),)))
    with pytest.raises(StorageFailed, match="stopped"):
        await neighbour.check(write=True)
    reader = await neighbour.open(key)
    assert await reader.read(0, reader.size) == DATA
    for opened in (reader, store, neighbour):
        await opened.close()
