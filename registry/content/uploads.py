"""Uploads: from POST to a blob, in one request or in many, from clients that come back and from those that don't."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from registry import metrics
from registry.content.finishing import Finished, Finishing
from registry.content.intake import Body
from registry.content.leases import LEASE, Leases
from registry.content.receiving import Receiver, Taken
from registry.content.translate import is_broken, storage_errors
from registry.domain.access import Caller
from registry.domain.errors import BlobUploadUnknown, DigestInvalid, RegistryError, TooManyRequests, Unavailable
from registry.domain.names import Digest, Hasher, RepositoryName
from registry.domain.uploads import UploadKey
from registry.metadata import blobs, repositories, uploads
from registry.metadata.database import Database
from registry.metadata.uploads import Opening, UploadRow
from storage.backend import BlobStore
from storage.crashpoints import crash_point

EXPIRY_BATCH = 100
RETRY_SECONDS = 60
# What holds a blob that is to be mounted is looked through in such pages
HOLDERS_BATCH = 100
HOLDERS_BATCHES = 10


@dataclass(frozen=True, slots=True)
class UploadState:
    """Where an upload stands: `offset` durable bytes."""

    id: str
    offset: int


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Times in milliseconds, memory in bytes. `most`: unfinished uploads of one identity, None for any number."""

    expiry: int
    link_lease: int
    memory: int
    most: int | None = None


