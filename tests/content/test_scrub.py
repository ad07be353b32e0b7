"""The scrub finds what is wrong and nothing else, hides it, and a push heals it (S-04, S-05)."""

import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from registry.assembly import Registry
from registry.content import scrub
from registry.content.conditions import Conditions
from registry.content.hashing import PIECE
from registry.content.pace import Pace
from registry.content.pushing import Push
from registry.content.quarantine import TAGS_SHOWN, Quarantine, Wrong
from registry.content.scrub import BATCH, Checked, Scrub, Wanted
from registry.domain.access import OPERATOR, Caller
from registry.domain.errors import BlobUnknown, BlobUnreadable, ManifestBlobUnknown
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import PageRequest
from registry.domain.problems import Missing
from registry.metadata import blobs
from storage.backend import BlobReader
from storage.errors import BlobDamaged, StorageFailed
from tests.support.images import image, index
from tests.support.registry import CALLER, DAY, NAME, Clock, body, execute, opened, pull, push, start
from tests.support.rot import flip, push_image, stored_file

ME = Caller(OPERATOR, "")
OTHER = RepositoryName("other/app")
OTHERS = "SELECT digest, key, state FROM blob WHERE size = 10"
SIZES = (1, 1000, 64 * 1024, 64 * 1024 + 1, PIECE, PIECE + 1, 3 * PIECE)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def registry(tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    async with opened(tmp_path, clock) as registry:
        yield registry


async def check(registry: Registry, *digests: Digest, older: int = 0) -> list[Checked]:
    """All blobs, or these."""
    tick(registry)
    async with aclosing(registry.scrub.verify(Wanted(digests, older=older), ME)) as steps:
        return [step async for step in steps if isinstance(step, Checked)]


def tick(registry: Registry) -> None:
    """What came in this millisecond is verified at its end."""
    cast(Clock, registry.database._now).advance(1)


async def wrong(registry: Registry) -> dict[Digest, str]:
    """What is wrong, by digest."""
    return {checked.digest: checked.wrong.kind for checked in await check(registry) if checked.wrong}


async def times(registry: Registry) -> dict[str, int]:
    return dict(await execute(registry, "SELECT digest, verified_at FROM blob"))


async def is_hidden(registry: Registry, digest: Digest) -> bool:
    try:
        await registry.blobs.stat(NAME, digest)
    except BlobUnknown:
        return True
    return False


async def events(registry: Registry) -> list[tuple[str, str, str, str]]:
    """Who did what to which blob, and why."""
    rows = await execute(registry, "SELECT identity, action, details FROM event WHERE action LIKE 'blob.%' ORDER BY id")
    told = [(who, action, json.loads(details)) for who, action, details in rows]
    return [(who, action, details["digest"], details.get("found", "")) for who, action, details in told]


# --- what is found -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
async def test_one_flipped_bit_is_found_hidden_told_and_healed(registry: Registry, size: int, part: float) -> None:
    data, others = os.urandom(size), [await push(registry, os.urandom(10)) for _ in range(3)]
    digest = await push(registry, data)
    path, before = await stored_file(registry, digest), await execute(registry, OTHERS)
    flip(path, int((size - 1) * part), bit=7)

    assert await wrong(registry) == {digest: "corrupt"}

    assert await is_hidden(registry, digest)
    assert await events(registry) == [("operator", "blob.quarantine", digest, "corrupt")]
    assert not any([await is_hidden(registry, other) for other in others])
    await push(registry, data)
    assert await pull(registry, digest) == data
    assert await stored_file(registry, digest) != path
    assert await execute(registry, OTHERS) == before
    assert await wrong(registry) == {}


async def test_an_empty_blob_is_right(registry: Registry) -> None:
    await push(registry, b"")
    assert await wrong(registry) == {}


async def test_a_blob_by_sha512_is_hashed_by_sha512(registry: Registry) -> None:
    digest = Digest.of(b"by another", "sha512")
    await registry.uploads.push(NAME, CALLER, digest, body(b"by another"))
    assert await wrong(registry) == {}
    flip(await stored_file(registry, digest), 3)
    assert await wrong(registry) == {digest: "corrupt"}


@pytest.mark.parametrize(
    ("spoil", "kind", "about"),
    [
        (lambda path: os.truncate(path, 999), "corrupt", "are 999 and not 1000"),
        (lambda path: os.truncate(path, 0), "corrupt", "are 0 and not 1000"),
        (lambda path: os.truncate(path, 1001), "corrupt", "are 1001 and not 1000"),
        (Path.unlink, "missing", "are lost"),
    ],
    ids=["short", "empty", "long", "lost"],
)
async def test_bytes_that_are_lost_or_of_another_size_are_found(
    registry: Registry, spoil: Callable[[Path], None], kind: str, about: str
) -> None:
    digest = await push(registry, os.urandom(1000))
    spoil(await stored_file(registry, digest))
    (checked,) = await check(registry)
    assert checked.wrong is not None and (checked.wrong.kind, checked.wrong.about) == (kind, about)
    assert await is_hidden(registry, digest)


@pytest.mark.parametrize("seconds_look", [True, False], ids=["the disk stays broken", "the disk had erred once"])
async def test_bytes_that_the_disk_does_not_give_back_count_when_they_fail_twice(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, seconds_look: bool
) -> None:
    digest, looks = await push(registry, os.urandom(1000)), 0
    open_key = registry.store.open

    async def broken(key: str, *, uncached: bool = False) -> BlobReader:
        nonlocal looks
        looks += 1
        if looks == 1 or seconds_look:
            raise BlobDamaged("Input/output error")
        return await open_key(key, uncached=uncached)

    monkeypatch.setattr(registry.store, "open", broken)
    assert await wrong(registry) == ({digest: "unreadable"} if seconds_look else {})
    assert (await is_hidden(registry, digest), looks) == (seconds_look, 2)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: flip(path, 0)], ids=["lost", "corrupt"])
