"""What every blob store must do: the contract of storage/backend.py, run on each of them."""

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from storage.backend import BlobStore, Segment, Staged
from storage.digest import Digest
from storage.errors import BlobMissing, StagedBytesMissing, StorageFailed
from storage.filesystem import INLINE_LIMIT, open_store

ID = "0" * 31 + "1"
OTHER_ID = "0" * 31 + "2"
LARGE = bytes(range(256)) * 1024

BACKENDS: list[Callable[[Path], BlobStore]] = [open_store]


@pytest.fixture(params=BACKENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    opened: BlobStore = request.param(tmp_path)
    yield opened
    await opened.close()


async def stage(store: BlobStore, staged: Staged, *pieces: bytes) -> Staged:
    writer = await store.stage(staged)
    try:
        for piece in pieces:
            await writer.write(piece)
        return await writer.sync()
    finally:
        await writer.close()


async def publish(store: BlobStore, data: bytes, upload_id: str = ID, algorithm: str = "sha256") -> str:
    staged = await stage(store, Staged(upload_id, (Segment(1, 0),)), data)
    return await store.publish(staged, Digest.of(data, algorithm))


async def content(store: BlobStore, key: str) -> bytes:
    reader = await store.open(key)
    try:
        return await reader.read(0, reader.size)
    finally:
        await reader.close()


async def staged_bytes(store: BlobStore, staged: Staged) -> bytes:
    return b"".join([piece async for piece in store.read_staged(staged)])


async def all_keys(store: BlobStore) -> set[str]:
    return {key async for some in store.keys() for key in some}  # noqa: SIM118 - no dict


@pytest.mark.parametrize("data", [b"", b"x", LARGE[:INLINE_LIMIT], LARGE])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_what_is_published_is_read(store: BlobStore, data: bytes, algorithm: str) -> None:
    key = await publish(store, data, algorithm=algorithm)
    assert await content(store, key) == data
    assert await store.size(key) == len(data)
    assert await all_keys(store) == {key}


async def test_an_upload_that_never_got_a_byte_is_published(store: BlobStore) -> None:
    key = await store.publish(Staged(ID, (Segment(1, 0),)), Digest.of(b""))
    assert await content(store, key) == b""


async def test_a_segment_is_continued(store: BlobStore) -> None:
    first = await stage(store, Staged(ID, (Segment(1, 0),)), b"one ", b"two ")
    second = await stage(store, first, b"three")
    assert (first.size, second.size) == (8, 13)
    assert await staged_bytes(store, second) == b"one two three"


async def test_bytes_that_do_not_count_are_cut_off(store: BlobStore) -> None:
    await stage(store, Staged(ID, (Segment(1, 0),)), b"counted, and not")
    counted = Staged(ID, (Segment(1, 7),))
    assert await staged_bytes(store, await stage(store, counted, b"!")) == b"counted!"
    await stage(store, Staged(ID, (Segment(1, 7),)), b" surplus")
    key = await store.publish(counted, Digest.of(b"counted"))
    assert await content(store, key) == b"counted"


async def test_segments_are_joined(store: BlobStore) -> None:
    first = await stage(store, Staged(ID, (Segment(1, 0),)), b"one ")
    both = await stage(store, Staged(ID, (*first.segments, Segment(2, 0))), b"two")
    key = await store.publish(both, Digest.of(b"one two"))
    assert await content(store, key) == b"one two"


async def test_u05_a_writer_whose_lease_ran_out_never_reaches_the_blob(store: BlobStore) -> None:
    zombie = await store.stage(Staged(ID, (Segment(1, 0),)))
    await zombie.write(b"counted")
    staged = await zombie.sync()
    taken_over = Staged(ID, (*staged.segments, Segment(2, 0)))
    key = await store.publish(await stage(store, taken_over), Digest.of(b"counted"))
    await zombie.write(b" late")
    await zombie.sync()
    await zombie.close()
    assert await content(store, key) == b"counted"


@pytest.mark.parametrize("counted", [Segment(1, 9), Segment(7, 3)], ids=["short", "gone"])
async def test_missing_staged_bytes_are_noticed(store: BlobStore, counted: Segment) -> None:
    await stage(store, Staged(ID, (Segment(1, 0),)), b"three")
    missing = Staged(ID, (counted,))
    with pytest.raises(StagedBytesMissing):
        await store.stage(missing)
    with pytest.raises(StagedBytesMissing):
        await staged_bytes(store, missing)
    with pytest.raises(StagedBytesMissing):
        await store.publish(missing, Digest.of(b"three"))


async def test_publishing_again_gives_the_same_key(store: BlobStore) -> None:
    staged = await stage(store, Staged(ID, (Segment(1, 0),)), b"same")
    keys = {await store.publish(staged, Digest.of(b"same")) for _ in range(2)}
    assert await all_keys(store) == keys


async def test_two_uploads_of_one_digest_have_two_keys(store: BlobStore) -> None:
    keys = {await publish(store, b"same"), await publish(store, b"same", OTHER_ID)}
    assert len(keys) == 2
    assert await all_keys(store) == keys


async def test_discarding_leaves_what_was_published(store: BlobStore) -> None:
    staged = await stage(store, Staged(ID, (Segment(1, 0),)), b"kept")
    key = await store.publish(staged, Digest.of(b"kept"))
    for _ in range(2):
        await store.discard(staged)
    assert [found async for found in store.uploads() if found] == []
    assert await content(store, key) == b"kept"


async def test_uploads_lists_what_is_staged(store: BlobStore) -> None:
    staged = await stage(store, Staged(ID, (Segment(3, 0),)), b"five!")
    assert [found async for some in store.uploads() for found in some] == [staged]


async def test_deleted_bytes_are_missing_but_for_who_reads_them(store: BlobStore) -> None:
    key = await publish(store, LARGE)
    reader = await store.open(key)
    for _ in range(2):
        await store.delete(key)
    with pytest.raises(BlobMissing):
        await store.open(key)
    with pytest.raises(BlobMissing):
        await store.size(key)
    assert hashlib.sha256(await reader.read(0, reader.size)).digest() == hashlib.sha256(LARGE).digest()
    await reader.close()


@pytest.mark.parametrize("data", [b"small", LARGE])
async def test_reading_past_the_end_fails(store: BlobStore, data: bytes) -> None:
    reader = await store.open(await publish(store, data))
    with pytest.raises(StorageFailed):
        await reader.read(len(data) - 1, 2)
    assert await reader.read(1, 3) == data[1:4]
    await reader.close()


@pytest.mark.parametrize("key", ["../secret", "sha256/aa/x", "", "sha256/aa/" + "a" * 64])
async def test_what_is_no_key_is_missing(store: BlobStore, key: str) -> None:
    with pytest.raises(BlobMissing):
        await store.open(key)


async def test_a_store_that_works_says_so(store: BlobStore) -> None:
    await store.check(write=True)