class Uploads:
    """The service of uploads. `new_id` makes 32 random hex digits; `owner` names this process in leases."""

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        *,
        owner: str,
        limits: UploadLimits,
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._store = store
        self._limits = limits
        self._new_id = new_id
        self._leases = Leases(database, owner)
        self._finishing = Finishing(database, store)
        self._receiver = Receiver(database, store, limits.expiry, limits.memory)

    async def start(self, repository: RepositoryName, caller: Caller, algorithm: str) -> UploadState:
        """Open an upload (end-4a, end-4c)."""
        opening = Opening(self._key(repository, caller), algorithm, self._limits.expiry)
        row = await self._database.write(_open, opening, self._limits.most)
        crash_point("upload.opened")
        metrics.upload("started")
        return UploadState(row.id, 0)

    async def push(self, repository: RepositoryName, caller: Caller, digest: Digest, body: Body) -> None:
        """A whole blob in one request (end-4b): leaves a blob or nothing."""
        key = self._key(repository, caller)
        opening = Opening(key, digest.algorithm, self._limits.expiry, self._leases.owner, LEASE)
        row = await self._database.write(_open, opening, self._limits.most)
        crash_point("upload.opened")
        metrics.upload("started")
        try:
            await self._finish(await self._receiver.take(row, body, Hasher(digest.algorithm)), digest)
        except RegistryError:
            await self._receiver.abandon(row)
            raise

    async def mount(
        self,
        repository: RepositoryName,
        digest: Digest,
        source: RepositoryName | None,
        may_pull: Callable[[RepositoryName], bool],
    ) -> bool:
        """Link a blob that `source` holds, or, without it, any repository that the caller may pull from (end-11).

        False when none does, whether it is missing or hidden from the caller.
        """
        if source is None:
            source = await self._holder(digest, may_pull)
        if source is None or not may_pull(source):
            return False
        return await self._database.write(_mount, repository, digest, source, self._limits.link_lease)

    async def _holder(self, digest: Digest, may_pull: Callable[[RepositoryName], bool]) -> RepositoryName | None:
        """Some repository that may be pulled from; who may pull from few of very many uploads instead."""
        last = 0
        for _ in range(HOLDERS_BATCHES):
            found = await self._database.read(blobs.list_holders, digest, last, HOLDERS_BATCH)
            allowed = [name for _, name in found if may_pull(name)]
            if allowed or not found:
                return allowed[0] if allowed else None
            last = found[-1][0]
        return None

    async def end_refused(self, may_push: Callable[[str, RepositoryName], Awaitable[bool]]) -> int:
        """End unfinished uploads of those who may push no more; return how many."""
        total, last = 0, ""
        while found := await self._database.read(uploads.list_unfinished, last, EXPIRY_BATCH):
            for row, key in found:
                last = key.id
                if not await may_push(key.identity, key.repository):
                    await self._receiver.abandon(row)
                    total += 1
        return total

    async def status(self, key: UploadKey) -> UploadState:
        """How far an upload is (end-13); raise BlobUploadUnknown."""
        row = await self._database.read(uploads.find, key)
        if row is None or row.finished is not None:
            raise BlobUploadUnknown()
        return UploadState(row.id, row.offset)

    async def append(self, key: UploadKey, body: Body) -> UploadState:
        """Add a chunk or a stream (end-5); raise BlobUploadUnknown, UploadOutOfOrder, SizeInvalid."""
        row = await self._leases.take(key, body.start)
        if row.finished is not None:
            raise BlobUploadUnknown()
        taken = await self._receiver.take(row, body, self._receiver.hasher(row, row.algorithm))
        await self._receiver.release(taken)
        return UploadState(row.id, taken.staged.size)

    async def finish(self, key: UploadKey, digest: Digest, body: Body) -> None:
        """Close an upload, with a last piece or an empty body (end-6).

        Raises what `append` raises, and DigestInvalid, which ends the upload. Again after success is success
        while the repository still holds the blob (design P16).
        """
        row = await self._leases.take(key, body.start)
        if row.finished is not None:
            await self._repeat(row, digest)
            return
        hasher = self._receiver.hasher(row, digest.algorithm)
        if body.length == 0:
            taken = Taken(row, row.staged, hasher)
        else:
            taken = await self._receiver.take(row, body, hasher)
        await self._finish(taken, digest)

    async def cancel(self, key: UploadKey) -> None:
        """End an upload (end-14), also under a running writer; raise BlobUploadUnknown."""
        row = await self._database.read(uploads.find, key)
        if row is None or row.finished is not None:
            raise BlobUploadUnknown()
        await self._receiver.abandon(row, "cancelled")

    async def expire(self) -> int:
        """Forget uploads whose time is over; return how many had not finished."""
        total = 0
        while removed := await self._database.write(uploads.remove_expired, EXPIRY_BATCH):
            crash_point("upload.expired")
            unfinished = sum(not finished for _, finished in removed)
            metrics.upload("expired", unfinished)
            total += unfinished
            for staged, _ in removed:
                self._receiver.forget(staged.upload_id)
                with storage_errors():
                    await self._store.discard(staged)
        return total

    async def clear_leases(self, owners: Sequence[str]) -> None:
        """Free the uploads that were being written by workers which have ended (P7)."""
        if owners:
            crash_point("recovery.relieving")
            await self._database.write(uploads.clear_leases, owners)

    async def sweep_staging(self) -> int:
        """Remove staged bytes that no upload knows, left by a crash; return how many files. At start only."""
        total = 0
        async for found in self._store.uploads():
            for staged in found:
                if not await self._database.read(uploads.exists, staged.upload_id):
                    await self._store.discard(staged)
                    total += 1
                    crash_point("recovery.swept")
        return total

    async def close(self) -> None:
        await self._receiver.close()

    def _key(self, repository: RepositoryName, caller: Caller) -> UploadKey:
        return UploadKey(self._new_id(), repository, caller.identity.name)

    async def _finish(self, taken: Taken, digest: Digest) -> None:
        """Check the digest, then make the blob; a wrong one ends the upload."""
        crash_point("upload.received")
        async with self._leases.kept(taken.row):
            if await self._digest(taken, digest.algorithm) != digest:
                await self._receiver.abandon(taken.row)
                raise DigestInvalid("the content does not have this digest; the upload has ended, start again")
            finished = Finished(taken.staged, taken.row.version, digest, self._limits.link_lease, self._limits.expiry)
            try:
                await self._finishing.finish(finished)
                metrics.upload("finished")
            except Unavailable as error:
                with suppress(RegistryError):  # the first failure is the one to tell
                    if is_broken(error):
                        await self._receiver.abandon(taken.row)
                    else:
                        await self._receiver.release(taken)
                raise

    async def _digest(self, taken: Taken, algorithm: str) -> Digest:
        """What the staged bytes hash to: known, or read once more (reliability c-6)."""
        if taken.hasher is not None:
            return taken.hasher.digest()
        candidate = taken.row.candidate
        if candidate and candidate.algorithm == algorithm and taken.staged == taken.row.staged:
            return candidate
        hasher = Hasher(algorithm)
        with storage_errors():
            async for piece in self._store.read_staged(taken.staged):
                await asyncio.to_thread(hasher.update, piece)
        return hasher.digest()

    async def _repeat(self, row: UploadRow, digest: Digest) -> None:
        """The answer to a PUT that was lost: once more yes, if it is the same blob and still here."""
        if row.finished != digest:
            raise DigestInvalid("this upload has ended as another digest")
        if not await self._database.write(_renew, row, digest, self._limits.link_lease):
            raise BlobUploadUnknown()


def _open(connection: Connection, opening: Opening, most: int | None) -> UploadRow:
    if most is not None and uploads.count_unfinished(connection, opening.key.identity, most) >= most:
        raise TooManyRequests(
            f"{most} uploads of yours are unfinished (ratelimit.uploads); finish or cancel some",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )
    repository_id = repositories.get_or_create(connection, opening.key.repository)
    return uploads.open_upload(connection, repository_id, opening)


def _mount(
    connection: Connection,
    repository: RepositoryName,
    digest: Digest,
    source: RepositoryName,
    lease: int,
) -> bool:
    if blobs.find_in(connection, source, digest) is None:
        return False
    blobs.put_link(connection, repositories.get_or_create(connection, repository), digest, lease)
    return True


def _renew(connection: Connection, row: UploadRow, digest: Digest, lease: int) -> bool:
    if not uploads.is_linked(connection, row.id, digest):
        return False
    blobs.put_link(connection, uploads.repository_of(connection, row.id), digest, lease)
    return True
