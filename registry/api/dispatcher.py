"""Every request to `/v2/` goes through here: find the endpoint, ask whether it may, run it, tell what went wrong.

It stands below aiohttp's Application: router, decorators and middleware would cost more than a manifest's look-up.
"""

import logging

from aiohttp import web
from aiohttp.web_request import BaseRequest

from registry import metrics
from registry.api.call import Call, decide, empty
from registry.api.routes import ENDPOINTS, METHODS, Endpoint
from registry.api.routing import Route, Target, parse_target
from registry.assembly import Registry
from registry.domain.access import Identity
from registry.domain.errors import Denied, RegistryError, Unauthorized, Unsupported
from registry.domain.names import RepositoryName
from registry.domain.scopes import needed
from registry.web.browsers import BrowserGuard
from registry.web.callers import caller_of
from registry.web.challenges import challenged
from registry.web.errors import break_off, error_response
from registry.web.requests import ROUTE, client_address, peer_of, request_id

log = logging.getLogger(__name__)

_WORDS = {route: route.name.lower() for route in Route}
_WITHOUT_REPOSITORY = (Route.PING, Route.CATALOG)


class Dispatcher:
    """Callable as a request handler of aiohttp's low-level server."""

    def __init__(self, registry: Registry, guard: BrowserGuard) -> None:
        self._registry = registry
        self._guard = guard

    async def __call__(self, request: BaseRequest) -> web.StreamResponse:
        metrics.request_began()
        try:
            return await self._answer(request)
        except RegistryError as error:
            return self._refusal(request, error)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request %s failed", request_id(request))
            return self._refusal(request, RegistryError())
        finally:
            metrics.request_ended()

    async def _answer(self, request: BaseRequest) -> web.StreamResponse:
        target = parse_target(request.raw_path)
        request[ROUTE] = _WORDS[target.route]
        endpoint = ENDPOINTS.get((target.route, request.method))
        if endpoint is None:
            return self._other_method(request, target.route)
        if request.method not in ("GET", "HEAD"):
            self._guard.check(request)
        named = target.route not in _WITHOUT_REPOSITORY
        repository = RepositoryName.parse(target.name) if named else RepositoryName()
        access, authorization = self._registry.access, request.headers.get("Authorization")
        access.limits.check_address(client_address(request))
        try:
            identity = access.authenticator.recall(authorization, for_upload=endpoint.is_located)
            if identity is None:
                identity = await access.authenticator.identify(
                    authorization, peer_of(request), for_upload=endpoint.is_located
                )
            call = self._call(request, endpoint, target, repository, identity)
            decide(call, endpoint.action)
            return await endpoint.handler(call)
        except Unauthorized as error:
            scopes = error.scopes or needed(endpoint.action, repository)
            raise challenged(self._registry, error, peer_of(request), scopes) from error
        except Denied as error:
            if identity is not None and error.status == Denied.status:  # not a failed condition
                await access.denials.record(call.caller, repository, error.action or endpoint.action)
            raise

    def _call(
        self, request: BaseRequest, endpoint: Endpoint, target: Target, repository: RepositoryName, identity: Identity
    ) -> Call:
        """Raise TooManyRequests, or what is wrong with the reference."""
        return Call(
            request=request,
            registry=self._registry,
            caller=caller_of(self._registry, request, identity),
            repository=repository,
            reference=endpoint.reference(target.argument) if endpoint.reference else None,
            upload_id=target.argument,
            query=target.query,
        )

    def _other_method(self, request: BaseRequest, route: Route) -> web.StreamResponse:
        allowed = {"Allow": METHODS[route]}
        if request.method == "OPTIONS":
            return empty(204, allowed)
        raise Unsupported("this method is not allowed here; see Allow", headers=allowed)

    def _refusal(self, request: BaseRequest, error: RegistryError) -> web.StreamResponse:
        if request.writer.output_size > 0:
            # A second head in the middle of a body would pass for content
            log.error("request %s failed in the middle of its answer: %s", request_id(request), error.message)
            break_off(request)
            raise ConnectionError("the answer had begun") from error
        return error_response(error)
