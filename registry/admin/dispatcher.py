"""Every request to `/api/` goes through here: find the operation, ask whether it may, run it, tell what went wrong."""

import logging
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from registry.admin.answers import Listed, json_response, problem_response
from registry.admin.inputs import NoQuery, read_query
from registry.admin.operation import Call
from registry.admin.operations import ROOT, find
from registry.assembly import Registry
from registry.domain.access import Action, Identity
from registry.domain.errors import Denied, RegistryError, Unauthorized
from registry.domain.names import RepositoryName
from registry.domain.problems import Problem
from registry.web.browsers import BrowserGuard
from registry.web.callers import identified
from registry.web.challenges import challenged
from registry.web.requests import ROUTE, peer_of, request_id

log = logging.getLogger(__name__)

SCOPE = "registry:api:*"


def add_admin(app: web.Application, registry: Registry, guard: BrowserGuard) -> None:
    """Serve `/api/` too."""
    app.router.add_route("*", r"/api/{path:[\s\S]*}", Dispatcher(registry, guard).answer)


class Dispatcher:
    """Answers in JSON, refusals as problems (RFC 9457)."""

    def __init__(self, registry: Registry, guard: BrowserGuard) -> None:
        self._registry = registry
        self._guard = guard

    async def answer(self, request: web.Request) -> web.StreamResponse:
        request[ROUTE] = "api"
        try:
            return await self._answer(request)
        except (Problem, RegistryError) as error:
            return problem_response(request, error)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request %s failed", request_id(request))
            return problem_response(request, RegistryError())

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        operation, path = find(request.method, request.rel_url.raw_path)
        self._guard.check(request)  # reads too: a page of a stranger must not learn who there is
        peer = peer_of(request)
        try:
            caller = await identified(self._registry, request)
            by_token = caller.identity.token is not None
            caller = replace(caller, identity=_within_api(caller.identity))
            return await self._run(Call(request, self._registry, operation, path, peer, caller, by_token))
        except Unauthorized as error:
            raise challenged(self._registry, error, peer, SCOPE) from error

    async def _run(self, call: Call) -> web.StreamResponse:
        try:
            await call.operation.needs.check(call)
            return await self._handle(call)
        except Denied as error:
            if error.status == Denied.status:  # not a failed condition
                repository = call.repository if "repository" in call.path else RepositoryName()
                await self._registry.access.denials.record(call.caller, repository, error.action or Action.ADMIN)
            raise

    async def _handle(self, call: Call) -> web.StreamResponse:
        operation = call.operation
        if operation.is_secret:
            self._registry.access.logins.check_way(call.peer)
        arguments: dict[str, Any] = dict(call.path)
        query = read_query(call.request, operation.query or NoQuery)
        if operation.query is not None:
            arguments["query"] = query
        if operation.body is not None:
            arguments["body"] = await call.body()
        return self._told(call, await operation.handler(call, **arguments))

    def _told(self, call: Call, answer: Any) -> web.Response:
        operation = call.operation
        if operation.answer is None:
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        base = self._registry.settings.http.host + ROOT
        headers = {}
        if operation.location:
            headers["Location"] = base + operation.location.format_map(msgspec.structs.asdict(answer))
        if isinstance(answer, Listed) and answer.next is not msgspec.UNSET:
            following = {**call.request.rel_url.query, "after": answer.next}
            path = self._registry.settings.http.host + call.request.rel_url.raw_path
            headers["Link"] = f'<{path}?{urlencode(following)}>; rel="next"'
        return json_response(answer, operation.status, headers)


def _within_api(identity: Identity) -> Identity:
    """A token for this API is for all that it does, as far as the grants go."""
    token = identity.token
    return replace(identity, token=None) if token is not None and token.covers(Action.ADMIN, "") else identity
