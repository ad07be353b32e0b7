"""The scrub: stored bytes are hashed again, those first that nobody has looked at for longest (reliability c-9, G6).

It may be stopped or killed at any time: how far it is stands in the rows. Two at once do some work twice, and no harm.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection

from registry import metrics
from registry.content.hashing import hash_piece
from registry.content.pace import Pace
from registry.content.quarantine import Affected, Quarantine, Wrong
from registry.domain.access import Caller, Identity
from registry.domain.names import Digest, Hasher, RepositoryName
from registry.domain.problems import Missing
from registry.metadata import blobs, events, repositories, scrubbing
from registry.metadata.blobs import StoredBlob
from registry.metadata.columns import current_time
from registry.metadata.database import Database
from registry.metadata.scrubbing import START, Extent, Seen
from storage.backend import BlobStore
from storage.errors import BlobDamaged, BlobMissing, StorageError

log = logging.getLogger(__name__)

# What was looked at is recorded together: so many blobs, or those of so long
BATCH = 100
BATCH_SECONDS = 1.0
SCRUB = Caller(Identity("scrub"), "")


@dataclass(frozen=True, slots=True)
class Wanted:
    """These digests, or else all blobs or a repository's, if nobody has looked at them for `older` milliseconds."""

    digests: Sequence[Digest] = ()
    repository: RepositoryName | None = None
    older: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """A blob that was looked at. `released`: it was in quarantine, and its bytes are right."""

    digest: Digest
    size: int
    wrong: Wrong | None = None
    affected: Affected | None = None
    released: bool = False


# So many bytes were read, or all of a blob
Step: TypeAlias = int | Checked
Pages: TypeAlias = AsyncGenerator[Sequence[Digest]]


class Scrub:
    """The service that looks at stored bytes: in the background each blob once an `interval`, `rate` bytes a second."""

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        quarantine: Quarantine,
        *,
        interval: int,
        rate: int,
        clock: Callable[[], float] = time.monotonic,
        pace: Callable[[int], Pace] = Pace,
    ) -> None:
        self._database = database
        self._store = store
        self._quarantine = quarantine
        self._interval = interval
        self._rate = rate
        self._clock = clock
        self._pace = pace
        self._unfinished: AsyncGenerator[Step] | None = None

    async def some(self, seconds: float) -> bool:
        """Look at what is due for about so long; False when nothing is left. The next call goes on, also inside a blob.

        Raises RegistryError and StorageError; then the next call starts anew.
        """
        if not self._rate:
            return False
        end = self._clock() + seconds
        steps = self._unfinished or self._scrub(self._due(), SCRUB, self._rate)
        self._unfinished = None
        async for _ in steps:
            if self._clock() >= end:
                self._unfinished = steps
                return True
        return False

    async def extent(self, wanted: Wanted) -> Extent:
        """How much `verify` would read; raise Missing for a digest or a repository that is not there."""
        return await self._database.read(_extent, wanted)

    def verify(self, wanted: Wanted, caller: Caller, rate: int = 0) -> AsyncGenerator[Step]:
        """Look at blobs, with at most `rate` bytes a second, 0 for any number. Close it to stop early."""
        return self._scrub(self._pages(wanted), caller, rate)

    async def put_first(self, digest: Digest, caller: Caller) -> None:
        """Let the background look at this blob next; raise Missing."""
        await self._database.write(_put_first, digest, caller)

    async def close(self) -> None:
        if self._unfinished is not None:
            await self._unfinished.aclose()

    async def _due(self) -> Pages:
        """The oldest, asked for again after about a second's work: what is put first must not wait for long."""
        while places := await self._database.read(scrubbing.due, self._interval, BATCH):
            size, page = 0, list[Digest]()
            for place in places:
                size += place.size
                if page and size > self._rate * BATCH_SECONDS:
                    break
                page.append(place.digest)
            yield page

    async def _pages(self, wanted: Wanted) -> Pages:
        if wanted.digests:
            yield wanted.digests
            return
        before, place = await self._database.read(current_time) - wanted.older, START
        if wanted.repository is None:
            while places := await self._database.read(scrubbing.oldest, before, place, BATCH):
                yield [one.digest for one in places]
                place = places[-1]
            return
        repository_id, last = await self._database.read(_repository, wanted.repository), ""
        while held := await self._database.read(scrubbing.in_repository, repository_id, before, last, BATCH):
            yield held
            last = held[-1]

    async def _scrub(self, pages: Pages, caller: Caller, rate: int) -> AsyncGenerator[Step]:
        pace, record = self._pace(rate), _Record(self._database, self._clock)
        async with aclosing(pages):
            async for page in pages:
                for digest in page:
                    async with aclosing(self._look(digest, pace, record, caller)) as steps:
                        async for step in steps:
                            yield step
                await record.write()

    async def _look(self, digest: Digest, pace: Pace, record: "_Record", caller: Caller) -> AsyncGenerator[Step]:
        """Only the same key wrong twice counts: a push may have brought other bytes, a disk may have erred (P10)."""
        suspected = ""
        while (found := await self._database.read(blobs.find, digest)) is not None:
            look = _Look(digest, found)
            try:
                async with aclosing(look.at(self._store)) as sizes:
                    async for size in sizes:
                        await pace.spend(size)
                        yield size
            except StorageError:
                log.exception("the bytes of %s at %s can't be looked at now", digest, found.key)
                await record.add(Seen(digest, found.key))  # or the background would never get beyond it
                await record.write()
                raise
            if look.wrong is None or found.key == suspected:
                yield await self._settle(look, record, caller)
                return
            suspected = found.key

    async def _settle(self, look: "_Look", record: "_Record", caller: Caller) -> Checked:
        """Do what follows from a look; bytes that have made way for others meanwhile are nobody's concern."""
        digest, (key, size, sound), wrong = look.digest, look.found, look.wrong
        metrics.blob_verified(size)
        if wrong is None and not sound:
            return Checked(digest, size, released=await self._quarantine.release(digest, key, caller))
        if wrong is None:
            await record.add(Seen(digest, key))
            return Checked(digest, size)
        if sound and not await self._quarantine.put(digest, key, wrong, caller):
            return Checked(digest, size)
        if not sound:
            await record.add(Seen(digest, key))
        return Checked(digest, size, wrong, await self._quarantine.affected(digest))


