"""The garbage collection as people and the keeper call it: run it, see what it would do, ask why something stays."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from registry import metrics
from registry.content.collecting import Collected, Collector, GcLimits, Progressed, untold
from registry.content.explaining import explain
from registry.domain.names import Digest
from registry.metadata import garbage
from registry.metadata.database import Database
from registry.metadata.garbage import Waiting
from storage.backend import BlobStore

__all__ = ["Collected", "GarbageCollection", "GcLimits", "Progressed", "Waiting"]


class GarbageCollection:
    """The service behind `digestry gc`. `copied` opens a copy of the database, to be changed and thrown away."""

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        limits: GcLimits,
        copied: Callable[[], AbstractAsyncContextManager[Database]],
    ) -> None:
        self._database = database
        self._store = store
        self._limits = limits
        self._copied = copied

    async def run(self, still: Callable[[], bool], progress: Progressed = untold) -> Collected:
        """Take away what may go now. Whoever calls it holds the lease of the task `gc`; `still` says that they do."""
        collector = Collector(self._database, self._store, self._limits, still=still, progress=progress)
        collected = await collector.run()
        metrics.collected(collected.blobs, collected.freed_bytes)
        return collected

    async def sweep(self, still: Callable[[], bool], progress: Progressed = untold) -> Collected:
        """Look through all bytes for those that no row knows; the next runs take them away. The task is `sweep`."""
        return await Collector(self._database, self._store, self._limits, still=still, progress=progress).sweep()

    async def plan(self, progress: Progressed = untold) -> Collected:
        """What `run` would do now: its own code on a copy of the database, and no byte goes.

        Rolled back in place, it would keep every push waiting until its end.
        """
        async with self._copied() as copy:
            collector = Collector(copy, self._store, self._limits, delete=_leave, progress=progress, pause=0)
            return await collector.run()

    async def explain(self, digest: Digest) -> list[str]:
        """What keeps a digest, a line each; empty when it is not here."""
        return await self._database.read(explain, digest, self._limits.trash, self._limits.doomed)

    async def waiting(self) -> Waiting:
        """What there is to do, and how late it is."""
        return await self._database.read(garbage.waiting, self._limits.trash, self._limits.doomed)


async def _leave(key: str) -> None:
    """Bytes are no business of a plan."""
