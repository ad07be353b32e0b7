"""Whose requests renew leases on content: HEADs of those who may push, and no others (design P9)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web_request import BaseRequest
from pytest_aiohttp import AiohttpClient, AiohttpRawServer

from registry.access.policy import Policy
from registry.api.dispatcher import Dispatcher
from registry.assembly import Registry, open_registry
from registry.metadata.schema import upgrade
from registry.web.browsers import BrowserGuard
from tests.support.access import add_user, basic, bearer, operate, required_server, required_settings, token
from tests.support.registry import DAY, NAME, Clock, execute
from tests.support.routes import IMAGE, LOOSE, TAG, stock
from tests.support.server import LiveServer
from tests.support.wire import eventually, request

BASE = f"/v2/{NAME}"
PATHS = {
    "blob": f"{BASE}/blobs/{LOOSE.digest}",
    "tag": f"{BASE}/manifests/{TAG}",
    "digest": f"{BASE}/manifests/{IMAGE.digest}",
}
PUSHER, PULLER = "pusher", "puller"
SHORT = DAY // 10
# Who asks, and what is left of a short lease then
WHO = [("HEAD", PUSHER, DAY), ("HEAD", PULLER, SHORT), ("GET", PUSHER, SHORT), ("GET", PULLER, SHORT)]


@dataclass
class Site:
    """A registry where grants decide, whose clock stands still."""

    registry: Registry
    client: TestClient[BaseRequest, Any]

    async def ask(self, method: str, path: str, user: str, **headers: str) -> int:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, path, headers={**basic(user), **fields}) as answer:
            await answer.read()
            return answer.status

    async def shorten(self) -> None:
        for table in ("link", "manifest"):
            await execute(self.registry, f"UPDATE {table} SET keep_until = digestry_now() + ?", SHORT)

    async def left(self, path: str) -> int:
        table, digest = ("link", LOOSE.digest) if "/blobs/" in path else ("manifest", IMAGE.digest)
        statement = f"SELECT keep_until - digestry_now() FROM {table} WHERE digest = ?"
        return int((await execute(self.registry, statement, digest))[0][0])


Open = Callable[..., Awaitable[Site]]


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    upgrade(tmp_path / "registry.db")
    registry = open_registry(required_settings(tmp_path), now=Clock())
    await stock(registry, NAME)
    await execute(registry, "DELETE FROM link WHERE repository_id <> (SELECT id FROM repository WHERE name = ?)", NAME)
    await add_user(registry, PUSHER, **{NAME: "pull,push"})
    await add_user(registry, PULLER, **{NAME: "pull,delete"})
    yield registry
    await registry.close()


@pytest.fixture
def serve(registry: Registry, aiohttp_raw_server: AiohttpRawServer, aiohttp_client: AiohttpClient) -> Open:
    async def site(**changed: Any) -> Site:
        dispatcher = Dispatcher(replace(registry, **changed), BrowserGuard(loopback_only=False, host=""))
        return Site(registry, await aiohttp_client(await aiohttp_raw_server(dispatcher)))

    return site


@pytest.mark.parametrize(("method", "user", "left"), WHO)
async def test_a_head_of_whoever_may_push_renews(serve: Open, method: str, user: str, left: int) -> None:
    site = await serve()
    for path in PATHS.values():
        await site.shorten()
        assert await site.ask(method, path, user) == 200
        await site.registry.content_leases.close()
        assert await site.left(path) == left, path


@pytest.mark.parametrize(("method", "user", "left"), WHO)
async def test_a_manifest_that_the_client_has_counts_too(serve: Open, method: str, user: str, left: int) -> None:
    site = await serve()
    for path in (PATHS["tag"], PATHS["digest"]):
        await site.shorten()
        assert await site.ask(method, path, user, If_None_Match=f'"{IMAGE.digest}"') == 304
        assert await site.left(path) == left, path


async def test_a_read_only_registry_renews_nothing(serve: Open) -> None:
    site = await serve(policy=Policy(readonly=True, deletion=True))
    await site.shorten()
    for path in PATHS.values():
        assert await site.ask("HEAD", path, PUSHER) == 200
        assert await site.left(path) == SHORT, path


HIDDEN = {
    "link": ("blob", "UPDATE link SET deleted_at = 1"),
    "quarantined": ("blob", "UPDATE blob SET state = 'quarantined'"),
    "manifest": ("digest", "UPDATE manifest SET deleted_at = 1"),
    "manifest of a tag": ("tag", "UPDATE manifest SET deleted_at = 1"),
    "repository of a blob": ("blob", "UPDATE repository SET deleted_at = 1"),
    "repository of a tag": ("tag", "UPDATE repository SET deleted_at = 1"),
}


@pytest.mark.parametrize(("noun", "hide"), HIDDEN.values(), ids=HIDDEN)
async def test_what_is_hidden_is_unknown_and_not_renewed(serve: Open, noun: str, hide: str) -> None:
    site = await serve()
    await site.shorten()
    await execute(site.registry, hide)
    assert await site.ask("HEAD", PATHS[noun], PUSHER) == 404
    assert await site.left(PATHS[noun]) == SHORT


async def test_what_is_missing_is_unknown(serve: Open) -> None:
    site = await serve()
    for missing in (f"blobs/sha256:{'0' * 64}", f"manifests/sha256:{'0' * 64}", "manifests/none"):
        assert await site.ask("HEAD", f"{BASE}/{missing}", PUSHER) == 404, missing


# --- real servers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with required_server(tmp_path, "bearer") as server:
        operate(server, lambda registry: stock(registry, NAME))
        operate(server, lambda registry: add_user(registry, PUSHER, **{NAME: "pull,push"}))
        yield server


def shorten(server: LiveServer, left: int) -> None:
    async def run(registry: Registry) -> None:
        for table in ("link", "manifest"):
            await execute(registry, f"UPDATE {table} SET keep_until = digestry_now() + ?", left)

    operate(server, run)


def left_of(server: LiveServer, noun: str) -> int:
    async def run(registry: Registry) -> int:
        table, digest = ("link", LOOSE.digest) if noun == "blob" else ("manifest", IMAGE.digest)
        statement = (
            f"SELECT keep_until - digestry_now() FROM {table} JOIN repository ON id = repository_id"
            " WHERE name = ? AND digest = ?"
        )
        return int((await execute(registry, statement, NAME, digest))[0][0])

    return operate(server, run)


def test_what_a_head_promised_outlives_a_kill(server: LiveServer) -> None:
    shorten(server, SHORT)
    for path in PATHS.values():
        assert request(server, "HEAD", path, headers=basic(PUSHER)).status == 200
    server.kill()
    server.start()
    assert all(left_of(server, noun) > DAY // 2 for noun in PATHS)


def test_what_can_wait_is_written_soon_or_when_the_server_stops(server: LiveServer) -> None:
    shorten(server, DAY * 3 // 10)
    assert request(server, "HEAD", PATHS["blob"], headers=basic(PUSHER)).status == 200
    eventually(lambda: left_of(server, "blob") > DAY // 2)
    assert request(server, "HEAD", PATHS["tag"], headers=basic(PUSHER)).status == 200
    assert server.stop() == 0
    assert left_of(server, "tag") > DAY // 2


def test_a_token_for_pulls_alone_renews_nothing(server: LiveServer) -> None:
    shorten(server, SHORT)
    for verbs, renewed in (("pull", False), ("pull,push", True)):
        credentials = bearer(token(server, basic(PUSHER), f"repository:{NAME}:{verbs}"))
        assert request(server, "HEAD", PATHS["blob"], headers=credentials).status == 200
        assert (left_of(server, "blob") > DAY // 2) is renewed
