"""The garbage collection: what it takes, what it leaves, and in how small steps."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from registry.assembly import Registry
from registry.content import collecting
from registry.content.conditions import Conditions
from registry.content.gc import Collected
from registry.content.pushing import Push
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.problems import Missing
from tests.content.test_fsck import push_image
from tests.races import judge
from tests.support.images import OCI
from tests.support.registry import CALLER, DAY, NAME, Clock, execute, opened, pull, push

OTHER = RepositoryName("team/other")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def registry(tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    async with opened(tmp_path, clock) as made:
        yield made
        report = await made.fsck.run(deep=True, progress=lambda *_: None)
        assert report.problems == []


async def collect(registry: Registry, still: Callable[[], bool] = lambda: True) -> Collected:
    return await registry.gc.run(still)


def files(registry: Registry) -> int:
    return len(list(registry.settings.storage.filesystem.rootdirectory.glob("sha*/??/*")))


def leftovers(registry: Registry) -> list[str]:
    settings = registry.settings
    return judge.garbage(settings.database.path, settings.storage.filesystem.rootdirectory)


async def settle(registry: Registry, clock: Clock) -> None:
    """All that can go goes: leases, the trash and doomed bytes are over."""
    for _ in range(3):
        clock.advance(15 * DAY)
        await registry.uploads.expire()
        assert (await collect(registry)).complete


async def test_a_blob_without_a_manifest_stays_for_its_lease(registry: Registry, clock: Clock) -> None:
    digest = await push(registry, b"alone")
    clock.advance(DAY - 1)
    assert (await collect(registry)).links == 0
    assert await pull(registry, digest) == b"alone"
    clock.advance(2)
    collected = await collect(registry)
    assert (collected.links, collected.blobs, collected.doomed_bytes, collected.files) == (1, 1, 5, 0)


async def test_doomed_bytes_stay_as_long_as_a_database_may_be_set_back(registry: Registry, clock: Clock) -> None:
    await push(registry, b"alone")
    clock.advance(DAY + 1)
    await collect(registry)
    clock.advance(DAY)
    assert ((await collect(registry)).files, files(registry)) == (0, 1)
    clock.advance(1)
    collected = await collect(registry)
    assert (collected.files, collected.freed_bytes, files(registry)) == (1, 5, 0)
    assert await execute(registry, "SELECT * FROM doomed") == []


async def test_what_a_manifest_needs_stays_and_is_not_looked_at_again(registry: Registry, clock: Clock) -> None:
    await push_image(registry)
    clock.advance(100 * DAY)
    assert ((await collect(registry)).reviewed, files(registry)) == (2, 2)
    assert (await collect(registry)).reviewed == 0


async def test_a_lease_that_was_renewed_is_looked_at_when_it_ends(registry: Registry, clock: Clock) -> None:
    digest = await push(registry, b"asked for")
    clock.advance(DAY - 1000)
    found = await registry.blobs.stat(NAME, digest)
    await registry.content_leases.renew_blob(NAME, found)
    clock.advance(1001)
    collected = await collect(registry)
    assert (collected.reviewed, collected.links) == (1, 0)
    assert (await collect(registry)).reviewed == 0
    clock.advance(DAY)
    assert (await collect(registry)).links == 1


async def test_a_blob_that_another_repository_holds_stays(registry: Registry, clock: Clock) -> None:
    digest = await push(registry, b"shared")
    clock.advance(DAY - 1)
    assert await registry.uploads.mount(OTHER, digest, NAME, lambda _: True)
    clock.advance(2)
    collected = await collect(registry)
    assert (collected.links, collected.blobs) == (1, 0)
    assert await pull(registry, digest, OTHER) == b"shared"


async def test_a_deleted_image_stays_as_long_as_it_can_be_restored(registry: Registry, clock: Clock) -> None:
    digest = await push_image(registry)
    await registry.manifests.delete(NAME, digest, Conditions(), CALLER)
    clock.advance(14 * DAY)
    collected = await collect(registry)
    assert (collected.expired, collected.links) == (0, 0)
    clock.advance(1)
    collected = await collect(registry)
    assert (collected.expired, collected.links, collected.blobs) == (2, 2, 2)  # it, and its tag
    with pytest.raises(Missing):
        await registry.trash.restore(1, CALLER)
    assert await execute(registry, "SELECT * FROM trash") == []


async def test_a_deleted_repository_goes_with_all_its_rows(registry: Registry, clock: Clock) -> None:
    await push_image(registry)
    await registry.repositories.delete(NAME, CALLER)
    await push(registry, b"a newer repository", OTHER)
    await settle(registry, clock)
    assert files(registry) == 0
    for table in ("manifest", "ref", "tag", "link", "blob", "trash", "upload", "doomed"):
        assert await execute(registry, f"SELECT * FROM {table}") == []
    assert await execute(registry, "SELECT name FROM repository") == [(OTHER,)]


async def test_an_index_goes_before_what_it_names(registry: Registry, clock: Clock) -> None:
    """Also when a clock that was set made it the other way round in the trash."""
    child = await push_image(registry)
    index = await push_index(registry, child)
    await registry.manifests.delete(NAME, index, Conditions(), CALLER)
    await registry.manifests.delete(NAME, child, Conditions(), CALLER)
    await execute(registry, "UPDATE trash SET deleted_at = 1 WHERE digest = ?", child)
    await settle(registry, clock)
    assert (files(registry), await execute(registry, "SELECT * FROM manifest")) == (0, [])


async def push_index(registry: Registry, child: Digest) -> Digest:
    ((size,),) = await execute(registry, "SELECT size FROM manifest WHERE digest = ?", child)
    descriptor = {"mediaType": OCI.manifest, "digest": child, "size": size}
    payload = json.dumps({"schemaVersion": 2, "mediaType": OCI.index, "manifests": [descriptor]}).encode()
    push = Push(NAME, Tag("index"), payload, OCI.index, [Tag("index")], Conditions())
    return (await registry.manifests.put(push, CALLER)).digest


async def test_a_plan_says_what_the_run_then_does(registry: Registry, clock: Clock) -> None:
    digest = await push_image(registry)
    await push(registry, b"alone")
    await registry.manifests.delete(NAME, digest, Conditions(), CALLER)
    for _ in range(3):
        clock.advance(8 * DAY)
        before = files(registry), await execute(registry, "SELECT * FROM link ORDER BY digest")
        planned = await registry.gc.plan()
        assert (files(registry), await execute(registry, "SELECT * FROM link ORDER BY digest")) == before
        assert planned == await collect(registry)
    assert not list((registry.settings.database.path.parent / "snapshots").iterdir())


async def test_it_stops_between_any_two_steps_and_goes_on(
    registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("MOST_ROWS", "MOST_KEYS"):
        monkeypatch.setattr(collecting, limit, 1)
    for number in range(5):
        await push(registry, b"%d" % number)
    await registry.manifests.delete(NAME, await push_image(registry), Conditions(), CALLER)
    runs = 0
    for _ in range(3):
        clock.advance(15 * DAY)
        while not (await collect(registry, lambda: False)).complete:
            runs += 1
    assert runs > 10
    await registry.uploads.expire()
    assert (files(registry), leftovers(registry)) == (0, [])


async def test_a_file_that_can_not_be_removed_keeps_no_other(registry: Registry, clock: Clock) -> None:
    digests = [await push(registry, b"%d" % number) for number in range(3)]
    ((key,),) = await execute(registry, "SELECT key FROM blob WHERE digest = ?", digests[1])
    stuck = registry.settings.storage.filesystem.rootdirectory / key
    stuck.unlink()
    stuck.mkdir()
    clock.advance(DAY + 1)
    await collect(registry)
    clock.advance(DAY + 1)
    assert (await collect(registry)).files == 2
    assert await execute(registry, "SELECT key FROM doomed") == [(key,)]
    stuck.rmdir()
    assert (await collect(registry)).files == 1


async def test_bytes_that_no_row_knows_go_when_they_are_old(registry: Registry, clock: Clock) -> None:
    await push_image(registry)
    root = registry.settings.storage.filesystem.rootdirectory
    stray = root / "sha256" / "ab" / f"{'ab' * 32}.{'0' * 32}"
    stray.write_bytes(b"stray")
    clock.now = int(stray.stat().st_mtime * 1000) + 2 * DAY - 1000
    assert (await registry.gc.sweep(lambda: True)).orphans == 0
    clock.advance(2000)
    assert (await registry.gc.sweep(lambda: True)).orphans == 1
    clock.advance(DAY + 1)
    assert (await collect(registry)).files == 1
    assert not stray.exists()


async def test_the_bytes_of_an_upload_are_no_orphans(registry: Registry, clock: Clock) -> None:
    """Published, and its row not yet written."""
    digest = await push(registry, b"just published")
    await execute(registry, "DELETE FROM link")
    await execute(registry, "DELETE FROM blob WHERE digest = ?", digest)
    clock.now = int(next(registry.settings.storage.filesystem.rootdirectory.glob("sha*/??/*")).stat().st_mtime * 1000)
    clock.advance(3 * DAY)
    assert (await registry.gc.sweep(lambda: True)).orphans == 0


@pytest.mark.parametrize("what", ["tag", "manifest", "lease", "trash", "doomed", "nothing"])
async def test_explain_names_what_keeps_a_digest(registry: Registry, clock: Clock, what: str) -> None:
    image = await push_image(registry)
    ((layer,),) = await execute(registry, "SELECT digest FROM blob WHERE size > 2")
    alone = await push(registry, b"alone")
    if what in ("trash", "doomed", "nothing"):
        await registry.manifests.delete(NAME, image, Conditions(), CALLER)
        clock.advance(DAY + 1)
    if what == "doomed":
        await collect(registry)
    told = {
        "tag": (image, f"tag {NAME}:latest points to it"),
        "manifest": (Digest(layer), f"manifest {NAME}@{image} needs it"),
        "lease": (alone, f"lease: {NAME} keeps it at least until 2023-11-15T22:13:20.000Z"),
        "trash": (image, f"trash: it can be restored in {NAME} until 2023-11-28T22:13:20.000Z"),
        "doomed": (alone, "doomed (unused): its bytes at "),
        "nothing": (alone, "nothing: the next run takes it"),
    }
    digest, expected = told[what]
    assert any(reason.startswith(expected) for reason in await registry.gc.explain(digest))


async def test_explain_says_nothing_of_what_never_was(registry: Registry) -> None:
    assert await registry.gc.explain(Digest.of(b"never pushed")) == []


async def test_what_waits_and_how_late_it_is(registry: Registry, clock: Clock) -> None:
    await push(registry, b"alone")
    image = await push_image(registry)
    await registry.manifests.delete(NAME, image, Conditions(), CALLER)
    assert (await registry.gc.waiting())[:4] == (0, 0, 0, 0)
    clock.advance(DAY + 5000)
    waiting = await registry.gc.waiting()
    assert (waiting.links, waiting.late) == (3, 5000)
    await collect(registry)
    assert (await registry.gc.waiting()).late == 0
    clock.advance(DAY + 7000)
    waiting = await registry.gc.waiting()
    assert (waiting.keys, waiting.bytes, waiting.late) == (1, 5, 7000)


async def test_a_tag_in_the_trash_does_not_keep_its_manifest(registry: Registry, clock: Clock) -> None:
    """It goes with it."""
    image = await push_image(registry)
    await registry.manifests.delete(NAME, Tag("latest"), Conditions(), CALLER)
    clock.advance(DAY)
    await registry.manifests.delete(NAME, image, Conditions(), CALLER)
    entry = await registry.trash.get(2)
    await registry.trash.purge(entry.id, CALLER)
    assert await execute(registry, "SELECT * FROM trash") == []
    await settle(registry, clock)
    assert files(registry) == 0
