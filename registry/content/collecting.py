"""The garbage collection: it runs beside pushes and pulls, in transactions so small that nobody waits for them.

Nothing here holds a lock over more than one of them, and each checks by itself what it rests on (reliability c-9). So
it may be stopped or killed between any two, and a second one beside it does no harm.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection

from registry.content.trash import give_up
from registry.metadata import garbage, trash
from registry.metadata.columns import current_time
from registry.metadata.database import Database, on_full_disk
from registry.metadata.garbage import Orphan
from registry.metadata.integrity import unknown_keys
from registry.metadata.trash import Entry
from storage.backend import BlobStore
from storage.crashpoints import crash_point
from storage.errors import BlobMissing, StorageError

T = TypeVar("T")

FEWEST_ROWS, MOST_ROWS = 5, 100
# What one transaction may make a push wait; a push has several
MOST_SECONDS = 0.005
# Unlinked at once: what a file system's journal has to write before the next push is durable
MOST_KEYS = 25
log = logging.getLogger(__name__)

# Of the time that it works, how much it leaves to others
PAUSE = 4.0
SHORTEST_PAUSE = 0.002


@dataclass(frozen=True, slots=True)
class GcLimits:
    """Times in milliseconds: how long deleted things can be restored, how long doomed bytes stay, and how old bytes
    that no row knows must be.
    """

    trash: int
    doomed: int
    orphans: int


@dataclass(slots=True)
class Collected:
    """What a run did: entries of the trash that expired, rows of given-up repositories, links looked at and removed.

    `doomed_bytes` go when they have been doomed for long enough, `freed_bytes` are free now.
    """

    expired: int = 0
    rows: int = 0
    reviewed: int = 0
    links: int = 0
    blobs: int = 0
    doomed_bytes: int = 0
    files: int = 0
    freed_bytes: int = 0
    orphans: int = 0
    # it was not stopped before the end
    complete: bool = False


Progressed: TypeAlias = Callable[[str, Collected], None]


def untold(phase: str, collected: Collected) -> None:
    """Nobody watches."""


class Collector:
    """One run: `still` is asked before each step whether it may go on, `progress` hears the name of each phase."""

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        limits: GcLimits,
        *,
        delete: Callable[[str], Awaitable[None]] | None = None,
        still: Callable[[], bool] = lambda: True,
        progress: Progressed = untold,
        pause: float = PAUSE,
    ) -> None:
        self._database = database
        self._store = store
        self._limits = limits
        self._delete = delete or store.delete
        self._still = still
        self._progress = progress
        self._pause = pause
        self._rows = MOST_ROWS
        self._done = Collected()

    async def run(self) -> Collected:
        """Take away all that may go now."""
        return await self._go(
            {
                "trash": self._expire_trash,
                "repositories": self._empty_repositories,
                "links": self._remove_links,
                "bytes": self._remove_bytes,
            }
        )

    async def sweep(self) -> Collected:
        """Doom bytes that no row knows."""
        return await self._go({"orphans": self._doom_orphans})

    async def _go(self, phases: Mapping[str, Callable[[], AsyncIterator[None]]]) -> Collected:
        for name, phase in phases.items():
            async for _ in phase():
                self._progress(name, self._done)
                if not self._still():
                    return self._done
        self._done.complete = True
        return self._done

    async def _expire_trash(self) -> AsyncIterator[None]:
        """What can't be restored any more. An index may still need a manifest whose time is over: the next run sees."""
        before, after = await self._database.read(current_time) - self._limits.trash, (0, 0)
        while entries := await self._step(_expire, before, after):
            self._done.expired += len(entries)
            after = (entries[-1].deleted_at, entries[-1].id)
            crash_point("gc.expired")
            yield

    async def _empty_repositories(self) -> AsyncIterator[None]:
        for repository_id in await self._database.read(garbage.given_up):
            while rows := await self._step(garbage.empty_repository, repository_id):
                self._done.rows += rows
                crash_point("gc.emptied")
                yield

    async def _remove_links(self) -> AsyncIterator[None]:
        while (freed := await self._step(garbage.remove_links)).seen:
            self._done.reviewed += freed.seen
            self._done.links += freed.links
            self._done.blobs += freed.blobs
            self._done.doomed_bytes += freed.bytes
            crash_point("gc.unlinked")
            yield

    async def _remove_bytes(self) -> AsyncIterator[None]:
        """A key that can't be deleted now is left for the next run, and keeps no other."""
        before, after = await self._database.read(current_time) - self._limits.doomed, (0, "")
        while dead := await self._database.read(garbage.dead, before, after, MOST_KEYS):
            began = time.monotonic()
            gone = [one for one in dead if await self._is_deleted(one.key)]
            await self._database.write(garbage.forget_dead, [one.key for one in gone])
            crash_point("gc.forgotten")
            self._done.files += len(gone)
            self._done.freed_bytes += sum(one.size for one in gone)
            after = (dead[-1].doomed_at, dead[-1].key)
            await self._rest(time.monotonic() - began)
            yield

    async def _is_deleted(self, key: str) -> bool:
        try:
            await self._delete(key)
        except (StorageError, OSError):
            log.exception("the bytes at %s can't be deleted; the next run tries again", key)
            return False
        crash_point("gc.deleted")
        return True

    async def _doom_orphans(self) -> AsyncIterator[None]:
        """Keys stand in an upload's row before their first byte, so one that no row knows can't be committed later."""
        born_before = await self._database.read(current_time) - self._limits.orphans
        async for keys in self._store.keys():
            strange = await self._database.read(unknown_keys, keys)
            orphans = [orphan for key in strange if (orphan := await self._old(key, born_before)) is not None]
            if orphans:
                self._done.orphans += await self._database.write(garbage.doom_orphans, orphans)
                crash_point("gc.orphans")
            yield

    async def _old(self, key: str, born_before: int) -> Orphan | None:
        try:
            if await self._store.written_at(key) < born_before:
                return Orphan(key, await self._store.size(key))
        except BlobMissing:
            pass
        except (StorageError, OSError):
            log.exception("the bytes at %s can't be looked at", key)
        return None

    async def _step(self, query: Callable[..., T], *args: Any) -> T:
        """A transaction; the last argument of `query` is how many rows fit into its time. Then others have a turn."""
        result, seconds = await self._database.write(_timed, query, (*args, self._rows))
        if seconds > MOST_SECONDS:
            self._rows = max(self._rows // 2, FEWEST_ROWS)
        elif seconds < MOST_SECONDS / 2:
            self._rows = min(self._rows * 2, MOST_ROWS)
        await self._rest(seconds)
        return result

    async def _rest(self, seconds: float) -> None:
        if self._pause:
            await asyncio.sleep(max(seconds * self._pause, SHORTEST_PAUSE))


@on_full_disk
def _timed(connection: Connection, query: Callable[..., T], args: Sequence[Any]) -> tuple[T, float]:
    began = time.monotonic()
    return query(connection, *args), time.monotonic() - began


def _expire(connection: Connection, before: int, after: tuple[int, int], limit: int) -> list[Entry]:
    entries = trash.due(connection, before, after, limit)
    for entry in entries:
        give_up(connection, entry)
    return entries
