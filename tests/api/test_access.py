"""Every route asks `decide`, and what the registry as a whole refuses is refused on every route."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from aiohttp.web_request import BaseRequest
from pytest_aiohttp import AiohttpClient, AiohttpRawServer

from registry.access.policy import Policy
from registry.api.dispatcher import Dispatcher
from registry.api.routes import ENDPOINTS
from registry.api.routing import Route
from registry.assembly import Registry
from registry.domain.access import Action, Identity
from registry.domain.errors import Denied, RegistryError
from registry.domain.names import Digest, RepositoryName, Tag
from registry.web.browsers import BrowserGuard
from tests.support.registry import Clock, opened

DIGEST = "sha256:" + "a" * 64
TARGETS = {
    Route.PING: "/v2/",
    Route.CATALOG: "/v2/_catalog",
    Route.TAGS: "/v2/a/b/tags/list",
    Route.MANIFEST: "/v2/a/b/manifests/v1",
    Route.BLOB: f"/v2/a/b/blobs/{DIGEST}",
    Route.UPLOADS: "/v2/a/b/blobs/uploads/",
    Route.UPLOAD: "/v2/a/b/blobs/uploads/" + "0" * 32,
    Route.REFERRERS: f"/v2/a/b/referrers/{DIGEST}",
}
ROUTES = [(route, method, endpoint.action) for (route, method), endpoint in ENDPOINTS.items()]

Client = TestClient[BaseRequest, Any]
Connect = Callable[[Policy, BrowserGuard], Any]


class Refusing(Policy):
    """Says no, and remembers the questions."""

    def __init__(self) -> None:
        super().__init__(readonly=False, deletion=True)
        self.asked: list[tuple[Action, str | None, str | None]] = []

    def decide(
        self,
        identity: Identity,
        action: Action,
        repository: RepositoryName | None = None,
        reference: Tag | None = None,
        digest: Digest | None = None,
    ) -> RegistryError | None:
        self.asked.append((action, repository, reference or digest))
        return Denied()


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with opened(tmp_path, Clock()) as registry:
        yield registry


@pytest.fixture
def connect(registry: Registry, aiohttp_raw_server: AiohttpRawServer, aiohttp_client: AiohttpClient) -> Connect:
    async def to(policy: Policy, guard: BrowserGuard) -> Client:
        dispatcher = Dispatcher(replace(registry, policy=policy), guard)

        async def answer(request: BaseRequest) -> web.StreamResponse:
            return await dispatcher(request)

        return await aiohttp_client(await aiohttp_raw_server(answer))

    return to


HERE = BrowserGuard(loopback_only=True, host="")


def test_every_route_has_a_target() -> None:
    assert set(TARGETS) == set(Route) == {route for route, _, _ in ROUTES}


@pytest.mark.parametrize(("route", "method", "action"), ROUTES)
async def test_every_route_asks_first(connect: Connect, route: Route, method: str, action: Action) -> None:
    policy = Refusing()
    client = await connect(policy, HERE)
    answer = await client.request(method, TARGETS[route])
    named = None if route in (Route.PING, Route.CATALOG) else "a/b"
    assert (answer.status, [asked[:2] for asked in policy.asked]) == (403, [(action, named)])


@pytest.mark.parametrize(("route", "method", "action"), ROUTES)
async def test_read_only_refuses_every_write(connect: Connect, route: Route, method: str, action: Action) -> None:
    client = await connect(Policy(readonly=True, deletion=True), HERE)
    answer = await client.request(method, TARGETS[route])
    assert (answer.status == 405) == (action in (Action.PUSH, Action.DELETE))


@pytest.mark.parametrize("target", [TARGETS[Route.MANIFEST], f"/v2/a/b/manifests/{DIGEST}", TARGETS[Route.BLOB]])
async def test_deletion_can_be_switched_off(connect: Connect, target: str) -> None:
    client = await connect(Policy(readonly=False, deletion=False), HERE)
    answer = await client.delete(target)
    assert (answer.status, (await answer.json())["errors"][0]["code"]) == (405, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost:5000"}, 202),
        ({"Host": "[::1]:5000"}, 202),
        ({"Host": "registry.example"}, 202),
        ({"Host": "registry.example", "Origin": "http://registry.example"}, 202),
    ],
)
async def test_pages_of_strangers_can_not_write(connect: Connect, headers: dict[str, str], status: int) -> None:
    guard = BrowserGuard(loopback_only=True, host="http://registry.example")
    client = await connect(Policy(readonly=False, deletion=True), guard)
    answer = await client.post(TARGETS[Route.UPLOADS], headers=headers)
    assert answer.status == status


async def test_reads_are_for_every_host(connect: Connect) -> None:
    client = await connect(Policy(readonly=False, deletion=True), HERE)
    answer = await client.get("/v2/", headers={"Host": "evil.example", "Origin": "http://evil.example"})
    assert answer.status == 200


async def test_other_methods_say_which_there_are(connect: Connect) -> None:
    client = await connect(Policy(readonly=False, deletion=True), HERE)
    refused = await client.put(TARGETS[Route.TAGS])
    told = await client.options(TARGETS[Route.TAGS])
    assert (refused.status, told.status) == (405, 204)
    assert refused.headers["Allow"] == told.headers["Allow"] == "GET, HEAD, OPTIONS"