@dataclass(slots=True)
class _Look:
    """One look at the bytes of a blob; `wrong` is what came of it."""

    digest: Digest
    found: StoredBlob
    wrong: Wrong | None = None

    async def at(self, store: BlobStore) -> AsyncGenerator[int]:
        """Read them; tell of each piece how many they were."""
        try:
            reader = await store.open(self.found.key, uncached=True)
            try:
                if reader.size != self.found.size:
                    self.wrong = Wrong("corrupt", f"are {reader.size} and not {self.found.size}")
                    return
                hasher, offset = Hasher(self.digest.algorithm), 0
                while offset < reader.size:
                    size = await hash_piece(reader, offset, hasher)
                    offset += size
                    yield size
            finally:
                await reader.close()
            if hasher.digest() != self.digest:
                self.wrong = Wrong("corrupt", f"hash to {hasher.digest()}")
        except BlobMissing:
            self.wrong = Wrong("missing", "are lost")
        except BlobDamaged as error:
            self.wrong = Wrong("unreadable", f"can't be read: {error}")


class _Record:
    """What was looked at and needs no more than its time, written many at once."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._seen: list[Seen] = []
        self._written_at = clock()

    async def add(self, seen: Seen) -> None:
        self._seen.append(seen)
        if len(self._seen) >= BATCH or self._clock() - self._written_at >= BATCH_SECONDS:
            await self.write()

    async def write(self) -> None:
        if self._seen:
            await self._database.write(scrubbing.mark_seen, self._seen)
        self._seen, self._written_at = [], self._clock()


def _extent(connection: Connection, wanted: Wanted) -> Extent:
    if wanted.digests:
        return Extent(len(wanted.digests), sum(_size(connection, digest) for digest in wanted.digests))
    repository_id = None if wanted.repository is None else _repository(connection, wanted.repository)
    return scrubbing.extent(connection, current_time(connection) - wanted.older, repository_id)


def _size(connection: Connection, digest: Digest) -> int:
    found = blobs.find(connection, digest)
    if found is None:
        raise _no_blob(digest)
    return found.size


def _no_blob(digest: Digest) -> Missing:
    return Missing(f"there is no blob {digest}")


def _repository(connection: Connection, name: RepositoryName) -> int:
    found = repositories.find(connection, name)
    if found is None:
        raise Missing(f"there is no repository {name}")
    return found


def _put_first(connection: Connection, digest: Digest, caller: Caller) -> None:
    if not scrubbing.put_first(connection, digest):
        raise _no_blob(digest)
    events.append_access(connection, caller, "blob.verify", {"digest": digest})
