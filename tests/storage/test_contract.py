"""The contract of storage/backend.py, for every store there is: a new one joins BACKENDS and passes."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from storage.backend import BlobStore, Segment, Staged
from storage.digest import Digest
from storage.errors import BlobDamaged, BlobMissing, StagedBytesMissing, StorageFailed
from storage.failure import FailureMark
from storage.filesystem import open_store

BACKENDS: list[Callable[[Path, FailureMark], BlobStore]] = [open_store]

UPLOAD = "a" * 32
OTHER_UPLOAD = "b" * 32
SMALL = b"a small blob"
LARGE = bytes(range(256)) * 4096 + b"and no round number"


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.__module__)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    opened: BlobStore = request.param(tmp_path / "blobs", FailureMark())
    yield opened
    await opened.close()


def fresh(upload_id: str = UPLOAD, version: int = 1) -> Staged:
    return Staged(upload_id, (Segment(version, 0),))


def next_lease(staged: Staged) -> Staged:
    return Staged(staged.upload_id, (*staged.segments, Segment(staged.segments[-1].version + 1, 0)))


async def append(store: BlobStore, staged: Staged, *pieces: bytes) -> Staged:
    writer = await store.stage(staged)
    for piece in pieces:
        await writer.write(piece)
    synced = await writer.sync()
    await writer.close()
    return synced


async def staged_bytes(store: BlobStore, staged: Staged) -> bytes:
    return b"".join([piece async for piece in store.read_staged(staged)])


async def put(store: BlobStore, content: bytes, upload_id: str = UPLOAD, algorithm: str = "sha256") -> str:
    staged = await append(store, fresh(upload_id), content)
    return await store.publish(staged, Digest.of(content, algorithm))


async def get(store: BlobStore, key: str) -> bytes:
    reader = await store.open(key)
    try:
        return await reader.read(0, reader.size)
    finally:
        await reader.close()


async def all_keys(store: BlobStore) -> list[str]:
    return sorted([key async for batch in store.keys() for key in batch])  # noqa: SIM118 - no dict


async def all_uploads(store: BlobStore) -> set[Staged]:
    return {staged async for batch in store.uploads() for staged in batch}


# --- staging ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([], id="nothing"),
        pytest.param([b""], id="an-empty-piece"),
        pytest.param([b"one"], id="one-piece"),
        pytest.param([b"one", b"", b"two", b"three"], id="several-pieces"),
        pytest.param([LARGE, LARGE], id="large-pieces"),
        pytest.param([bytearray(b"a buffer that the caller uses again")], id="a-bytearray"),
    ],
)
async def test_sync_counts_and_keeps_what_was_written(store: BlobStore, pieces: Sequence[bytes]) -> None:
    staged = await append(store, fresh(), *pieces)

    content = b"".join(pieces)
    assert staged == Staged(UPLOAD, (Segment(1, len(content)),))
    assert staged.size == len(content)
    assert await staged_bytes(store, staged) == content


async def test_every_sync_counts_all_bytes_so_far(store: BlobStore) -> None:
    writer = await store.stage(fresh())
    await writer.write(b"one")
    first = await writer.sync()
    await writer.write(b"two")
    second = await writer.sync()
    await writer.close()

    assert (first.size, second.size) == (3, 6)
    assert await staged_bytes(store, first) == b"one"
    assert await staged_bytes(store, second) == b"onetwo"


async def test_staging_goes_on_where_it_stopped(store: BlobStore) -> None:
    staged = await append(store, fresh(), b"one")
    staged = await append(store, staged, b"two")

    assert staged == Staged(UPLOAD, (Segment(1, 6),))
    assert await staged_bytes(store, staged) == b"onetwo"


@pytest.mark.parametrize("counted", [0, 1, 5])
async def test_bytes_beyond_those_that_count_are_cut_off(store: BlobStore, counted: int) -> None:
    await append(store, fresh(), b"0123456789")

    staged = await append(store, Staged(UPLOAD, (Segment(1, counted),)), b"new")

    assert await staged_bytes(store, staged) == b"0123456789"[:counted] + b"new"
    assert await all_uploads(store) == {staged}


@pytest.mark.parametrize("pieces", [pytest.param([], id="gone"), pytest.param([b"ab"], id="short")])
@pytest.mark.parametrize("more_segments", [False, True], ids=["only-segment", "first-of-two"])
async def test_bytes_that_count_but_are_not_there_are_missing(
    store: BlobStore, pieces: Sequence[bytes], more_segments: bool
) -> None:
    if pieces:
        await append(store, fresh(), *pieces)
    counted = Staged(UPLOAD, (Segment(1, 3),))
    if more_segments:
        counted = await append(store, next_lease(counted), b"later")

    if not more_segments:
        with pytest.raises(StagedBytesMissing):
            await store.stage(counted)
    with pytest.raises(StagedBytesMissing):
        await staged_bytes(store, counted)
    with pytest.raises(StagedBytesMissing):
        await store.publish(counted, Digest.of(b"abc"))
    assert await all_keys(store) == []


async def test_read_staged_may_stop_midway(store: BlobStore) -> None:
    staged = await append(store, fresh(), LARGE, LARGE)

    async with aclosing(store.read_staged(staged)) as pieces:
        first = await anext(pieces)

    assert (LARGE + LARGE).startswith(first)
    assert await staged_bytes(store, staged) == LARGE + LARGE


async def test_discard_removes_staged_bytes_of_one_upload_only(store: BlobStore) -> None:
    staged = await append(store, fresh(), b"one")
    staged = await append(store, next_lease(staged), b"two")
    other = await append(store, fresh(OTHER_UPLOAD), b"other")

    await store.discard(staged)
    await store.discard(staged)

    assert await all_uploads(store) == {other}
    with pytest.raises(StagedBytesMissing):
        await staged_bytes(store, staged)


# --- publishing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("content", [b"", b"x", SMALL, LARGE], ids=["empty", "byte", "small", "large"])
async def test_publish_gives_the_staged_bytes_a_key(store: BlobStore, content: bytes, algorithm: str) -> None:
    key = await put(store, content, algorithm=algorithm)

    assert await get(store, key) == content
    assert await store.size(key) == len(content)
    assert await all_keys(store) == [key]


@pytest.mark.parametrize(
    "segments", [(Segment(1, 0),), (Segment(1, 0), Segment(2, 0))], ids=["one-lease", "two-leases"]
)
async def test_an_upload_that_never_got_a_byte_is_the_empty_blob(
    store: BlobStore, segments: tuple[Segment, ...]
) -> None:
    key = await store.publish(Staged(UPLOAD, segments), Digest.of(b""))

    assert await get(store, key) == b""
    assert await store.size(key) == 0


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([b"one", b"two"], id="two"),
        pytest.param([b"", b"two"], id="the-first-empty"),
        pytest.param([b"one", b""], id="the-last-empty"),
        pytest.param([b"one", b"", b"three", b"four"], id="four"),
        pytest.param([LARGE, SMALL, LARGE], id="large"),
    ],
)
async def test_segments_are_joined_in_order(store: BlobStore, parts: Sequence[bytes]) -> None:
    staged = await append(store, fresh(), parts[0])
    for part in parts[1:]:
        staged = await append(store, next_lease(staged), part)
    content = b"".join(parts)
    assert [segment.size for segment in staged.segments] == [len(part) for part in parts]
    assert await staged_bytes(store, staged) == content

    key = await store.publish(staged, Digest.of(content))

    assert await get(store, key) == content


async def test_an_empty_segment_that_nobody_opened_is_no_hindrance(store: BlobStore) -> None:
    staged = next_lease(await append(store, fresh(), SMALL))

    assert await staged_bytes(store, staged) == SMALL
    assert await get(store, await store.publish(staged, Digest.of(SMALL))) == SMALL


async def test_publish_leaves_out_bytes_that_do_not_count(store: BlobStore) -> None:
    await append(store, fresh(), b"abc and more")
    counted = Staged(UPLOAD, (Segment(1, 3),))

    assert await staged_bytes(store, counted) == b"abc"
    assert await get(store, await store.publish(counted, Digest.of(b"abc"))) == b"abc"


@pytest.mark.parametrize("leases", [1, 2])
async def test_publishing_again_gives_the_same_key(store: BlobStore, leases: int) -> None:
    staged = await append(store, fresh(), SMALL)
    if leases == 2:
        staged = await append(store, next_lease(staged), SMALL)
    digest = Digest.of(SMALL * leases)

    first = await store.publish(staged, digest)
    second = await store.publish(staged, digest)

    assert first == second
    assert await all_keys(store) == [first]
    assert await get(store, first) == SMALL * leases


async def test_two_uploads_of_one_digest_have_two_keys_with_lives_of_their_own(store: BlobStore) -> None:
    first = await put(store, SMALL, UPLOAD)
    second = await put(store, SMALL, OTHER_UPLOAD)
    assert first != second

    await store.delete(first)

    assert await all_keys(store) == [second]
    assert await get(store, second) == SMALL


async def test_a_key_tells_two_digests_of_one_upload_apart(store: BlobStore) -> None:
    staged = await append(store, fresh(), SMALL)
    keys = {await store.publish(staged, Digest.of(SMALL, algorithm)) for algorithm in ("sha256", "sha512")}

    assert len(keys) == 2
    assert [await get(store, key) for key in keys] == [SMALL, SMALL]


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_discard_leaves_what_was_published(store: BlobStore, content: bytes) -> None:
    staged = await append(store, next_lease(await append(store, fresh(), content)), content)
    key = await store.publish(staged, Digest.of(content * 2))

    await store.discard(staged)

    assert await get(store, key) == content * 2
    assert await all_uploads(store) == set()


@pytest.mark.parametrize("successor_writes", [True, False], ids=["successor-writes", "successor-only-finishes"])
async def test_a_zombie_writer_never_changes_a_published_blob(store: BlobStore, successor_writes: bool) -> None:
    """U-05: the first lease ran out while its holder slept; it wakes before, between and after."""
    zombie = await store.stage(fresh())
    await zombie.write(b"good ")
    staged = next_lease(await zombie.sync())
    await zombie.write(b"EVIL ")
    if successor_writes:
        staged = await append(store, staged, b"bytes")
    content = b"good bytes" if successor_writes else b"good "
    assert await staged_bytes(store, staged) == content

    key = await store.publish(staged, Digest.of(content))
    await zombie.write(b"EVIL AGAIN")
    await zombie.sync()
    assert await get(store, key) == content

    await store.discard(staged)
    await zombie.write(b"EVIL FOR EVER")
    await zombie.sync()
    await zombie.close()
    assert await get(store, key) == content
    assert await store.size(key) == len(content)


# --- reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_a_reader_has_the_bytes_at_hand_or_a_file(store: BlobStore, content: bytes) -> None:
    reader = await store.open(await put(store, content))

    assert reader.size == len(content)
    assert reader.content is None or reader.content == content
    assert reader.file is None or reader.file.read() == content
    await reader.close()


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_read_gives_exactly_what_was_asked(store: BlobStore, content: bytes) -> None:
    reader = await store.open(await put(store, content))
    end = len(content)

    for offset, length in ((0, 0), (0, 1), (3, 5), (end - 1, 1), (end, 0), (0, end)):
        assert await reader.read(offset, length) == content[offset : offset + length]
    await reader.close()


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize(("before_end", "length"), [(0, 1), (-10, 1), (-(2**40), 5)])
async def test_read_past_the_end_fails(store: BlobStore, content: bytes, before_end: int, length: int) -> None:
    reader = await store.open(await put(store, content))

    with pytest.raises(StorageFailed):
        await reader.read(len(content) - before_end, length)
    with pytest.raises(StorageFailed):
        await reader.read(0, len(content) + 1)
    await reader.close()


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_a_reader_past_the_cache_gives_the_same_bytes(store: BlobStore, content: bytes) -> None:
    key = await put(store, content)
    reader = await store.open(key, uncached=True)

    assert reader.size == len(content)
    for offset in range(0, len(content), 100_000):
        length = min(100_000, len(content) - offset)
        assert await reader.read(offset, length) == content[offset : offset + length]
    with pytest.raises(BlobDamaged):
        await reader.read(len(content), 1)
    await reader.close()
    with pytest.raises(BlobMissing):
        await store.open(f"{key}0", uncached=True)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_an_open_blob_stays_readable_when_its_key_is_deleted(store: BlobStore, content: bytes) -> None:
    key = await put(store, content)
    await store.discard(fresh())
    reader = await store.open(key)

    await store.delete(key)

    assert await reader.read(0, len(content)) == content
    await reader.close()


# --- deleting and listing --------------------------------------------------------------------------------------


async def test_deleted_bytes_are_missing_and_deleting_again_is_fine(store: BlobStore) -> None:
    key = await put(store, SMALL)

    await store.delete(key)
    await store.delete(key)

    with pytest.raises(BlobMissing):
        await store.open(key)
    with pytest.raises(BlobMissing):
        await store.size(key)
    assert await all_keys(store) == []


@pytest.mark.parametrize("key", ["", ".", "..", "../blobs", "/etc/hostname", "staging/x", "sha256/00/\0"])
async def test_what_publish_never_made_is_no_key(store: BlobStore, key: str) -> None:
    with pytest.raises(BlobMissing):
        await store.open(key)
    with pytest.raises(BlobMissing):
        await store.size(key)


async def test_keys_lists_exactly_what_was_published(store: BlobStore) -> None:
    assert await all_keys(store) == []

    kept = [
        await put(store, b"content %d" % number, f"{number:032x}", algorithm)
        for number, algorithm in enumerate(["sha256", "sha512"] * 5)
    ]
    gone = await put(store, b"gone", "f" * 32)
    await store.delete(gone)

    assert await all_keys(store) == sorted(kept)


async def test_uploads_lists_exactly_what_is_staged(store: BlobStore) -> None:
    assert await all_uploads(store) == set()

    first = await append(store, fresh(), b"one")
    await append(store, next_lease(first), b"later")
    await append(store, fresh(OTHER_UPLOAD, version=7))
    writer = await store.stage(fresh("c" * 32))
    await writer.write(b"found, whether or not it counts")
    await writer.close()

    assert await all_uploads(store) == {
        Staged(UPLOAD, (Segment(1, 3),)),
        Staged(UPLOAD, (Segment(2, 5),)),
        Staged(OTHER_UPLOAD, (Segment(7, 0),)),
        Staged("c" * 32, (Segment(1, 31),)),
    }


@pytest.mark.parametrize("write", [True, False])
async def test_check_passes_on_a_sound_store_and_leaves_nothing(store: BlobStore, write: bool) -> None:
    await store.check(write=write)

    assert await all_keys(store) == []
    assert await all_uploads(store) == set()
