"""Blobs whose bytes are wrong: hidden from all, so that the next push brings good ones (reliability S-04, S-05)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from registry import metrics
from registry.domain.access import Caller
from registry.domain.names import Digest
from registry.domain.paging import Page, PageRequest
from registry.metadata import blobs, events, scrubbing
from registry.metadata.database import Database, on_full_disk
from registry.metadata.scrubbing import QuarantinedRow
from storage.backend import BlobStore

TAGS_SHOWN = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a blob: `about` goes on after "its bytes"."""

    kind: metrics.BlobFinding
    about: str


@dataclass(frozen=True, slots=True)
class Affected:
    """Tags that need a blob, as `repository:tag`; `and_more` when there are others."""

    tags: Sequence[str]
    and_more: bool

    def __str__(self) -> str:
        return ", ".join([*self.tags, *(["and more"] if self.and_more else [])]) or "no tag"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A blob in quarantine; `found_at` is None while it waits to be looked at again."""

    digest: Digest
    size: int
    found_at: int | None
    affected: Affected


class Quarantine:
    """The service of blobs in quarantine."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    async def put(self, digest: Digest, key: str, wrong: Wrong, caller: Caller) -> bool:
        """Hide a blob whose bytes at `key` are wrong; False when it has others by now.

        Raises StorageError when the store as a whole can't be read: a disk that is gone says nothing of a blob.
        """
        await self._store.check(write=False)
        if not await self._database.write(_put, digest, key, wrong, caller):
            return False
        metrics.blob_found(wrong.kind)
        log.error(
            "blob %s is in quarantine: its bytes at %s %s; push it again to heal it. It is needed by %s",
            *(digest, key, wrong.about, await self.affected(digest)),
        )
        return True

    async def release(self, digest: Digest, key: str, caller: Caller) -> bool:
        """Bring back a blob whose bytes at `key` were found right; False when it has others by now."""
        released = await self._database.write(_release, digest, key, caller)
        if released:
            log.info("blob %s is out of quarantine: its bytes are right", digest)
        return released

    async def affected(self, digest: Digest) -> Affected:
        """Tags that can't be pulled without the blob."""
        found = await self._database.read(scrubbing.tags_needing, digest, TAGS_SHOWN + 1)
        return Affected(found[:TAGS_SHOWN], len(found) > TAGS_SHOWN)

    async def list(self, page: PageRequest) -> Page[Quarantined]:
        """By digest."""
        rows = await self._database.read(scrubbing.list_quarantined, page.last, page.limit + 1)
        cut = page.cut_by(rows, lambda row: str(row.digest))
        return Page([await self._told(row) for row in cut.entries], cut.next_last)

    async def count(self) -> int:
        return await self._database.read(scrubbing.count_quarantined)

    async def _told(self, row: QuarantinedRow) -> Quarantined:
        return Quarantined(row.digest, row.size, row.found_at or None, await self.affected(row.digest))


@on_full_disk
def _put(connection: Connection, digest: Digest, key: str, wrong: Wrong, caller: Caller) -> bool:
    changed = blobs.quarantine(connection, digest, key)
    if changed:
        details = {"digest": digest, "key": key, "found": wrong.kind}
        events.append_access(connection, caller, "blob.quarantine", details)
    return changed


def _release(connection: Connection, digest: Digest, key: str, caller: Caller) -> bool:
    changed = blobs.release(connection, digest, key)
    if changed:
        events.append_access(connection, caller, "blob.release", {"digest": digest, "key": key})
    return changed
