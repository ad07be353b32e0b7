"""Leases on content: who may push and was told that something is here finds it here for a while (design P9, I2)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from registry.domain.errors import BlobUnknown, ManifestUnknown, RegistryError, Unavailable
from registry.domain.names import Reference, RepositoryName
from registry.metadata import blobs, content_leases, manifests
from registry.metadata.blobs import BlobHead
from registry.metadata.content_leases import Held, Kind
from registry.metadata.database import Database
from registry.metadata.manifests import StoredHead

COLLECT_SECONDS = 0.1
BATCH = 100
# What is beyond it waits for the next HEAD: a quarter of its lease is left at least
WAITING_LIMIT = 10_000

Head = TypeVar("Head", BlobHead, StoredHead)


@dataclass(frozen=True, slots=True)
class _Noun(Generic[Head]):
    kind: Kind
    find: Callable[[Connection, RepositoryName, Any], Head | None]
    unknown: type[RegistryError]


_BLOB = _Noun("blob", blobs.find_head, BlobUnknown)
_MANIFEST = _Noun("manifest", manifests.find_head, ManifestUnknown)


class ContentLeases:
    """The service of leases on content. `lease` in milliseconds.

    Half of a lease or more needs nothing, a quarter can wait, less is committed before the answer. That never
    fails for want of the database: a lease is for liveness, foreign keys are for safety (reliability c-8).
    """

    def __init__(self, database: Database, lease: int) -> None:
        self._database = database
        self._lease = lease
        # In the order in which they came
        self._waiting: dict[Held, None] = {}
        self._writing: asyncio.Task[None] | None = None

    def is_due(self, left: int) -> bool:
        """Whether a caller who may push has this lease renewed."""
        return left * 2 < self._lease

    async def renew_blob(self, repository: RepositoryName, found: BlobHead) -> BlobHead:
        """Renew what was found, and return it as it is then; raise BlobUnknown when it has gone meanwhile."""
        return await self._renew(_BLOB, repository, found.digest, found)

    async def renew_manifest(self, repository: RepositoryName, reference: Reference, found: StoredHead) -> StoredHead:
        """The same for a manifest, whose tag may have moved; raise ManifestUnknown."""
        return await self._renew(_MANIFEST, repository, reference, found)

    async def close(self) -> None:
        """Finish the renewals that wait."""
        if self._writing is not None:
            await self._writing

    async def _renew(self, noun: _Noun[Head], repository: RepositoryName, reference: Reference, found: Head) -> Head:
        if found.left * 4 >= self._lease:
            self._renew_later(Held(noun.kind, repository, found.digest))
            return found
        try:
            renewed = await self._database.write(_find_and_renew, noun, repository, reference, self._lease)
        except Unavailable:
            return found
        if renewed is None:
            raise noun.unknown()
        return renewed

    def _renew_later(self, held: Held) -> None:
        if len(self._waiting) < WAITING_LIMIT:
            self._waiting[held] = None
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Renew all that wait, in one transaction at a time."""
        try:
            while self._waiting:
                if len(self._waiting) < BATCH:
                    await asyncio.sleep(COLLECT_SECONDS)
                batch = list(islice(self._waiting, BATCH))
                with suppress(Unavailable):
                    await self._database.write(content_leases.renew, batch, self._lease)
                for held in batch:
                    del self._waiting[held]
        finally:
            self._writing = None


def _find_and_renew(
    connection: Connection, noun: _Noun[Head], name: RepositoryName, reference: Reference, lease: int
) -> Head | None:
    """Look once more: the garbage collection may have been first."""
    found = noun.find(connection, name, reference)
    if found is not None:
        content_leases.renew(connection, [Held(noun.kind, name, found.digest)], lease)
    return found
