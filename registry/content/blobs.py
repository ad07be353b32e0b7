"""Blobs: find, open, delete."""

import logging

from sqlalchemy import Connection

from registry import metrics
from registry.domain.access import Caller
from registry.domain.errors import BlobUnknown, BlobUnreadable, Unsupported
from registry.domain.names import Digest, RepositoryName
from registry.metadata import blobs, events, repositories
from registry.metadata.blobs import StoredBlob
from registry.metadata.database import Database, on_full_disk
from registry.metadata.events import Scene
from storage.backend import BlobReader, BlobStore
from storage.errors import BlobMissing, StorageError

__all__ = ["BlobReader", "Blobs"]

log = logging.getLogger(__name__)


class Blobs:
    """The service of blobs that repositories hold."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    async def stat(self, repository: RepositoryName, digest: Digest) -> StoredBlob:
        """Raise BlobUnknown when the repository does not hold it."""
        found = await self._database.read(blobs.find_in, repository, digest)
        if found is None:
            raise BlobUnknown()
        return found

    async def open(self, repository: RepositoryName, digest: Digest) -> BlobReader:
        """Open the blob for reading; the caller closes it. Raise BlobUnknown, BlobUnreadable.

        A push may move the row to other bytes between look-up and open, so only the same key missing twice is
        a loss (design P10). Bytes that are lost or cut short are quarantined: clients see 404 and push them again.
        """
        missed = ""
        while True:
            found = await self.stat(repository, digest)
            try:
                reader = await self._store.open(found.key)
            except BlobMissing:
                if found.key == missed:
                    await self._quarantine(digest, found, "lost")
                    raise BlobUnknown() from None
                missed = found.key
            except StorageError as error:
                metrics.storage_error("failed")
                log.exception("the bytes of %s at %s can't be read", digest, found.key)
                raise BlobUnreadable() from error
            else:
                if reader.size == found.size:
                    return reader
                await reader.close()
                await self._quarantine(digest, found, f"{reader.size} bytes and not {found.size}")
                raise BlobUnreadable()

    async def _quarantine(self, digest: Digest, found: StoredBlob, wrong: str) -> None:
        metrics.storage_error("missing")
        log.error("the bytes of %s at %s are %s; push it again", digest, found.key, wrong)
        await self._database.write(blobs.quarantine, digest, found.key)

    async def delete(self, repository: RepositoryName, digest: Digest, caller: Caller) -> None:
        """Take the blob out of the repository; raise BlobUnknown, or Unsupported while a manifest needs it."""
        await self._database.write(_delete, repository, digest, caller)


@on_full_disk
def _delete(connection: Connection, name: RepositoryName, digest: Digest, caller: Caller) -> None:
    repository_id = repositories.find(connection, name)
    if repository_id is None:
        raise BlobUnknown()
    referrer = blobs.find_referrer(connection, repository_id, digest)
    if referrer is not None:
        raise Unsupported(f"the blob is part of manifest {referrer}; delete that first")
    if not blobs.delete_link(connection, repository_id, digest):
        raise BlobUnknown()
    events.append(connection, Scene(caller, repository_id, name), "blob.delete", old=digest)
