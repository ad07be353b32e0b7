"""What ties a process of the server to its parent: what it is given, and the signs of life that it gives."""

import asyncio
import ctypes
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from registry.access.windows import Windows
from registry.assembly import Registry, Seat, open_registry
from registry.clock import JumpWatch
from registry.config import Settings
from storage.failure import FailureMark

BEAT_SECONDS = 1.0
TRIM_SECONDS = 10.0
# What a process says to its parent, a byte each
READY = b"r"
BEAT = b"."


@dataclass(frozen=True, slots=True)
class Post:
    """What the parent hands to a process. `ended`: owners of leases whose processes are gone."""

    settings: Settings
    sockets: Sequence[socket.socket]
    channel: socket.socket
    seat: Seat
    mark: FailureMark
    windows: Windows
    clock: JumpWatch
    ended: Sequence[str]

    def open(self) -> Registry:
        return open_registry(self.settings, seat=self.seat, mark=self.mark, windows=self.windows, watch=self.clock)

    async def relieve(self, registry: Registry) -> None:
        """Free what processes held that have ended."""
        await registry.uploads.clear_leases(self.ended)
        await registry.tasks.clear(self.ended)


@asynccontextmanager
async def linked(channel: socket.socket) -> AsyncIterator[None]:
    """Tell the parent that this process is ready and alive; end at once when there is no parent any more."""
    loop = asyncio.get_running_loop()
    channel.setblocking(False)
    loop.add_reader(channel, lambda: os._exit(1))
    tasks = [asyncio.create_task(_beat(channel)), asyncio.create_task(_give_back())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        loop.remove_reader(channel)


async def _give_back() -> None:
    """Return freed memory to the system: glibc would keep what a crowd of connections once needed. Takes 1 ms."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(TRIM_SECONDS)
        trim(0)


async def _beat(channel: socket.socket) -> None:
    message = READY
    while True:
        with suppress(BlockingIOError, BrokenPipeError):
            channel.send(message)
        message = BEAT
        await asyncio.sleep(BEAT_SECONDS)
