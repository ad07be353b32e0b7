"""Promise I2: what a pusher was told to be here stays for a while; what a HEAD does to its lease (design P9)."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.assembly import Registry
from registry.content import content_leases
from registry.content.conditions import Conditions
from registry.content.deleting import delete_repository
from registry.content.pushing import Push
from registry.domain.errors import BlobUnknown, ManifestUnknown
from registry.domain.names import Digest, Reference, Tag
from registry.metadata import content_leases as leases
from registry.metadata.content_leases import Held
from tests.support.faults import Fault, faulty_sqlite
from tests.support.images import OCI
from tests.support.registry import CALLER, DAY, NAME, Clock, body, execute, opened, push, start
from tests.support.routes import IMAGE, LOOSE, NEWER, TAG, stock

BLOB, MANIFEST = Digest(LOOSE.digest), Digest(IMAGE.digest)
# What a HEAD names, and the row that has its lease
NOUNS: dict[str, Reference | None] = {"blob": None, "tag": Tag(TAG), "digest": MANIFEST}
GARBAGE = "DELETE FROM link WHERE keep_until <= digestry_now() AND digest NOT IN (SELECT digest FROM ref)"


async def head(registry: Registry, noun: str) -> None:
    """As the API answers a HEAD of whoever may push."""
    reference = NOUNS[noun]
    if reference is None:
        blob = await registry.blobs.stat(NAME, BLOB)
        if registry.content_leases.is_due(blob.left):
            await registry.content_leases.renew_blob(NAME, blob)
    else:
        manifest = await registry.manifests.head(NAME, reference)
        if registry.content_leases.is_due(manifest.left):
            await registry.content_leases.renew_manifest(NAME, reference, manifest)


async def kept_until(registry: Registry, noun: str) -> int:
    table, digest = ("link", BLOB) if noun == "blob" else ("manifest", MANIFEST)
    statement = f"SELECT keep_until FROM {table} JOIN repository ON id = repository_id WHERE name = ? AND digest = ?"
    ((until,),) = await execute(registry, statement, NAME, digest)
    return int(until)


@dataclass
class Site:
    registry: Registry
    clock: Clock
    folder: Path

    def leave(self, percent: int) -> None:
        """Let time pass until so much of the lease is left that everything has got."""
        self.clock.advance(DAY * (100 - percent) // 100)

    async def left(self, noun: str) -> int:
        """In percent."""
        return (await kept_until(self.registry, noun) - self.clock.now) * 100 // DAY


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = Clock()
    async with opened(tmp_path, clock) as registry:
        await stock(registry, NAME)
        yield Site(registry, clock, tmp_path)


# --- how much is left ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize(
    ("left", "at_once", "in_the_end"),
    [
        (100, 100, 100),
        (60, 60, 60),
        (50, 50, 50),
        (49, 49, 100),
        (30, 30, 100),
        (25, 25, 100),
        (24, 100, 100),
        (1, 100, 100),
        (0, 100, 100),
        (-200, 100, 100),
    ],
)
async def test_a_head_renews_by_what_is_left(site: Site, noun: str, left: int, at_once: int, in_the_end: int) -> None:
    site.leave(left)
    await head(site.registry, noun)
    assert await site.left(noun) == at_once
    await site.registry.content_leases.close()
    assert await site.left(noun) == in_the_end


@pytest.mark.parametrize("noun", NOUNS)
async def test_a_head_renews_only_what_it_names(site: Site, noun: str) -> None:
    await stock(site.registry, "team/other")
    before = await leases_of_all(site.registry)
    site.leave(10)
    await head(site.registry, noun)
    changed = before ^ await leases_of_all(site.registry)
    assert {row[:2] for row in changed} == {(NAME, BLOB if noun == "blob" else MANIFEST)}


async def leases_of_all(registry: Registry) -> set[tuple[object, ...]]:
    union = "SELECT name, digest, keep_until FROM {0} JOIN repository ON id = repository_id"
    return set(await execute(registry, f"{union.format('link')} UNION ALL {union.format('manifest')}"))


@pytest.mark.parametrize("kind", ["blob", "manifest"])
async def test_a_renewal_never_shortens(site: Site, kind: leases.Kind) -> None:
    held = [Held(kind, NAME, BLOB if kind == "blob" else MANIFEST)]
    await site.registry.database.write(leases.renew, held, DAY // 2)
    assert await site.left(kind) == 100
    site.clock.advance(-DAY)
    await site.registry.database.write(leases.renew, held, DAY)
    assert await site.left(kind) == 200


# --- what else renews (P9, P16) ------------------------------------------------------------------------------------


async def test_pushes_and_mounts_renew(site: Site) -> None:
    for again in (
        lambda: push(site.registry, LOOSE.data),
        lambda: site.registry.uploads.mount(NAME, BLOB, NAME, lambda _: True),
    ):
        site.leave(10)
        await again()
        assert await site.left("blob") == 100


async def test_a_repeated_end_of_an_upload_renews(site: Site) -> None:
    key = await start(site.registry)
    await site.registry.uploads.finish(key, BLOB, body(LOOSE.data))
    site.leave(10)
    await site.registry.uploads.finish(key, BLOB, body())
    assert await site.left("blob") == 100


async def test_a_deleted_manifest_gives_its_blobs_a_fresh_lease(site: Site) -> None:
    site.leave(-200)
    await site.registry.manifests.delete(NAME, MANIFEST, Conditions(None, None), CALLER)
    for part in IMAGE.blobs:
        lease = "SELECT keep_until FROM link JOIN repository ON id = repository_id WHERE name = ? AND digest = ?"
        assert await execute(site.registry, lease, NAME, part.digest) == [(site.clock.now + DAY,)]
    assert await site.left("blob") == -200


# --- in the background ---------------------------------------------------------------------------------------------


class Counting:
    """No faults: only counts the transactions."""

    def __init__(self) -> None:
        self.commits = 0

    def fault_at(self, call: str, possible: Collection[Fault]) -> None:
        self.commits += call == "COMMIT"


async def test_many_renewals_share_transactions_of_a_hundred(tmp_path: Path) -> None:
    clock, counting = Clock(), Counting()
    with faulty_sqlite(counting):
        async with opened(tmp_path, clock) as registry:
            digests = [await push(registry, str(number).encode()) for number in range(230)]
            clock.advance(DAY * 7 // 10)
            before = counting.commits
            for digest in [*digests, *digests]:
                await registry.content_leases.renew_blob(NAME, await registry.blobs.stat(NAME, digest))
            await registry.content_leases.close()
            assert counting.commits - before == 3
            assert await execute(registry, "SELECT DISTINCT keep_until FROM link") == [(clock.now + DAY,)]


async def test_what_is_too_much_is_left_to_the_next_head(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_leases, "WAITING_LIMIT", 1)
    site.leave(30)
    await head(site.registry, "blob")
    await head(site.registry, "digest")
    await site.registry.content_leases.close()
    assert (await site.left("blob"), await site.left("digest")) == (100, 30)
    await head(site.registry, "digest")
    await site.registry.content_leases.close()
    assert await site.left("digest") == 100


@pytest.mark.parametrize("noun", NOUNS)
async def test_what_waits_is_written_before_the_registry_closes(tmp_path: Path, noun: str) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as registry:
        await stock(registry, NAME)
        clock.advance(DAY * 7 // 10)
        await head(registry, noun)
    async with opened(tmp_path, clock) as registry:
        assert await kept_until(registry, noun) == clock.now + DAY


@pytest.mark.parametrize("gone", ["blob", "manifest", "repository"])
async def test_what_is_deleted_while_it_waits_is_not_renewed(site: Site, gone: str) -> None:
    noun = "blob" if gone == "blob" else "digest"
    site.leave(30)
    await head(site.registry, noun)
    if gone == "blob":
        await site.registry.blobs.delete(NAME, BLOB, CALLER)
    elif gone == "manifest":
        await site.registry.manifests.delete(NAME, MANIFEST, Conditions(None, None), CALLER)
    else:
        await site.registry.database.write(delete_repository, NAME, CALLER, site.registry.policy.decide)
    await site.registry.content_leases.close()
    assert await site.left(noun) == 30


# --- a database that can't be written ------------------------------------------------------------------------------


class Unwritable:
    """Each transaction that would write fails, as long as there is a fault."""

    def __init__(self) -> None:
        self.fault: Fault | None = None

    def fault_at(self, call: str, possible: Collection[Fault]) -> Fault | None:
        return self.fault if call in ("BEGIN IMMEDIATE", "COMMIT") and self.fault in possible else None


@pytest.mark.parametrize("left", [30, 10])
@pytest.mark.parametrize("noun", ["blob", "tag"])
@pytest.mark.parametrize("fault", [Fault.FULL, Fault.BUSY, Fault.ERROR, Fault.SYNC])
async def test_a_database_that_cannot_be_written_fails_no_head(
    tmp_path: Path, fault: Fault, noun: str, left: int
) -> None:
    """With the last two nothing is written until a restart (P11)."""
    clock, schedule = Clock(), Unwritable()
    with faulty_sqlite(schedule):
        async with opened(tmp_path, clock) as registry:
            await stock(registry, NAME)
            until = await kept_until(registry, noun)
            clock.advance(DAY * (100 - left) // 100)
            schedule.fault = fault
            for _ in range(2):
                await head(registry, noun)
                await registry.content_leases.close()
            schedule.fault = None
            if fault in (Fault.ERROR, Fault.SYNC):
                await head(registry, noun)
        async with opened(tmp_path, clock) as registry:
            assert await kept_until(registry, noun) == until
            await head(registry, noun)
            await registry.content_leases.close()
            assert await kept_until(registry, noun) == clock.now + DAY


# --- the garbage collection in another process ---------------------------------------------------------------------


@pytest.fixture
async def other(site: Site) -> AsyncIterator[Registry]:
    async with opened(site.folder, site.clock) as other:
        yield other


async def test_a_blob_whose_lease_was_over_stays_when_the_head_was_first(site: Site, other: Registry) -> None:
    site.leave(-1)
    await head(site.registry, "blob")
    await other.gc.run(lambda: True)
    assert (await other.blobs.stat(NAME, BLOB)).left == DAY


async def test_a_blob_that_went_while_a_head_looked_at_it_is_unknown(site: Site, other: Registry) -> None:
    site.leave(-1)
    found = await site.registry.blobs.stat(NAME, BLOB)
    await other.gc.run(lambda: True)
    with pytest.raises(BlobUnknown):
        await site.registry.content_leases.renew_blob(NAME, found)


@pytest.mark.parametrize("noun", ["tag", "digest"])
async def test_a_manifest_that_went_while_a_head_looked_at_it_is_unknown(
    site: Site, other: Registry, noun: str
) -> None:
    site.leave(-1)
    reference = NOUNS[noun]
    assert reference is not None
    found = await site.registry.manifests.head(NAME, reference)
    await other.manifests.delete(NAME, MANIFEST, Conditions(None, None), CALLER)
    with pytest.raises(ManifestUnknown):
        await site.registry.content_leases.renew_manifest(NAME, reference, found)
    assert await site.left(noun) == -1


async def test_a_tag_that_moved_while_a_head_looked_at_it_is_told_as_it_is_now(site: Site, other: Registry) -> None:
    site.leave(-1)
    found = await site.registry.manifests.head(NAME, Tag(TAG))
    moved = Push(NAME, Tag(TAG), NEWER, OCI.manifest, [Tag(TAG)], Conditions(None, None))
    newer = await other.manifests.put(moved, CALLER)
    renewed = await site.registry.content_leases.renew_manifest(NAME, Tag(TAG), found)
    assert renewed.digest == newer.digest
    assert await site.left("digest") == -1


async def test_heads_and_garbage_collection_agree_on_each_blob(site: Site, other: Registry) -> None:
    digests = [await push(site.registry, str(number).encode()) for number in range(60)]
    site.leave(-1)

    async def head_of(digest: Digest) -> bool:
        try:
            found = await site.registry.blobs.stat(NAME, digest)
            await site.registry.content_leases.renew_blob(NAME, found)
        except BlobUnknown:
            return False
        return True

    async def collect(digest: Digest) -> None:
        await execute(other, f"{GARBAGE} AND digest = ?", digest)

    work = [asyncio.gather(head_of(digest), collect(digest)) for digest in digests]
    told = {digest: answers[0] for digest, answers in zip(digests, await asyncio.gather(*work), strict=True)}
    stands = {row[0] for row in await execute(other, "SELECT digest FROM link")}
    assert {digest for digest, is_here in told.items() if is_here} == stands & set(digests)
