"""Work that nobody waits for, while the registry serves."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from registry.assembly import Registry
from registry.domain.errors import RegistryError
from registry.metadata import instances

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 60.0


@asynccontextmanager
async def background(registry: Registry) -> AsyncIterator[None]:
    """Run the periodic work as long as the block runs."""
    task = asyncio.create_task(_work_forever(registry))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _work_forever(registry: Registry) -> None:
    while True:
        try:
            await work_once(registry)
        except RegistryError as error:
            log.warning("background work failed and will be tried again: %s", error.message)
        except Exception:
            log.exception("background work failed and will be tried again")
        await asyncio.sleep(INTERVAL_SECONDS)


async def work_once(registry: Registry) -> None:
    """Show that this process lives, and forget uploads whose time is over."""
    await registry.database.write(instances.beat, registry.instance.id)
    expired = await registry.uploads.expire()
    if expired:
        log.info("%d uploads expired", expired)
