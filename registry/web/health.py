"""Health: for machines that decide whether to send requests here, or to start us anew."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from registry.assembly import Registry

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def live(request: web.Request) -> web.StreamResponse:
    """200 as long as the event loop turns."""
    return _answer([])


def ready(registry: Registry) -> Handler:
    """200 when reads can be served, with `?write=1` pushes too; else 503 with the reasons."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return _answer(await registry.readiness.reasons(write=request.query.get("write") == "1"))

    return answer


def _answer(reasons: list[str]) -> web.Response:
    body = msgspec.json.encode({"status": "unavailable" if reasons else "ok", "reasons": reasons})
    return web.Response(
        status=503 if reasons else 200,
        body=body,
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )
