"""Everything that answers HTTP: the API on its dispatcher, the rest on aiohttp's Application."""

from aiohttp import web
from aiohttp.typedefs import Handler

from registry.admin.dispatcher import add_admin
from registry.api.dispatcher import Dispatcher
from registry.api.tokens import token_by_get, token_by_post
from registry.assembly import Registry
from registry.config import auth_mode
from registry.domain.errors import EndpointUnknown, RegistryError, Unsupported
from registry.pages.dispatcher import add_pages
from registry.web import health
from registry.web.browsers import BrowserGuard
from registry.web.challenges import TOKEN_PATH
from registry.web.deadlines import Deadlines
from registry.web.errors import error_response
from registry.web.protocol import Runner
from registry.web.proxies import TrustedProxies
from registry.web.requests import stamp
from registry.web.scrape import scrape

DEADLINES = Deadlines()


def make_runner(registry: Registry, *, deadlines: Deadlines = DEADLINES) -> Runner:
    """The server of this registry; `setup` it, then give it sites. Only tests have other deadlines."""
    trusted = registry.settings.http.trustedproxies
    return Runner(
        Dispatcher(registry, _guard(registry)),
        make_app(registry),
        deadlines=deadlines,
        proxies=TrustedProxies(trusted) if trusted else None,
    )


def make_app(registry: Registry) -> web.Application:
    """Tokens, administration, pages, health, metrics, and JSON for whatever is not there."""
    app = web.Application(middlewares=[_errors])
    app.on_response_prepare.append(_stamp)
    app.router.add_get("/livez", health.live)
    for path in ("/readyz", "/healthz", "/startupz"):
        app.router.add_get(path, health.ready(registry))
    app.router.add_get("/metrics", scrape(registry))
    app.router.add_get(TOKEN_PATH, token_by_get(registry))
    app.router.add_post(TOKEN_PATH, token_by_post(registry))
    add_admin(app, registry, _guard(registry))
    add_pages(app, registry, _guard(registry))
    return app


async def _stamp(request: web.Request, response: web.StreamResponse) -> None:
    stamp(request, response)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RegistryError as error:
        return error_response(error)
    except web.HTTPMethodNotAllowed as error:
        return error_response(Unsupported(headers={"Allow": error.headers["Allow"]}))
    except web.HTTPNotFound:
        return error_response(EndpointUnknown())


def _guard(registry: Registry) -> BrowserGuard:
    return BrowserGuard(loopback_only=auth_mode(registry.settings) == "open", host=registry.settings.http.host)
