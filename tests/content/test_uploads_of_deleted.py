"""Uploads to a repository that is deleted meanwhile: they neither grow nor finish, and expire soon."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection

from registry.assembly import Registry
from registry.content.deleting import delete_repository
from registry.content.intake import Body
from registry.content.leases import LEASE
from registry.domain.errors import BlobUploadUnknown
from registry.domain.names import Digest, RepositoryName
from registry.domain.uploads import UploadKey
from registry.metadata import uploads
from storage.backend import Staged
from tests.support.registry import CALLER, DAY, NAME, Clock, body, execute, opened, pull, push, start

OTHER = RepositoryName("team/other")
WHOLE = Digest.of(b"first second")


@dataclass
class Site:
    registry: Registry
    clock: Clock
    folder: Path

    async def delete(self) -> None:
        await self.registry.database.write(delete_repository, NAME, CALLER, self.registry.policy.decide)

    async def nothing_is_left(self) -> bool:
        """No upload, no blob, and no staged bytes."""
        rows = await execute(self.registry, "SELECT id FROM upload UNION ALL SELECT digest FROM blob")
        return rows == [] and list((self.folder / "blobs" / "staging").iterdir()) == []


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = Clock()
    async with opened(tmp_path, clock) as registry:
        yield Site(registry, clock, tmp_path)


class Stalled:
    """A body whose second half waits."""

    def __init__(self) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self.body = Body(self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield b"first "
        self.reached.set()
        await self.go_on.wait()
        yield b"second"


async def test_an_upload_ends_with_its_repository(site: Site) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(b"first "))
    await site.delete()
    for answer in (
        site.registry.uploads.status(key),
        site.registry.uploads.append(key, body(b"second")),
        site.registry.uploads.finish(key, WHOLE, body(b"second")),
        site.registry.uploads.cancel(key),
    ):
        with pytest.raises(BlobUploadUnknown):
            await answer
    assert await site.registry.uploads.expire() == 1
    assert await site.nothing_is_left()


async def test_a_chunk_that_comes_while_the_repository_is_deleted_is_in_vain(site: Site) -> None:
    key, stalled = await start(site.registry), Stalled()
    coming = asyncio.create_task(site.registry.uploads.append(key, stalled.body))
    await stalled.reached.wait()
    await site.delete()
    stalled.go_on.set()
    with pytest.raises(BlobUploadUnknown):
        await coming
    assert await site.registry.uploads.expire() == 0, "somebody might write to it yet"
    site.clock.advance(LEASE + 1)
    assert await site.registry.uploads.expire() == 1
    assert await site.nothing_is_left()


async def test_a_blob_that_comes_while_the_repository_is_deleted_leaves_only_doomed_bytes(site: Site) -> None:
    key, stalled = await start(site.registry), Stalled()
    coming = asyncio.create_task(site.registry.uploads.finish(key, WHOLE, stalled.body))
    await stalled.reached.wait()
    await site.delete()
    stalled.go_on.set()
    with pytest.raises(BlobUploadUnknown):
        await coming
    root = site.folder / "blobs"
    objects = [(str(path.relative_to(root)),) for path in root.glob("sha256/*/*")]
    assert await execute(site.registry, "SELECT key FROM doomed") == objects
    assert await site.nothing_is_left()


async def test_a_new_repository_of_the_name_has_nothing_to_do_with_it(site: Site) -> None:
    key = await start(site.registry)
    await site.delete()
    await push(site.registry, b"makes a new one")
    with pytest.raises(BlobUploadUnknown):
        await site.registry.uploads.finish(key, WHOLE, body(b"first second"))


async def test_the_end_of_an_upload_is_not_told_again(site: Site) -> None:
    key = await start(site.registry)
    await site.registry.uploads.finish(key, WHOLE, body(b"first second"))
    row = await site.registry.uploads._leases.take(key, None)
    await site.delete()
    with pytest.raises(BlobUploadUnknown):
        await site.registry.uploads._repeat(row, WHOLE)
    with pytest.raises(BlobUploadUnknown):
        await site.registry.uploads.finish(key, WHOLE, body())


async def test_uploads_to_other_repositories_go_on(site: Site) -> None:
    await start(site.registry)
    state = await site.registry.uploads.start(OTHER, CALLER, "sha256")
    key = UploadKey(state.id, OTHER, CALLER.identity.name)
    await site.delete()
    assert await site.registry.uploads.expire() == 1
    await site.registry.uploads.finish(key, WHOLE, body(b"first second"))
    assert await pull(site.registry, WHOLE, OTHER) == b"first second"


Write = Callable[[Connection, int, Staged], bool]
WRITES: dict[str, Write] = {
    "checkpoint": lambda connection, version, staged: uploads.checkpoint(connection, version, staged, LEASE, DAY),
    "release": lambda connection, version, staged: uploads.release(connection, version, staged, None, DAY),
    "roll_back": lambda connection, version, staged: uploads.roll_back(connection, version, staged, None, DAY),
    "finish": lambda connection, version, staged: uploads.finish(connection, staged.upload_id, version, WHOLE, DAY),
}


@pytest.mark.parametrize("write", WRITES)
async def test_nothing_prolongs_it(site: Site, write: str) -> None:
    key = await start(site.registry)
    row = await site.registry.uploads._leases.take(key, None)
    await site.delete()
    before = await execute(site.registry, "SELECT * FROM upload")
    assert not await site.registry.database.write(WRITES[write], row.version, row.staged)
    assert await execute(site.registry, "SELECT * FROM upload") == before
    assert await execute(site.registry, "SELECT expires_at FROM upload") == [(0,)]


@pytest.mark.parametrize("back", [False, True], ids=["renamed", "deleted and back under another name"])
async def test_a_body_on_its_way_does_not_land_under_another_name(site: Site, back: bool) -> None:
    """Nobody asked whether its owner may push there."""
    registry, stalled = site.registry, Stalled()
    key = await start(registry)
    arriving = asyncio.create_task(registry.uploads.append(key, stalled.body))
    await stalled.reached.wait()
    if back:
        entry = await registry.repositories.delete(NAME, CALLER)
        await registry.trash.restore(entry.id, CALLER, OTHER)
    else:
        await registry.repositories.rename(NAME, OTHER, CALLER)
    stalled.go_on.set()
    with pytest.raises(BlobUploadUnknown):
        await arriving
    for name in (NAME, OTHER):
        with pytest.raises(BlobUploadUnknown):
            await registry.uploads.finish(UploadKey(key.id, name, key.identity), WHOLE, body())
    site.clock.advance(LEASE + 1)
    await registry.uploads.expire()
    assert await site.nothing_is_left()
