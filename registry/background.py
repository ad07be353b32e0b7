"""Work that nobody waits for: one worker does it for all while the registry serves."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from registry import metrics
from registry.assembly import Registry
from registry.clock import JumpWatch, wall_clock
from registry.domain.errors import RegistryError
from registry.metadata import instances, snapshots

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 60.0
SNAPSHOT_EVERY = 86_400_000
# SQLite's write-ahead log is reused from about 4 MiB on, unless somebody reads one snapshot for very long
LARGE_LOG = 256 * 1024 * 1024


@asynccontextmanager
async def background(registry: Registry, clock: JumpWatch) -> AsyncIterator[None]:
    """Run the periodic work as long as the block runs."""
    task = asyncio.create_task(_work_forever(registry, clock))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _work_forever(registry: Registry, clock: JumpWatch) -> None:
    while True:
        try:
            await work_once(registry, clock)
        except (RegistryError, snapshots.NoSpaceError) as error:
            log.warning("background work failed and will be tried again: %s", error)
        except Exception:
            log.exception("background work failed and will be tried again")
        await asyncio.sleep(INTERVAL_SECONDS)


async def work_once(registry: Registry, clock: JumpWatch) -> None:
    """Show that this server lives, forget what has expired, seal events, copy the database once a day."""
    await registry.database.write(instances.beat, registry.instance.id)
    await registry.database.take_reserve()
    if clock.trusted():
        expired = await registry.uploads.expire()
        refused = await registry.uploads.end_refused(registry.access.authenticator.may_push)
        await registry.access.forget_expired()
        metrics.task_succeeded("expiry", wall_clock())
        if expired:
            log.info("%d uploads expired", expired)
        if refused:
            log.info("%d uploads ended: their owners may push there no more", refused)
        await asyncio.to_thread(_snapshot, registry)
    while await registry.access.audit.seal():
        pass
    metrics.task_succeeded("seal", wall_clock())
    await asyncio.to_thread(check_log, registry.settings.database.path)


def check_log(path: Path) -> None:
    """Warn when the database can't tidy up behind itself (S-13)."""
    size = path.with_name(f"{path.name}-wal").stat().st_size
    if size > LARGE_LOG:
        log.warning("%s-wal has grown to %d MiB: a process reads %s and does not end", path, size >> 20, path)


def _snapshot(registry: Registry) -> None:
    path, now = registry.settings.database.path, wall_clock()
    last = snapshots.newest(path, now)
    if last is None or now - last >= SNAPSHOT_EVERY:
        log.info("the database was copied to %s", snapshots.take_daily(path, now))
        last = now
    metrics.task_succeeded("snapshot", last)