async def test_a_folder_that_is_gone_as_a_whole_says_nothing_of_a_blob(
    registry: Registry, spoil: Callable[[Path], None]
) -> None:
    """Somebody unmounted the disk: all is to be found again when it comes back."""
    digest = await push(registry, b"data")
    spoil(await stored_file(registry, digest))
    staging = registry.settings.storage.filesystem.rootdirectory / "staging"
    staging.rename(staging.with_name("gone"))
    with pytest.raises(StorageFailed):
        await check(registry)
    if spoil is Path.unlink:
        with pytest.raises(BlobUnreadable):
            await pull(registry, digest)
    assert not await is_hidden(registry, digest)
    staging.with_name("gone").rename(staging)


# --- healing -----------------------------------------------------------------------------------------------------


async def one_post(registry: Registry, data: bytes) -> None:
    await push(registry, data)


async def chunks(registry: Registry, data: bytes) -> None:
    key = await start(registry)
    await registry.uploads.append(key, body(data[:400]))
    await registry.uploads.append(key, body(data[400:], start=400))
    await registry.uploads.finish(key, Digest.of(data), body())


async def one_put(registry: Registry, data: bytes) -> None:
    await registry.uploads.finish(await start(registry), Digest.of(data), body(data))


async def to_another_repository(registry: Registry, data: bytes) -> None:
    await push(registry, data, OTHER)


Way = Callable[[Registry, bytes], Awaitable[None]]
WAYS: list[Way] = [one_post, chunks, one_put, to_another_repository]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: flip(path, 1)], ids=["lost", "corrupt"])
async def test_every_way_to_push_heals(registry: Registry, way: Way, spoil: Callable[[Path], None]) -> None:
    data = os.urandom(1000)
    digest = await push(registry, data)
    path = await stored_file(registry, digest)
    key = str(path.relative_to(registry.settings.storage.filesystem.rootdirectory))
    spoil(path)
    assert set(await wrong(registry)) == {digest}
    await way(registry, data)
    assert await pull(registry, digest) == data
    assert await execute(registry, "SELECT key FROM doomed") == [(key,)]
    assert await wrong(registry) == {}
    assert (await registry.fsck.run(deep=True, progress=lambda *_: None)).problems == []


