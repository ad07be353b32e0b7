"""Every request for a page goes through here: who asks, what they see, or a page that says what went wrong."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from registry.assembly import Registry
from registry.domain.errors import RegistryError, Unauthorized, Unsupported
from registry.domain.problems import Problem
from registry.pages.views import Shown, View, Visit, home, nothing, repository
from registry.web.browsers import BrowserGuard
from registry.web.callers import identified
from registry.web.challenges import challenged_person
from registry.web.requests import ROUTE, peer_of, request_id

log = logging.getLogger(__name__)

# No script at all, and nothing from elsewhere
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
_PAGE = {**_HEADERS, "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
_STYLE = {**_HEADERS, "Content-Type": "text/css; charset=utf-8", "Cache-Control": "max-age=300"}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_pages(app: web.Application, registry: Registry, guard: BrowserGuard) -> None:
    """Serve pages too."""
    pages = Pages(registry, guard)
    app.router.add_route("*", "/", pages.served(pages.show(home)))
    app.router.add_route("*", "/ui/style.css", pages.served(style))
    app.router.add_route("*", r"/ui/r/{name:[\s\S]+}", pages.served(pages.show(repository)))
    app.router.add_route("*", r"/ui{rest:(?:/[\s\S]*)?}", pages.served(pages.show(nothing)))


class Pages:
    """Answers in HTML, also when it refuses."""

    def __init__(self, registry: Registry, guard: BrowserGuard) -> None:
        self._registry = registry
        self._guard = guard

    def served(self, answer: Answer) -> Answer:
        """The handler for a route; only GET and HEAD there are."""

        async def handle(request: web.Request) -> web.StreamResponse:
            request[ROUTE] = "page"
            try:
                _check_method(request)
                return await answer(request)
            except (Problem, RegistryError) as error:
                return await _refusal(request, error)
            except (web.HTTPSeeOther, ConnectionError):
                raise
            except Exception:
                log.exception("request %s failed", request_id(request))
                return await _refusal(request, RegistryError())

        return handle

    def show(self, view: View) -> Answer:
        async def answer(request: web.Request) -> web.StreamResponse:
            self._guard.check_page(request)
            try:
                shown = await view(Visit(self._registry, request, await identified(self._registry, request)))
            except Unauthorized as error:
                raise challenged_person(self._registry, error, peer_of(request)) from error
            return web.Response(body=await asyncio.to_thread(_render, shown), headers=_PAGE)

        return answer


async def style(request: web.Request) -> web.StreamResponse:
    return web.Response(body=_style(), headers=_STYLE)


def _check_method(request: web.Request) -> None:
    if request.method not in ("GET", "HEAD"):
        raise Unsupported("pages are only read", headers={"Allow": "GET, HEAD"})


async def _refusal(request: web.Request, error: Problem | RegistryError) -> web.Response:
    detail, headers = (error.detail, {}) if isinstance(error, Problem) else (error.message, error.headers)
    phrase = HTTPStatus(error.status).phrase
    values = {"status": error.status, "phrase": phrase, "detail": detail, "request_id": request_id(request)}
    body = await asyncio.to_thread(_render, Shown("error.html", values))
    return web.Response(status=error.status, body=body, headers={**_PAGE, **headers})


def _render(shown: Shown) -> bytes:
    from registry.pages.rendering import render  # noqa: PLC0415 - only where pages are looked at

    return render(shown.template, shown.values)


@cache
def _style() -> bytes:
    return Path(__file__).with_name("style.css").read_bytes()
