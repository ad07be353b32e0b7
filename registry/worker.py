"""One worker: a process that serves the sockets it inherited, until its parent says stop or is gone."""

import asyncio
import ctypes
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass

from registry.access.windows import Windows
from registry.app import make_runner
from registry.assembly import Seat, open_registry
from registry.background import background
from registry.clock import JumpWatch
from registry.config import Settings
from registry.sockets import BACKLOG
from registry.tls import tls_context
from registry.web.site import Site
from storage.failure import FailureMark

BEAT_SECONDS = 1.0
TRIM_SECONDS = 10.0
# How long requests that run may go on after SIGTERM
DRAIN_SECONDS = 30.0
# What a worker says to its parent, a byte each
READY = b"r"
BEAT = b"."


@dataclass(frozen=True, slots=True)
class Post:
    """What the parent hands to a worker. `ended`: owners of leases whose workers are gone; `leads`: one does
    the periodic work for all.
    """

    settings: Settings
    sockets: Sequence[socket.socket]
    channel: socket.socket
    seat: Seat
    mark: FailureMark
    windows: Windows
    clock: JumpWatch
    ended: Sequence[str]
    leads: bool


def work(post: Post) -> None:
    """Serve until SIGTERM, then finish what runs. Ctrl-C in a terminal reaches the parent too, which decides."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    asyncio.run(_serve(post))


async def _serve(post: Post) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    registry = open_registry(post.settings, seat=post.seat, mark=post.mark, windows=post.windows)
    periodic: AbstractAsyncContextManager[None] = background(registry, post.clock) if post.leads else nullcontext()
    try:
        await registry.uploads.clear_leases(post.ended)
        runner = make_runner(registry)
        await runner.setup()
        context = tls_context(post.settings)
        for listening in post.sockets:
            # One at a time: workers that are busy take fewer of them
            await Site(runner, listening, backlog=1, ssl_context=context).start()
            listening.listen(BACKLOG)  # asyncio has set the kernel's queue to the same 1
        async with _linked(post.channel), periodic:
            await stop.wait()
            await runner.drain(DRAIN_SECONDS)
    finally:
        await registry.close()


@asynccontextmanager
async def _linked(channel: socket.socket) -> AsyncIterator[None]:
    """Tell the parent that this worker is ready and alive; end at once when there is no parent any more."""
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