async def test_what_is_in_quarantine_is_neither_mounted_nor_named_by_a_new_manifest(registry: Registry) -> None:
    content = image("mounted")
    await push_image(registry, content, "v1")
    digest = Digest(content.layers[0].digest)
    flip(await stored_file(registry, digest), 1)
    assert set(await wrong(registry)) == {digest}
    for source in (NAME, None):
        assert not await registry.uploads.mount(OTHER, digest, source, lambda _: True)
    with pytest.raises(ManifestBlobUnknown):
        await registry.manifests.put(
            Push(NAME, Tag("v2"), content.manifest, content.media_type, [Tag("v2")], Conditions()), CALLER
        )
    await push(registry, content.layers[0].data)
    assert await registry.uploads.mount(OTHER, digest, NAME, lambda _: True)


async def test_bytes_that_are_right_after_all_come_back(registry: Registry) -> None:
    digest = await push(registry, b"the disk was away")
    path = await stored_file(registry, digest)
    path.rename(path.with_name("away"))
    assert await wrong(registry) == {digest: "missing"}
    path.with_name("away").rename(path)
    (checked,) = await check(registry, digest)
    assert (checked.wrong, checked.released) == (None, True)
    assert await pull(registry, digest) == b"the disk was away"
    assert [(action, found) for _, action, _, found in await events(registry)] == [
        ("blob.quarantine", "missing"),
        ("blob.release", ""),
    ]


async def test_what_stays_wrong_is_told_again_but_is_one_event(registry: Registry) -> None:
    digest = await push(registry, b"data")
    flip(await stored_file(registry, digest), 0)
    assert await wrong(registry) == await wrong(registry) == {digest: "corrupt"}
    assert len(await events(registry)) == 1


