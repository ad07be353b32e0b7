"""The end of an upload belongs to whoever holds its lease (design P6)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.content.intake import Body
from registry.content.leases import LEASE
from registry.domain.errors import BlobUnknown, BlobUploadUnknown
from registry.domain.names import Digest
from tests.support.registry import Clock, body, opened, pull, start


async def test_a_put_that_outlived_its_lease_ends_nothing(tmp_path: Path) -> None:
    clock, reached, go_on = Clock(), asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"of the "
        reached.set()
        await go_on.wait()
        yield b"sleeper"

    async with opened(tmp_path, clock) as sleeping, opened(tmp_path, clock) as other:
        key = await start(sleeping)
        stale, fresh = Digest.of(b"of the sleeper"), Digest.of(b"of the other")
        late = asyncio.create_task(sleeping.uploads.finish(key, stale, Body(slow())))
        await reached.wait()
        clock.advance(LEASE + 1)
        await other.uploads.append(key, body(b"of the ", start=0))
        go_on.set()
        with pytest.raises(BlobUploadUnknown):
            await late
        with pytest.raises(BlobUnknown):
            await pull(other, stale)
        await other.uploads.finish(key, fresh, body(b"other", start=7))
        assert await pull(sleeping, fresh) == b"of the other"
