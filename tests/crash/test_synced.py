"""All that an acknowledgement rests on was synced, names included, whatever a file system carries along."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from registry.assembly import Registry
from registry.content import intake
from registry.content.intake import Body
from registry.content.leases import LEASE
from registry.domain.errors import BlobUploadUnknown, SizeInvalid
from registry.domain.names import Digest
from tests.support.registry import Clock, body, opened, push, start
from tests.support.strict_disk import StrictDisk

DATA = bytes(range(256)) * 1000


async def whole(registry: Registry, clock: Clock) -> None:
    await push(registry, DATA)


async def empty(registry: Registry, clock: Clock) -> None:
    """A PUT right after the POST: nobody opened the segment."""
    await registry.uploads.finish(await start(registry), Digest.of(b""), body())


async def patched(registry: Registry, clock: Clock) -> None:
    await registry.uploads.append(await start(registry), body(DATA))


async def finished(registry: Registry, clock: Clock) -> None:
    key = await start(registry)
    await registry.uploads.append(key, body(DATA))
    await registry.uploads.finish(key, Digest.of(DATA), body())


async def joined(registry: Registry, clock: Clock) -> None:
    """A writer whose lease ran out leaves a segment, so the blob is made of two."""
    key = await start(registry)
    await registry.uploads.append(key, body(DATA[:1000]))

    async def stalled() -> AsyncIterator[bytes]:
        yield DATA[1000:2000]
        clock.advance(LEASE + 1)
        await registry.uploads.append(key, body(DATA[1000:], start=1000))

    with pytest.raises(BlobUploadUnknown):
        await registry.uploads.append(key, Body(stalled()))
    await registry.uploads.finish(key, Digest.of(DATA), body())


async def set_back(registry: Registry, clock: Clock) -> None:
    """A body that fell short has left bytes, which are cut off when the blob is made."""
    key = await start(registry)
    await registry.uploads.append(key, body(DATA))
    with pytest.raises(SizeInvalid):
        await registry.uploads.append(key, body(DATA, DATA, DATA, length=len(DATA) * 4))
    await registry.uploads.finish(key, Digest.of(DATA), body())


@pytest.mark.parametrize("act", [whole, empty, patched, finished, joined, set_back])
async def test_what_was_acknowledged_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Registry, Clock], Awaitable[None]]
) -> None:
    monkeypatch.setattr(intake, "LARGEST_PIECE", 1)  # pieces as small as they get
    disk, clock = StrictDisk(), Clock()
    folder = tmp_path / "new" / "folder"
    blobs = folder / "blobs"
    with disk.watching():
        async with opened(folder, clock) as registry:
            assert disk.unsynced(folder.parent, folder, blobs, *blobs.rglob("*")) == []
            await act(registry, clock)
            assert disk.unsynced(*blobs.rglob("*")) == []


def test_the_disk_notices_what_was_not_synced(tmp_path: Path) -> None:
    disk = StrictDisk()
    with disk.watching():
        (tmp_path / "made").mkdir()
        assert disk.unsynced(tmp_path / "made") == [f"the name {tmp_path / 'made'}"]