async def test_of_two_who_find_the_same_one_hides_it(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    digest = await push(registry, b"data")
    ((key,),) = await execute(registry, "SELECT key FROM blob")
    found = [await registry.quarantine.put(digest, str(key), Wrong("corrupt", "are bad"), ME) for _ in range(2)]
    assert (found, len(await events(registry)), len(caplog.records)) == ([True, False], 1, 1)


async def test_a_push_that_meant_to_share_the_bytes_heals_what_is_found_wrong_meanwhile(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, size_of = await push(registry, b"shared"), registry.store.size

    async def found_wrong_now(key: str) -> int:
        monkeypatch.undo()
        flip(await stored_file(registry, digest), 0)
        assert set(await wrong(registry)) == {digest}
        return await size_of(key)

    monkeypatch.setattr(registry.store, "size", found_wrong_now)
    await push(registry, b"shared")
    assert await pull(registry, digest) == b"shared"
    assert await wrong(registry) == {}


# --- races -------------------------------------------------------------------------------------------------------


async def test_bytes_that_a_push_replaces_while_they_are_hashed_are_no_finding(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P10: what was read is no longer the blob's."""
    data = os.urandom(1000)
    digest = await push(registry, data)
    flip(await stored_file(registry, digest), 5)
    open_key = registry.store.open

    async def late(key: str, *, uncached: bool = False) -> BlobReader:
        monkeypatch.undo()
        reader = await open_key(key, uncached=uncached)
        await registry.database.write(blobs.quarantine, digest, key)
        await push(registry, data)
        await registry.store.delete(key)
        return reader

    monkeypatch.setattr(registry.store, "open", late)
    assert await wrong(registry) == {}
    assert await pull(registry, digest) == data
    assert await events(registry) == []


async def test_a_blob_that_goes_while_it_is_looked_for_is_no_finding(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await push(registry, b"garbage")
    open_key = registry.store.open

    async def late(key: str, *, uncached: bool = False) -> BlobReader:
        await execute(registry, "DELETE FROM link")
        await execute(registry, "DELETE FROM blob")
        await registry.store.delete(key)
        return await open_key(key, uncached=uncached)

    monkeypatch.setattr(registry.store, "open", late)
    assert await check(registry) == []
    assert await events(registry) == []


async def test_bytes_replaced_before_they_are_recorded_keep_the_time_of_the_new_ones(
    registry: Registry, clock: Clock
) -> None:
    await push(registry, b"data")
    before = await times(registry)
    tick(registry)
    async for step in registry.scrub.verify(Wanted(), ME):
        if isinstance(step, Checked):
            await execute(registry, "UPDATE blob SET key = key || 'x'")
            clock.advance(DAY)
    assert await times(registry) == before


# --- order, resuming, pace ---------------------------------------------------------------------------------------


async def test_the_oldest_come_first_whatever_they_were_found_to_be(
    registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "BATCH", 2)
    digests = []
    for number in range(7):
        clock.advance(1)
        digests.append(await push(registry, b"%d" % number))
    flip(await stored_file(registry, digests[2]), 0)
    await registry.scrub.put_first(digests[4], CALLER)
    order = [digests[4], *digests[:4], *digests[5:]]
    assert [checked.digest for checked in await check(registry)] == order


async def test_what_was_verified_since_is_left_out(registry: Registry, clock: Clock) -> None:
    old = await push(registry, b"old")
    clock.advance(7 * DAY)
    new = await push(registry, b"new")
    assert [checked.digest for checked in await check(registry, older=7 * DAY)] == [old]
    assert await check(registry, older=7 * DAY) == []
    assert [checked.digest for checked in await check(registry, new)] == [new]


@pytest.mark.parametrize("ended_after", [1, BATCH, BATCH + 1, 2 * BATCH + 50])
async def test_it_goes_on_where_it_was_stopped(registry: Registry, clock: Clock, ended_after: int) -> None:
    everything = {await push(registry, b"%d" % number) for number in range(2 * BATCH + 50)}
    clock.advance(DAY)
    seen = []
    async with aclosing(registry.scrub.verify(Wanted(older=DAY - 1), ME)) as steps:
        async for step in steps:
            seen += [step.digest] if isinstance(step, Checked) else []
            if len(seen) == ended_after:
                break
    recorded = ended_after - ended_after % BATCH
    again = [checked.digest for checked in await check(registry, older=DAY - 1)]
    assert set(seen[recorded:]) <= set(again)
    assert sorted([*seen[:recorded], *again]) == sorted(everything)


async def test_many_small_blobs_share_a_commit(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(BATCH + 20):
        await push(registry, b"%d" % number)
    writes, write = [], registry.database.write

    async def counted(*arguments: object) -> object:
        writes.append(arguments)
        return await write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(registry.database, "write", counted)
    await check(registry)
    assert len(writes) == 2


async def test_one_repository_is_all_that_it_holds_and_nothing_else(registry: Registry) -> None:
    here = {await push(registry, b"%d" % number) for number in range(BATCH + 20)}
    shared = await push(registry, b"shared")
    await push(registry, b"shared", OTHER)
    there = await push(registry, b"there", OTHER)
    for name, held in ((NAME, {*here, shared}), (OTHER, {shared, there})):
        wanted = Wanted(repository=name)
        tick(registry)
        extent = await registry.scrub.extent(wanted)
        async with aclosing(registry.scrub.verify(wanted, ME)) as steps:
            found = [step async for step in steps if isinstance(step, Checked)]
        assert {checked.digest for checked in found} == held
        assert (extent.blobs, extent.bytes) == (len(held), sum(checked.size for checked in found))
    with pytest.raises(Missing):
        await registry.scrub.extent(Wanted(repository=RepositoryName("no/such")))


class Seconds:
    """Time that passes only while somebody sleeps, and a little with each look at the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def background(registry: Registry, seconds: Seconds, rate: int, interval: int = DAY - 1) -> Scrub:
    quarantine = Quarantine(registry.database, registry.store)

    def pace(rate: int) -> Pace:
        return Pace(rate, clock=seconds, sleep=seconds.sleep)

    return Scrub(registry.database, registry.store, quarantine, interval=interval, rate=rate, clock=seconds, pace=pace)


@pytest.mark.parametrize("sizes", [[5 * PIECE], [PIECE // 2] * 10, [50_000] * 100], ids=["large", "middle", "small"])
async def test_the_rate_is_kept_evenly(registry: Registry, clock: Clock, sizes: list[int]) -> None:
    for number, size in enumerate(sizes):
        await push(registry, number.to_bytes(size, "little"))
    clock.advance(DAY)
    seconds, rate = Seconds(), PIECE
    assert not await background(registry, seconds, rate).some(1e9)
    assert seconds.now == pytest.approx(sum(sizes) / rate, abs=0.02)
    assert max(seconds.slept) <= 1.001


async def test_time_that_is_left_over_buys_no_haste(registry: Registry) -> None:
    seconds = Seconds()
    pace = Pace(1000, clock=seconds, sleep=seconds.sleep)
    await pace.spend(1000)
    seconds.now += 3600
    await pace.spend(1000)
    assert seconds.slept == [pytest.approx(1), pytest.approx(1)]


async def test_the_background_looks_at_each_blob_once_an_interval(registry: Registry, clock: Clock) -> None:
    seconds = Seconds()
    digests = [await push(registry, b"%d" % number) for number in range(3)]
    worker = background(registry, seconds, PIECE, DAY)
    clock.advance(DAY)
    assert not await worker.some(60)
    assert set((await times(registry)).values()) == {clock.now - DAY}
    clock.advance(1)
    flip(await stored_file(registry, digests[1]), 0)
    await worker.some(60)
    assert set((await times(registry)).values()) == {clock.now}
    assert await events(registry) == [("scrub", "blob.quarantine", digests[1], "corrupt")]


async def test_a_slice_ends_in_the_middle_of_a_blob_and_the_next_goes_on_there(
    registry: Registry, clock: Clock
) -> None:
    digest = await push(registry, bytes(5 * PIECE))
    clock.advance(DAY)
    seconds = Seconds()
    worker = background(registry, seconds, PIECE)
    for number in range(1, 6):
        assert await worker.some(1)
        assert seconds.now == pytest.approx(number, abs=0.01)
    assert not await worker.some(1)
    assert seconds.now == pytest.approx(5, abs=0.01)
    assert await times(registry) == {digest: clock.now}


async def test_what_is_put_first_waits_a_second_at_most(registry: Registry, clock: Clock) -> None:
    digests = []
    for number in range(20):
        clock.advance(1)
        digests.append(await push(registry, number.to_bytes(PIECE // 2, "little")))
    clock.advance(DAY)
    seconds = Seconds()
    worker = background(registry, seconds, PIECE)
    assert await worker.some(0.1)
    await worker.put_first(digests[-1], CALLER)
    assert await worker.some(2)
    assert (await times(registry))[digests[-1]] == clock.now
    assert (await times(registry))[digests[-2]] < clock.now
    await worker.close()


async def test_a_rate_of_nothing_is_no_background(registry: Registry, clock: Clock) -> None:
    await push(registry, b"data")
    clock.advance(2 * DAY)
    before = await times(registry)
    assert not await background(registry, Seconds(), 0).some(60)
    assert await times(registry) == before


async def test_after_a_failure_the_next_slice_starts_anew(
    registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await push(registry, b"data")
    clock.advance(DAY)
    worker = background(registry, Seconds(), PIECE)

    async def broken(key: str, *, uncached: bool = False) -> BlobReader:
        raise StorageFailed("no descriptors left")

    with monkeypatch.context() as patch:
        patch.setattr(registry.store, "open", broken)
        with pytest.raises(StorageFailed):
            await worker.some(60)
    assert not await worker.some(60)
    assert set((await times(registry)).values()) == {clock.now}


async def test_it_reads_the_disk_and_not_the_cache(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    await push(registry, b"data")
    asked, open_key = [], registry.store.open

    async def noted(key: str, *, uncached: bool = False) -> BlobReader:
        asked.append(uncached)
        return await open_key(key, uncached=uncached)

    monkeypatch.setattr(registry.store, "open", noted)
    await check(registry)
    assert asked == [True]


# --- who needs it ------------------------------------------------------------------------------------------------


async def test_the_log_names_the_tags_that_need_the_blob(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """Through the manifest and through indexes, in each repository; and not tags of others."""
    platforms = index("multi")
    for one in platforms.images:
        await push_image(registry, one)
    put = Push(NAME, Tag("multi"), platforms.manifest, platforms.media_type, [Tag("multi")], Conditions())
    await registry.manifests.put(put, CALLER)
    await push_image(registry, platforms.images[0], "v1", "v2")
    await push_image(registry, platforms.images[0], "v3", name=OTHER)
    await push_image(registry, image("another"), "v4")
    digest = Digest(platforms.images[0].layers[1].digest)
    flip(await stored_file(registry, digest), 100)
    with caplog.at_level(logging.ERROR):
        (checked,) = [checked for checked in await check(registry) if checked.wrong]
    tags = ["other/app:v3", "team/app:multi", "team/app:v1", "team/app:v2"]
    assert checked.affected is not None and list(checked.affected.tags) == tags
    (line,) = [record.getMessage() for record in caplog.records]
    assert digest in line and "push it again" in line and line.endswith(", ".join(tags))


async def test_of_many_tags_some_are_named(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    content = image("popular")
    await push_image(registry, content, *(f"v{number}" for number in range(TAGS_SHOWN + 1)))
    flip(await stored_file(registry, Digest(content.layers[0].digest)), 100)
    with caplog.at_level(logging.ERROR):
        await check(registry)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.count("team/app:") == TAGS_SHOWN and line.endswith("and more")


async def test_what_a_pull_finds_lost_is_told_like_what_the_scrub_finds(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    content = image("pulled")
    await push_image(registry, content, "v1")
    digest = Digest(content.layers[0].digest)
    (await stored_file(registry, digest)).unlink()
    with caplog.at_level(logging.ERROR), pytest.raises(BlobUnknown):
        await pull(registry, digest)
    (line,) = [record.getMessage() for record in caplog.records]
    assert digest in line and "push it again" in line and line.endswith("team/app:v1")
    assert await events(registry) == [("pull", "blob.quarantine", digest, "missing")]


async def test_the_quarantine_is_listed_in_pages(registry: Registry, clock: Clock) -> None:
    content = image("listed")
    await push_image(registry, content, "v1")
    lost = sorted([Digest(content.layers[0].digest), await push(registry, b"nobody's")])
    for digest in lost:
        (await stored_file(registry, digest)).unlink()
    clock.advance(5)
    await check(registry)
    assert await registry.quarantine.count() == 2
    first = await registry.quarantine.list(PageRequest(1))
    second = await registry.quarantine.list(PageRequest(1, first.next_last or ""))
    found = [*first.entries, *second.entries]
    assert ([one.digest for one in found], second.next_last) == (lost, None)
    assert {one.found_at for one in found} == {clock.now}
    assert sorted(str(one.affected) for one in found) == ["no tag", "team/app:v1"]
    await registry.scrub.put_first(lost[0], CALLER)
    assert (await registry.quarantine.list(PageRequest(1))).entries[0].found_at is None


async def test_a_file_that_can_not_be_opened_keeps_no_other_from_being_looked_at(
    registry: Registry, clock: Clock
) -> None:
    older, younger = await push(registry, b"older"), Digest("")
    clock.advance(1)
    younger = await push(registry, b"younger")
    stored = await stored_file(registry, older)
    stored.unlink()
    stored.mkdir()
    clock.advance(31 * DAY)
    with pytest.raises(StorageFailed):
        await registry.scrub.some(60)
    flip(await stored_file(registry, younger), 3)
    assert not await registry.scrub.some(60)
    assert await registry.quarantine.count() == 1


async def test_fsck_finds_a_blob_that_the_scrub_would_never_see(registry: Registry) -> None:
    await push(registry, b"data")
    await execute(registry, "UPDATE blob SET verified_at = NULL")
    (problem,) = (await registry.fsck.run(deep=False, progress=lambda *_: None)).problems
    assert "scrub" in problem


def test_a_batch_is_what_a_transaction_may_hold() -> None:
    assert scrub.BATCH <= 100
