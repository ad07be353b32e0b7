"""Bytes of one request onto an upload, under its lease; whatever goes wrong, the recorded offset is true."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from registry import metrics
from registry.content.hashes import LiveHashes
from registry.content.intake import Body, ByteBudget, Checkpoint, Intake
from registry.content.leases import LEASE
from registry.content.translate import is_broken, storage_errors
from registry.domain.errors import BlobUploadUnknown, BodyCutOff, Denied, RegistryError, Unauthorized
from registry.domain.names import Hasher
from registry.metadata import uploads
from registry.metadata.database import Database
from registry.metadata.uploads import UploadRow
from storage.backend import BlobStore, Staged
from storage.crashpoints import crash_point
from storage.errors import StorageFull

log = logging.getLogger(__name__)

HASH_THREADS = 4


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes that came in under a lease that is still held, and their hash if it was live all along."""

    row: UploadRow
    staged: Staged
    hasher: Hasher | None


class Receiver:
    """Moves bodies into staging. `expiry` in milliseconds, `memory` in bytes for all bodies together."""

    def __init__(self, database: Database, store: BlobStore, expiry: int, memory: int) -> None:
        self._database = database
        self._store = store
        self._expiry = expiry
        self._hashes = LiveHashes()
        self._budget = ByteBudget(memory)
        self._threads = ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="hash")

    def hasher(self, row: UploadRow, algorithm: str) -> Hasher | None:
        """A hash of exactly the bytes before this lease, if there is one."""
        live = self._hashes.take(row.id, row.version - 1, row.offset)
        if live is not None and live.algorithm == algorithm:
            return live
        return Hasher(algorithm) if row.offset == 0 else None

    async def take(self, row: UploadRow, body: Body, hasher: Hasher | None) -> Taken:
        """Receive the body whole; the lease stays held.

        Raises BodyCutOff (what came is kept), SizeInvalid or RequestInvalid (the upload is where it was before),
        BlobUploadUnknown when the lease was lost, Unavailable when the store or the database refuse, and whatever
        ends the body: Unauthorized and Denied end the upload too.
        """
        durable = row.staged

        async def checkpoint(staged: Staged) -> None:
            nonlocal durable
            if not await self._database.write(uploads.checkpoint, row.version, staged, LEASE, self._expiry):
                raise BlobUploadUnknown()
            crash_point("upload.checkpointed")
            durable = staged

        try:
            with storage_errors():
                return await self._receive(row, body, hasher, checkpoint)
        except BodyCutOff:
            raise
        except RegistryError as error:
            if is_broken(error) or isinstance(error, Unauthorized | Denied):  # the right to push ended meanwhile
                await self.abandon(row)
            else:
                full = isinstance(error.__cause__, StorageFull)
                await self._roll_back(row, durable if full else row.staged)
            raise

    async def release(self, taken: Taken) -> None:
        """Give the lease back at the offset that was reached; raise BlobUploadUnknown when it was lost."""
        row, staged, hasher = taken.row, taken.staged, taken.hasher
        candidate = hasher.digest() if hasher else None
        if staged == row.staged and candidate is None:
            candidate = row.candidate
        if not await self._database.write(uploads.release, row.version, staged, candidate, self._expiry):
            raise BlobUploadUnknown()
        crash_point("upload.released")
        if hasher is not None:
            self._hashes.keep(row.id, row.version, staged.size, hasher)

    async def abandon(self, row: UploadRow, event: metrics.UploadEvent = "failed") -> None:
        """End an upload, also under a running writer, which then finds its lease lost."""
        self._hashes.forget(row.id)
        if await self._database.write(uploads.remove, row.id):
            metrics.upload(event)
        with storage_errors():
            await self._store.discard(row.staged)

    def forget(self, upload_id: str) -> None:
        self._hashes.forget(upload_id)

    async def close(self) -> None:
        self._threads.shutdown()

    async def _receive(self, row: UploadRow, body: Body, hasher: Hasher | None, checkpoint: Checkpoint) -> Taken:
        writer = await self._store.stage(row.staged, body.length or 0)
        try:
            try:
                await Intake(writer, hasher, self._threads, checkpoint).take(body, self._budget)
            except BodyCutOff:
                await self.release(Taken(row, await writer.sync(), hasher))
                raise
            return Taken(row, await writer.sync(), hasher)
        finally:
            await writer.close()

    async def _roll_back(self, row: UploadRow, staged: Staged) -> None:
        candidate = row.candidate if staged == row.staged else None
        await self._database.write(uploads.roll_back, row.version, staged, candidate, self._expiry)
