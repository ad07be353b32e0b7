"""Uploads against leases that run out, clocks that jump, writers that stall and bytes that vanish."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.assembly import Registry
from registry.content import finishing
from registry.content.intake import Body
from registry.content.leases import LEASE
from registry.domain.errors import (
    BlobUnknown,
    BlobUnreadable,
    BlobUploadUnknown,
    BodyCutOff,
    DigestInvalid,
    SizeInvalid,
    UploadOutOfOrder,
)
from registry.domain.names import Digest
from registry.domain.uploads import UploadKey
from registry.metadata import blobs
from tests.support.registry import CALLER, DAY, NAME, Clock, body, execute, opened, pull, push, start

LARGE = bytes(range(256)) * 4096 * 3


@dataclass
class Site:
    """One registry, its clock and its folder."""

    registry: Registry
    clock: Clock
    folder: Path

    def staged(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "blobs" / "staging").iterdir())

    def objects(self) -> set[str]:
        root = self.folder / "blobs"
        return {str(path.relative_to(root)) for path in root.glob("sha*/*/*")}

    async def column(self, statement: str) -> set[str]:
        return {row[0] for row in await execute(self.registry, statement)}

    async def only_object(self) -> Path:
        (key,) = await self.column("SELECT key FROM blob")
        return self.folder / "blobs" / key


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = Clock()
    async with opened(tmp_path, clock) as registry:
        yield Site(registry, clock, tmp_path)


def sha256(data: bytes) -> Digest:
    return Digest.of(data, "sha256")


async def finish(registry: Registry, key: UploadKey, data: bytes, last: Body | None = None) -> Digest:
    digest = sha256(data)
    await registry.uploads.finish(key, digest, last or body())
    return digest


async def cut_off(prefix: bytes) -> AsyncIterator[bytes]:
    yield prefix
    raise BodyCutOff()


class Stalled:
    """A body that stops in the middle until the test lets it go on."""

    def __init__(self, first: bytes, then: bytes) -> None:
        self.body = Body(self._pieces(first, then))
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def _pieces(self, first: bytes, then: bytes) -> AsyncIterator[bytes]:
        yield first
        self.reached.set()
        await self.go_on.wait()
        yield then


# --- expiry (U-16) and clocks (U-19) ---------------------------------------------------------------------------


async def test_an_idle_upload_expires_with_its_bytes(site: Site) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(b"half"))
    site.clock.advance(DAY - 1)
    assert await site.registry.uploads.expire() == 0
    assert (await site.registry.uploads.status(key)).offset == 4
    assert site.staged()
    site.clock.advance(2)
    assert (await site.registry.uploads.status(key)).offset == 4  # the sweep is its only judge: clocks jump
    assert await site.registry.uploads.expire() == 1
    for answer in (
        site.registry.uploads.status(key),
        site.registry.uploads.append(key, body(b"more")),
        site.registry.uploads.finish(key, sha256(b"half"), body()),
        site.registry.uploads.cancel(key),
    ):
        with pytest.raises(BlobUploadUnknown):
            await answer
    assert site.staged() == []
    assert await site.column("SELECT id FROM upload") == set()


async def test_each_chunk_gives_the_upload_a_fresh_day(site: Site) -> None:
    key = await start(site.registry)
    for offset in range(3):
        assert (await site.registry.uploads.append(key, body(b"x", start=offset))).offset == offset + 1
        site.clock.advance(DAY - 1)
        assert await site.registry.uploads.expire() == 0
    await finish(site.registry, key, b"xxx")


async def test_many_uploads_expire_at_once(site: Site) -> None:
    keys = [await start(site.registry) for _ in range(205)]
    site.clock.advance(DAY + 1)
    fresh = await start(site.registry)
    assert await site.registry.uploads.expire() == len(keys)
    assert await site.column("SELECT id FROM upload") == {fresh.id}


async def test_an_upload_under_a_live_lease_does_not_expire(site: Site) -> None:
    key = await start(site.registry)
    stalled = Stalled(b"first ", b"second")
    site.clock.advance(DAY - 1000)
    task = asyncio.create_task(site.registry.uploads.append(key, stalled.body))
    await stalled.reached.wait()
    site.clock.advance(LEASE - 1)
    assert await site.registry.uploads.expire() == 0
    stalled.go_on.set()
    await task
    await finish(site.registry, key, b"first second")


@pytest.mark.parametrize("jump", [-DAY, DAY, -1, LEASE + 1])
async def test_a_clock_that_jumps_while_a_chunk_arrives_costs_nothing(site: Site, jump: int) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(b"zero "))
    stalled = Stalled(b"first ", b"second")
    task = asyncio.create_task(site.registry.uploads.append(key, stalled.body))
    await stalled.reached.wait()
    site.clock.advance(jump)
    stalled.go_on.set()
    assert (await task).offset == 17
    digest = await finish(site.registry, key, b"zero first second")
    assert await pull(site.registry, digest) == b"zero first second"


@pytest.mark.parametrize("jump", [-DAY, DAY - 1])
async def test_a_clock_that_jumps_between_chunks_costs_nothing(site: Site, jump: int) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(b"one "))
    site.clock.advance(jump)
    assert await site.registry.uploads.expire() == 0
    await site.registry.uploads.append(key, body(b"two", start=4))
    digest = await finish(site.registry, key, b"one two")
    assert await pull(site.registry, digest) == b"one two"


# --- leases and live hashes (P1, U-05) -------------------------------------------------------------------------


async def test_a_live_hash_is_void_after_another_process_wrote(site: Site) -> None:
    async with opened(site.folder, site.clock) as other:
        key = await start(site.registry)
        await site.registry.uploads.append(key, body(b"one "))
        await other.uploads.append(key, body(b"two ", start=4))
        await site.registry.uploads.append(key, body(b"three", start=8))
        digest = await finish(site.registry, key, b"one two three")
        assert await pull(other, digest) == b"one two three"


async def test_a_live_hash_is_void_after_another_process_rolled_back(site: Site) -> None:
    async with opened(site.folder, site.clock) as other:
        key = await start(site.registry)
        await site.registry.uploads.append(key, body(b"one "))
        with pytest.raises(SizeInvalid):
            await other.uploads.append(key, body(b"bad ", length=9))
        await site.registry.uploads.append(key, body(b"two", start=4))
        assert await pull(site.registry, await finish(site.registry, key, b"one two")) == b"one two"


@pytest.mark.parametrize("wrong_length", [1, 99])
@pytest.mark.parametrize("before", [b"", b"one "])
async def test_a_chunk_of_another_length_rolls_back(site: Site, before: bytes, wrong_length: int) -> None:
    key = await start(site.registry)
    if before:
        await site.registry.uploads.append(key, body(before))
    with pytest.raises(SizeInvalid):
        await site.registry.uploads.append(key, body(LARGE, b"tail", length=len(LARGE) + wrong_length))
    assert (await site.registry.uploads.status(key)).offset == len(before)
    digest = await finish(site.registry, key, before + b"good", body(b"good", start=len(before)))
    assert await pull(site.registry, digest) == before + b"good"


async def test_another_algorithm_at_the_end_is_computed_from_the_bytes(site: Site) -> None:
    key = await start(site.registry, "sha256")
    await site.registry.uploads.append(key, body(b"one "))
    digest = Digest.of(b"one two", "sha512")
    await site.registry.uploads.finish(key, digest, body(b"two"))
    assert await pull(site.registry, digest) == b"one two"


@pytest.mark.parametrize("prefix", [b"", b"prefix "], ids=["first-chunk", "later-chunk"])
@pytest.mark.parametrize("when", ["A resumes after B finished", "A resumes before B finishes"])
async def test_a_stalled_writer_loses_its_lease_and_cannot_touch_the_blob(site: Site, prefix: bytes, when: str) -> None:
    key = await start(site.registry)
    if prefix:
        await site.registry.uploads.append(key, body(prefix))
    stalled = Stalled(LARGE, LARGE)
    task = asyncio.create_task(site.registry.uploads.append(key, stalled.body))
    await stalled.reached.wait()
    site.clock.advance(LEASE + 1)
    async with opened(site.folder, site.clock) as other:
        await other.uploads.append(key, body(b"from B ", start=len(prefix)))
        content = prefix + b"from B end"
        if when == "A resumes before B finishes":
            stalled.go_on.set()
            with pytest.raises(BlobUploadUnknown):
                await task
        digest = await finish(other, key, content, body(b"end"))
        stalled.go_on.set()
        if not task.done():
            with pytest.raises(BlobUploadUnknown):
                await task
        assert await pull(other, digest) == content
        assert await pull(site.registry, digest) == content
        assert (await other.fsck.run(deep=True, progress=lambda *_: None)).problems == []


async def test_a_stalled_writer_whose_upload_was_cancelled_meets_an_unknown_upload(site: Site) -> None:
    key = await start(site.registry)
    stalled = Stalled(LARGE, b"")
    task = asyncio.create_task(site.registry.uploads.append(key, stalled.body))
    await stalled.reached.wait()
    await site.registry.uploads.cancel(key)
    stalled.go_on.set()
    with pytest.raises(BlobUploadUnknown):
        await task
    assert await site.column("SELECT id FROM upload") == set()


async def test_a_second_writer_is_refused_while_the_first_holds_the_lease(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.content.leases.WAIT_SECONDS", 0.1)
    key = await start(site.registry)
    stalled = Stalled(b"first ", b"second")
    task = asyncio.create_task(site.registry.uploads.append(key, stalled.body))
    await stalled.reached.wait()
    with pytest.raises(UploadOutOfOrder):
        await site.registry.uploads.append(key, body(b"intruder"))
    stalled.go_on.set()
    await task
    await finish(site.registry, key, b"first second")


# --- ends of uploads -------------------------------------------------------------------------------------------


async def test_a_wrong_digest_ends_the_upload_and_leaves_nothing(site: Site) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(b"one "))
    with pytest.raises(DigestInvalid):
        await site.registry.uploads.finish(key, sha256(b"other"), body(b"two"))
    with pytest.raises(DigestInvalid):
        await site.registry.uploads.push(NAME, CALLER, sha256(b"other"), body(b"whole"))
    with pytest.raises(BlobUploadUnknown):
        await site.registry.uploads.status(key)
    assert (site.staged(), site.objects()) == ([], set())
    assert await site.column("SELECT id FROM upload UNION ALL SELECT digest FROM blob") == set()


@pytest.mark.parametrize("prefix", [b"short", LARGE], ids=["short", "large"])
async def test_what_came_before_the_client_left_is_kept(site: Site, prefix: bytes) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(b"zero "))
    with pytest.raises(BodyCutOff):
        await site.registry.uploads.append(key, Body(cut_off(prefix), 5, len(prefix) + 100))
    offset = (await site.registry.uploads.status(key)).offset
    assert offset == 5 + len(prefix)
    content = b"zero " + prefix + b" rest"
    digest = await finish(site.registry, key, content, body(b" rest", start=offset))
    assert await pull(site.registry, digest) == content


async def test_a_finish_repeated_succeeds_while_the_blob_is_held(site: Site) -> None:
    key = await start(site.registry)
    digest = await finish(site.registry, key, b"data", body(b"data"))
    await site.registry.uploads.finish(key, digest, body(b"data"))
    await site.registry.uploads.finish(key, digest, body())
    with pytest.raises(DigestInvalid):
        await site.registry.uploads.finish(key, sha256(b"other"), body())
    with pytest.raises(BlobUploadUnknown):
        await site.registry.uploads.append(key, body(b"more"))
    with pytest.raises(BlobUploadUnknown):
        await site.registry.uploads.status(key)
    await site.registry.blobs.delete(NAME, digest, CALLER)
    with pytest.raises(BlobUploadUnknown):
        await site.registry.uploads.finish(key, digest, body())
    with pytest.raises(BlobUnknown):
        await site.registry.blobs.stat(NAME, digest)


async def test_a_finish_repeated_renews_the_lease_of_the_link(site: Site) -> None:
    key = await start(site.registry)
    digest = await finish(site.registry, key, b"data", body(b"data"))
    site.clock.advance(DAY // 2)
    await site.registry.uploads.finish(key, digest, body())
    assert await execute(site.registry, "SELECT keep_until FROM link") == [(site.clock.now + DAY,)]


@pytest.mark.parametrize("lie", ["id", "repository", "identity"])
async def test_id_repository_and_identity_only_match_together(site: Site, lie: str) -> None:
    key = await start(site.registry)
    other = UploadKey(
        key.id[::-1] if lie == "id" else key.id,
        type(NAME)("team/other") if lie == "repository" else key.repository,
        "somebody" if lie == "identity" else key.identity,
    )
    await push(site.registry, b"makes the other repository", type(NAME)("team/other"))
    for answer in (site.registry.uploads.status(other), site.registry.uploads.append(other, body(b"x"))):
        with pytest.raises(BlobUploadUnknown):
            await answer
    assert (await site.registry.uploads.status(key)).offset == 0


# --- bytes that vanish, digests that come twice (S-04) ----------------------------------------------------------


def _lose(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [_lose, _truncate])
@pytest.mark.parametrize("noticed", [True, False], ids=["noticed-by-a-pull", "unnoticed"])
@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
async def test_a_damaged_blob_is_unknown_and_the_next_push_heals_it(
    site: Site, damage: Callable[[Path], None], noticed: bool, data: bytes
) -> None:
    digest = await push(site.registry, data)
    old = await site.only_object()
    damage(old)
    if noticed:
        with pytest.raises(BlobUnreadable if damage is _truncate else BlobUnknown):
            await pull(site.registry, digest)
        with pytest.raises(BlobUnknown):
            await site.registry.blobs.stat(NAME, digest)
    await push(site.registry, data)
    assert await pull(site.registry, digest) == data
    assert (await site.registry.blobs.stat(NAME, digest)).size == len(data)
    assert await site.only_object() != old
    assert await site.column("SELECT key FROM doomed") == {str(old.relative_to(site.folder / "blobs"))}


async def test_a_digest_pushed_again_makes_no_second_object(site: Site) -> None:
    digest = await push(site.registry, LARGE)
    for name in (NAME, type(NAME)("team/other")):
        await push(site.registry, LARGE, name)
        assert await pull(site.registry, digest, name) == LARGE
    assert len(site.objects()) == 1
    assert await site.column("SELECT key FROM doomed") == set()
    assert site.staged() == []


async def test_concurrent_pushes_of_one_digest_leave_only_keys_that_are_named(site: Site) -> None:
    digests = await asyncio.gather(*(push(site.registry, LARGE) for _ in range(6)))
    assert await site.only_object()
    named = await site.column("SELECT key FROM blob UNION ALL SELECT key FROM doomed")
    assert site.objects() == named
    assert site.staged() == []
    assert await pull(site.registry, digests[0]) == LARGE


async def test_the_loser_of_a_race_gets_its_key_doomed_and_never_the_winners(site: Site) -> None:
    """Both find nothing and publish before either records: the race at its worst."""
    registry, digest = site.registry, sha256(b"same")
    pending = []
    for _ in range(2):
        key = await start(registry)
        await registry.uploads.append(key, body(b"same"))
        row = await registry.uploads._leases.take(key, None)
        assert await registry.database.read(blobs.find, digest) is None
        done = finishing.Finished(row.staged, row.version, digest, DAY, DAY)
        pending.append((done, await registry.store.publish(row.staged, digest)))
    for done, published in pending:
        await registry.database.write(finishing._record, done, None, published)
    winner, loser = (published for _, published in pending)
    assert await site.column("SELECT key FROM blob") == {winner}
    assert await site.column("SELECT key FROM doomed") == {loser}
    assert site.objects() == {winner, loser}
    assert not await registry.database.write(finishing._record, *(pending[0][0], None, winner))
    assert await site.column("SELECT key FROM doomed") == {loser}


async def test_staging_that_no_row_knows_is_swept_and_the_rest_stays(site: Site) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(b"kept"))
    (site.folder / "blobs" / "staging" / f"{'0' * 32}.1").write_bytes(b"left by a crash")
    assert await site.registry.uploads.sweep_staging() == 1
    await finish(site.registry, key, b"kept")


async def test_a_put_repeated_after_its_blob_was_found_damaged_is_no_success(site: Site) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(LARGE))
    await finish(site.registry, key, LARGE)
    _lose(await site.only_object())
    with pytest.raises(BlobUnknown):
        await pull(site.registry, sha256(LARGE))
    with pytest.raises(BlobUploadUnknown):
        await site.registry.uploads.finish(key, sha256(LARGE), body())
