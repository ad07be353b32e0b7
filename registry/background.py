"""Work that nobody waits for: the keeper does it while the registry serves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from registry import metrics
from registry.assembly import Registry
from registry.clock import wall_clock
from registry.content.tasks import Turn
from registry.domain.errors import RegistryError
from registry.metadata import instances, snapshots

log = logging.getLogger(__name__)

MINUTE, DAY = 60_000, 86_400_000
BEAT_SECONDS = 60.0
# How soon a task starts that somebody wants, and one that has failed
POLL_SECONDS = 5.0
RETRY_SECONDS = 60.0
# How long the scrub works before it asks whether it still has its turn
SCRUB_SECONDS = 1.0
# SQLite's write-ahead log is reused from about 4 MiB on, unless somebody reads one snapshot for very long
LARGE_LOG = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Task:
    """Work that one process does for all: each `interval` milliseconds, or as soon as somebody wants it.

    What takes long asks its turn before each step. `judges`: it ends things by their age, so it waits while the
    clock can't be trusted.
    """

    name: metrics.Task
    interval: int
    run: Callable[[Turn], Awaitable[None]]
    judges: bool = False


def periodic(registry: Registry) -> list[Task]:
    return [
        Task("expiry", MINUTE, partial(_expire, registry), judges=True),
        Task("seal", MINUTE, partial(_seal, registry)),
        Task("snapshot", DAY, partial(_copy, registry), judges=True),
        Task("gc", registry.settings.gc.interval, partial(_collect, registry), judges=True),
        Task("sweep", 7 * DAY, partial(_sweep, registry), judges=True),
        Task("scrub", MINUTE, partial(_scrub, registry)),
    ]


@asynccontextmanager
async def background(registry: Registry) -> AsyncIterator[None]:
    """Do the periodic work as long as the block runs: each task beside the others, so that a long one delays none."""
    works = [_repeat("heartbeat", partial(_beat, registry), BEAT_SECONDS)]
    works += [_repeat(task.name, partial(do, registry, task), POLL_SECONDS) for task in periodic(registry)]
    running = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def do(registry: Registry, task: Task) -> None:
    """Do a task, if it is due and nobody else is at it."""
    if task.judges and not await registry.clock.trusted():
        return
    state = await registry.tasks.state(task.name)
    if state.is_due(task.interval) and not state.running:
        also = registry.clock.seems_trusted if task.judges else _always
        async with registry.tasks.turn(task.name, also) as turn:
            if turn is not None:
                await task.run(turn)
        state = await registry.tasks.state(task.name)
    if state.done_at is not None:
        metrics.task_succeeded(task.name, state.done_at)


def _always() -> bool:
    return True


async def _repeat(name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        succeeded = await _succeeds(name, work)
        await asyncio.sleep(seconds if succeeded else RETRY_SECONDS)


async def _succeeds(name: str, work: Callable[[], Awaitable[None]]) -> bool:
    try:
        await work()
    except (RegistryError, snapshots.NoSpaceError) as error:
        log.warning("%s failed and will be tried again: %s", name, error)
    except Exception:
        log.exception("%s failed and will be tried again", name)
    else:
        return True
    return False


async def _beat(registry: Registry) -> None:
    """Show that this server lives, and look after its database's files: work that no other server does for it."""
    await registry.database.write(instances.beat, registry.instance.id)
    await registry.database.take_reserve()
    await asyncio.to_thread(check_log, registry.settings.database.path)
    metrics.task_succeeded("heartbeat", wall_clock())


def check_log(path: Path) -> None:
    """Warn when the database can't tidy up behind itself (S-13)."""
    size = path.with_name(f"{path.name}-wal").stat().st_size
    if size > LARGE_LOG:
        log.warning("%s-wal has grown to %d MiB: a process reads %s and does not end", path, size >> 20, path)


async def _expire(registry: Registry, turn: Turn) -> None:
    expired = await registry.uploads.expire()
    refused = await registry.uploads.end_refused(registry.access.authenticator.may_push)
    await registry.access.forget_expired()
    if expired:
        log.info("%d uploads expired", expired)
    if refused:
        log.info("%d uploads ended: their owners may push there no more", refused)


async def _seal(registry: Registry, turn: Turn) -> None:
    while await registry.access.audit.seal():
        pass


async def _copy(registry: Registry, turn: Turn) -> None:
    path = registry.settings.database.path
    log.info("the database was copied to %s", await asyncio.to_thread(snapshots.take_daily, path, wall_clock()))


async def _collect(registry: Registry, turn: Turn) -> None:
    collected = await registry.gc.run(turn.held)
    if collected.blobs or collected.files:
        log.info("%d blobs are not needed any more; %d bytes were freed", collected.blobs, collected.freed_bytes)


async def _scrub(registry: Registry, turn: Turn) -> None:
    while turn.held() and await registry.scrub.some(SCRUB_SECONDS):
        pass


async def _sweep(registry: Registry, turn: Turn) -> None:
    collected = await registry.gc.sweep(turn.held)
    if collected.orphans:
        log.warning("the bytes at %d keys belong to nothing, and will go", collected.orphans)
