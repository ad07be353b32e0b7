"""/metrics, as Prometheus asks for it."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from registry import metrics
from registry.assembly import Registry
from registry.domain.errors import RegistryError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def scrape(registry: Registry) -> Handler:
    """The metrics of all workers, whichever of them answers."""

    async def answer(request: web.Request) -> web.StreamResponse:
        quarantined, garbage = await _quarantined(registry), await _garbage(registry)
        body = await asyncio.to_thread(lambda: metrics.render(_state(registry, quarantined, garbage)))
        headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4, "Cache-Control": "no-store"}
        return web.Response(body=body, headers=headers)

    return answer


async def _quarantined(registry: Registry) -> int | None:
    with suppress(RegistryError):  # what is counted here goes on without a database
        return await registry.quarantine.count()
    return None


async def _garbage(registry: Registry) -> tuple[int, float] | None:
    with suppress(RegistryError):
        waiting = await registry.gc.waiting()
        return waiting.entries + waiting.links + waiting.keys, waiting.late / 1000
    return None


def _state(registry: Registry, quarantined: int | None, garbage: tuple[int, float] | None) -> metrics.State:
    settings = registry.settings
    volumes = {"blobs": settings.storage.filesystem.rootdirectory, "database": settings.database.path.parent}
    free = {}
    for volume, path in volumes.items():
        with suppress(OSError):  # /readyz tells of a volume that is gone
            free[volume] = shutil.disk_usage(path).free
    return metrics.State(registry.instance.version, registry.readiness.store_failed, free, quarantined, garbage)
