"""Taking a body in: one piece is written and hashed in threads while the next is received.

Memory is bounded by a budget that the running intakes share: two pieces each, smaller ones when there are many.
A slow disk slows its client, since nothing is read from the connection while a piece waits.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from registry.domain.errors import SizeInvalid
from storage.backend import Staged, StagedWriter
from storage.digest import Hasher

LARGEST_PIECE = 1024 * 1024
SMALLEST_PIECE = 64 * 1024
CHECKPOINT_BYTES = 64 * 1024 * 1024
CHECKPOINT_SECONDS = 10.0
# Below this a thread costs more than the hash
INLINE_HASH = 32 * 1024


Checkpoint: TypeAlias = Callable[[Staged], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes on their way in. `start`: the offset that the client says they continue at; `length`: how many it
    declared. Iterating raises BodyCutOff when the client leaves, RequestInvalid when it sends nonsense.
    """

    pieces: AsyncIterator[bytes]
    start: int | None = None
    length: int | None = None


class ByteBudget:
    """How many bytes all running intakes may hold together, as long as pieces stay above the smallest size."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._sharers = 0

    @property
    def piece(self) -> int:
        share = self._total // (2 * max(self._sharers, 1))
        return max(SMALLEST_PIECE, min(LARGEST_PIECE, share))

    @contextmanager
    def share(self) -> Iterator[None]:
        self._sharers += 1
        try:
            yield
        finally:
            self._sharers -= 1


class Intake:
    """Moves one body into a staged segment. `checkpoint` records what has become durable."""

    def __init__(
        self,
        writer: StagedWriter,
        hasher: Hasher | None,
        threads: Executor,
        checkpoint: Checkpoint,
    ) -> None:
        self._writer = writer
        self._hasher = hasher
        self._threads = threads
        self._checkpoint = checkpoint
        self._working: asyncio.Task[None] | None = None
        self._unsynced = 0
        self._synced_at = asyncio.get_running_loop().time()

    async def take(self, body: Body, budget: ByteBudget) -> None:
        """Receive the body whole; raise SizeInvalid when it has not the declared length."""
        received, buffer = 0, bytearray()
        try:
            with budget.share():
                async for chunk in body.pieces:
                    received += len(chunk)
                    if body.length is not None and received > body.length:
                        raise SizeInvalid()
                    buffer += chunk
                    if len(buffer) >= budget.piece:
                        await self._hand_over(buffer)
                        buffer = bytearray()
        finally:
            if buffer:
                await self._hand_over(buffer)
            await self._settle()
        if body.length is not None and received < body.length:
            raise SizeInvalid()

    async def _hand_over(self, piece: bytearray) -> None:
        await self._settle()
        due = asyncio.get_running_loop().time() - self._synced_at >= CHECKPOINT_SECONDS
        if self._unsynced >= CHECKPOINT_BYTES or (due and self._unsynced):
            await self._checkpoint(await self._writer.sync())
            self._unsynced = 0
            self._synced_at = asyncio.get_running_loop().time()
        self._unsynced += len(piece)
        self._working = asyncio.create_task(self._work(piece))

    async def _settle(self) -> None:
        working, self._working = self._working, None
        if working is not None:
            await working

    async def _work(self, piece: bytearray) -> None:
        if self._hasher is None:
            await self._writer.write(piece)
        elif len(piece) < INLINE_HASH:
            self._hasher.update(piece)
            await self._writer.write(piece)
        else:
            loop = asyncio.get_running_loop()
            hashing = loop.run_in_executor(self._threads, self._hasher.update, piece)
            try:
                await self._writer.write(piece)
            finally:
                await hashing
