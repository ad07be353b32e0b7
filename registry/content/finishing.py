"""From staged bytes to a blob: the order of writes that lets a 201 survive a power cut.

The bytes are durable at their key before any row names them; the row, the link and the end of the upload are one
transaction; staging is tidied after its commit (design P5, P6).
"""

import logging
from dataclasses import dataclass

from sqlalchemy import Connection

from registry import metrics
from registry.content.translate import storage_errors
from registry.domain.errors import BlobUploadUnknown
from registry.domain.names import Digest
from registry.metadata import blobs, uploads
from registry.metadata.blobs import StoredBlob
from registry.metadata.database import Database
from storage.backend import BlobStore, Staged
from storage.crashpoints import crash_point
from storage.errors import BlobMissing, StorageError

log = logging.getLogger(__name__)


class _StoredBlobGoneError(Exception):
    """The blob whose bytes we meant to share is gone or rotten by now: bring our own."""


@dataclass(frozen=True, slots=True)
class Finished:
    """An upload whose bytes are known to hash to `digest`; times in milliseconds."""

    staged: Staged
    version: int
    digest: Digest
    link_lease: int
    memory: int


class Finishing:
    """Publishes bytes and records them."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    async def finish(self, finished: Finished) -> None:
        """Make the blob and the link; raise BlobUploadUnknown when the lease was lost meanwhile."""
        known = await self._database.read(blobs.find, finished.digest)
        shared = known if known and await self._is_sound(known) else None
        try:
            await self._record(finished, known, None if shared else await self._publish(finished))
        except _StoredBlobGoneError:
            await self._record(finished, known, await self._publish(finished))
        crash_point("blob.recorded")
        await self._discard(finished)
        crash_point("blob.tidied")

    async def _discard(self, finished: Finished) -> None:
        try:
            await self._store.discard(finished.staged)
        except StorageError:
            log.exception("staged bytes of %s stay until the next start", finished.staged.upload_id)

    async def _publish(self, finished: Finished) -> str:
        with storage_errors():
            return await self._store.publish(finished.staged, finished.digest)

    async def _record(self, finished: Finished, known: StoredBlob | None, key: str | None) -> None:
        if not await self._database.write(_record, finished, known, key):
            if not await self._database.read(uploads.exists, finished.staged.upload_id):
                await self._discard(finished)  # nobody else has them
            raise BlobUploadUnknown()
        if key is not None:
            metrics.blob_stored()

    async def _is_sound(self, known: StoredBlob) -> bool:
        """Whether the bytes that a row promises are there; what hides them must not outlive this push (S-04)."""
        if not known.sound:
            return False
        try:
            with storage_errors():
                return await self._store.size(known.key) == known.size
        except BlobMissing:
            return False


def _record(connection: Connection, finished: Finished, known: StoredBlob | None, key: str | None) -> bool:
    """`known` is the blob as it was before publishing, `key` where our own bytes are, if they had to be.

    False when the lease was lost, or the upload, or its repository.
    """
    upload_id = finished.staged.upload_id
    if not uploads.finish(connection, upload_id, finished.version, finished.digest, finished.memory):
        if key is not None and uploads.end_orphan(connection, upload_id):
            _doom_unless_stored(connection, finished, key)
        return False
    current = blobs.find(connection, finished.digest)
    if key is None:
        if current is None or current != known:
            raise _StoredBlobGoneError
    elif current is None:
        blobs.insert_blob(connection, finished.digest, key, finished.staged.size)
    elif current == known or not current.sound:
        # It stood here before we published, so it was found unsound; or it was since
        blobs.replace_bytes(connection, finished.digest, current.key, key, finished.staged.size)
    elif current.key != key:
        blobs.doom(connection, key, finished.staged.size, "another push of the same digest was first")
    repository_id = uploads.repository_of(connection, upload_id)
    blobs.put_link(connection, repository_id, finished.digest, finished.link_lease)
    return True


def _doom_unless_stored(connection: Connection, finished: Finished, key: str) -> None:
    """Nobody can commit these bytes any more; they may have been before, by a request that we repeat."""
    current = blobs.find(connection, finished.digest)
    if current is None or current.key != key:
        blobs.doom(connection, key, finished.staged.size, "the upload was gone")
