"""Blobs: find, open, delete."""

import logging
from typing import TypeVar

from sqlalchemy import Connection

from registry import metrics
from registry.content.quarantine import Quarantine, Wrong
from registry.domain.access import Caller, Identity
from registry.domain.errors import BlobUnknown, BlobUnreadable, Unsupported
from registry.domain.names import Digest, RepositoryName
from registry.metadata import blobs, events, repositories
from registry.metadata.blobs import BlobHead, StoredBlob
from registry.metadata.database import Database, on_full_disk
from registry.metadata.events import Scene
from storage.backend import BlobReader, BlobStore
from storage.errors import BlobMissing, StorageError

__all__ = ["BlobReader", "Blobs"]

T = TypeVar("T")

# Whoever pulls finds what is wrong, and has not done it
PULL = Caller(Identity("pull"), "")

log = logging.getLogger(__name__)


class Blobs:
    """The service of blobs that repositories hold."""

    def __init__(self, database: Database, store: BlobStore, quarantine: Quarantine) -> None:
        self._database = database
        self._store = store
        self._quarantine = quarantine

    async def stat(self, repository: RepositoryName, digest: Digest) -> BlobHead:
        """Raise BlobUnknown when the repository does not hold it."""
        return _known(await self._database.read(blobs.find_head, repository, digest))

    async def open(self, repository: RepositoryName, digest: Digest) -> BlobReader:
        """Open the blob for reading; the caller closes it. Raise BlobUnknown, BlobUnreadable.

        Bytes that are lost or cut short are quarantined: clients see 404 and push them again.
        """
        try:
            return await self._open(repository, digest)
        except StorageError as error:
            metrics.storage_error("failed")
            log.exception("the bytes of %s can't be read", digest)
            raise BlobUnreadable() from error

    async def _open(self, repository: RepositoryName, digest: Digest) -> BlobReader:
        """A push may move the row to other bytes between look-up and open: only a key missing twice is a loss (P10)."""
        missed = ""
        while True:
            found = _known(await self._database.read(blobs.find_in, repository, digest))
            try:
                reader = await self._store.open(found.key)
            except BlobMissing:
                if found.key == missed:
                    await self._hide(digest, found, Wrong("missing", "are lost"))
                    raise BlobUnknown() from None
                missed = found.key
            else:
                if reader.size == found.size:
                    return reader
                await reader.close()
                await self._hide(digest, found, Wrong("corrupt", f"are {reader.size} and not {found.size}"))
                raise BlobUnreadable()

    async def _hide(self, digest: Digest, found: StoredBlob, wrong: Wrong) -> None:
        metrics.storage_error("missing")
        await self._quarantine.put(digest, found.key, wrong, PULL)

    async def delete(self, repository: RepositoryName, digest: Digest, caller: Caller) -> None:
        """Take the blob out of the repository; raise BlobUnknown, or Unsupported while a manifest needs it."""
        await self._database.write(_delete, repository, digest, caller)


def _known(found: T | None) -> T:
    if found is None:
        raise BlobUnknown()
    return found


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
