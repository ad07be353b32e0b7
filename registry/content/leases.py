"""The lease of an upload: one writer at a time, whatever workers and clients do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import Connection

from registry.domain.errors import BlobUploadUnknown, UploadOutOfOrder
from registry.domain.uploads import UploadKey
from registry.metadata import uploads
from registry.metadata.database import Database
from registry.metadata.uploads import UploadRow
from storage.crashpoints import crash_point

LEASE = 30_000
RENEW_SECONDS = 10.0
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.05


class Leases:
    """Takes and renews leases in the name of one serving process."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self.owner = owner

    async def take(self, key: UploadKey, start: int | None) -> UploadRow:
        """Lease the upload, waiting a little for another writer; a finished one comes back as it is.

        Raises BlobUploadUnknown, or UploadOutOfOrder when the upload does not end at `start`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_SECONDS
        while True:
            row = await self._database.write(_take, key, start, self.owner)
            if row is not None:
                crash_point("upload.leased")
                return row
            if loop.time() > deadline:
                busy = await self._database.read(uploads.find, key)
                raise UploadOutOfOrder(
                    busy.offset if busy else 0, "another request is writing to this upload; ask for its status"
                )
            await asyncio.sleep(POLL_SECONDS)

    @asynccontextmanager
    async def kept(self, row: UploadRow) -> AsyncIterator[None]:
        """Renew the lease while the block works on bytes that have all arrived."""
        renewing = asyncio.create_task(self._renew(row))
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    async def _renew(self, row: UploadRow) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._database.write(uploads.renew, row.id, row.version, LEASE)


def _take(connection: Connection, key: UploadKey, start: int | None, owner: str) -> UploadRow | None:
    """None while another holds the lease."""
    row = uploads.find(connection, key)
    if row is None:
        raise BlobUploadUnknown()
    if row.finished is not None:
        return row
    if row.leased:
        return None
    if start is not None and start != row.offset:
        raise UploadOutOfOrder(row.offset)
    return uploads.lease(connection, row, owner, LEASE)
