"""A push behind TLS that takes longer than its token lives, and one whose right ends in the middle."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPSConnection
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, ClientTimeout

from tests.support.access import add_user, basic, bearer, operate, required, revoke
from tests.support.nginx import Proxy, nginx_before
from tests.support.ports import free_port
from tests.support.server import LiveServer
from tests.support.wire import assert_no_traceback, query

MIB = 1024 * 1024
SIZE = 2048 * MIB
PIECE = bytes(range(256)) * 4096
SCOPE = "repository:team/app:pull,push"
# A token of 60 s is taken for another minute, for clocks that differ
TOKEN_SECONDS = 60
GONE_SECONDS = TOKEN_SECONDS + 60 + 2
# How soon a right that has ended stops a push
REVOCATION_SECONDS = 5.0


@dataclass(frozen=True)
class Site:
    proxy: Proxy
    server: LiveServer

    def connection(self) -> HTTPSConnection:
        return HTTPSConnection(self.proxy.host, context=self.proxy.trusting, timeout=120)

    def ask(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """One request without a body, on a connection of its own."""
        with closing(self.connection()) as connection:
            connection.request(method, target, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()

    def token(self, name: str) -> dict[str, str]:
        status, _, body = self.ask("GET", f"/auth/token?service=x&scope={SCOPE}", basic(name))
        assert status == 200, body
        told = json.loads(body)
        assert told["expires_in"] == TOKEN_SECONDS
        return bearer(told["token"])

    def start(self, token: Mapping[str, str]) -> str:
        status, headers, body = self.ask("POST", "/v2/team/app/blobs/uploads/", {**token, "Content-Length": "0"})
        assert status == 202, body
        return headers["Location"]


@dataclass(frozen=True)
class Sent:
    status: int
    location: str
    body: bytes
    answered_at: float


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with nginx_before(free_port(), folder / "nginx") as proxy:
        variables = {"REGISTRY_AUTH_TOKEN_EXPIRY": f"{TOKEN_SECONDS}s", "REGISTRY_HTTP_WORKERS": "2"}
        server = LiveServer(folder / "server", {**required(**variables), **proxy.variables}).start()
        try:
            yield Site(proxy, server)
            assert_no_traceback(server)
        finally:
            assert server.stop() == 0


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // len(PIECE)):
        yield PIECE


def send(site: Site, location: str, size: int, token: Mapping[str, str]) -> Sent:
    """PATCH so many bytes; the answer may come in their middle."""

    async def run() -> Sent:
        async with ClientSession(timeout=ClientTimeout(total=300)) as session:
            request = session.patch(location, data=_pieces(size), headers=token, ssl=site.proxy.trusting)
            async with request as answer:
                at = time.monotonic()
                sent = Sent(answer.status, answer.headers.get("Location", ""), await answer.read(), at)
        await asyncio.sleep(0.5)  # TLS takes its leave behind aiohttp's back
        return sent

    return asyncio.run(run())


def _target(location: str) -> str:
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}"


def test_a_push_of_2_gib_outlives_tokens_of_60_s(site: Site) -> None:
    async def join(registry: object) -> None:
        await add_user(registry, "patient", **{"team/**": "pull,push"})  # type: ignore[arg-type]

    operate(site.server, join)
    token, began = site.token("patient"), time.monotonic()
    location = site.start(token)
    for _ in range(2):
        sent = send(site, location, SIZE // 2, token)
        assert sent.status == 202, sent.body
        location = sent.location
        time.sleep(max(0.0, began + GONE_SECONDS - time.monotonic()))
    assert site.ask("POST", "/v2/team/app/blobs/uploads/", {**token, "Content-Length": "0"})[0] == 401
    digest = sha256()
    for _ in range(SIZE // len(PIECE)):
        digest.update(PIECE)
    status, headers, body = site.ask(
        "PUT", f"{_target(location)}&digest=sha256:{digest.hexdigest()}", {**token, "Content-Length": "0"}
    )
    assert (status, headers.get("Docker-Content-Digest")) == (201, f"sha256:{digest.hexdigest()}"), body


def test_a_right_that_ends_half_way_stops_the_push_and_leaves_nothing(site: Site) -> None:
    async def join(registry: object) -> None:
        await add_user(registry, "hasty", **{"team/**": "pull,push"})  # type: ignore[arg-type]

    operate(site.server, join)
    location = site.start(token := site.token("hasty"))
    revoked_at: list[float] = []

    def end_the_right() -> None:
        while staged_bytes(site.server) < SIZE // 8:
            time.sleep(0.02)
        operate(site.server, lambda registry: revoke(registry, "user:hasty", "team/**"))
        revoked_at.append(time.monotonic())

    ending = threading.Thread(target=end_the_right)
    ending.start()
    # More than could come before somebody is asked again
    sent = send(site, location, 16 * SIZE, token)
    assert (sent.status, json.loads(sent.body)["errors"][0]["code"]) == (403, "DENIED")
    ending.join()
    assert sent.answered_at - revoked_at[0] < REVOCATION_SECONDS
    assert query(site.server, "SELECT count(*) FROM upload WHERE identity = 'user:hasty'") == [(0,)]
    assert staged_bytes(site.server) == 0


def staged_bytes(server: LiveServer) -> int:
    total = 0
    for path in (server.data / "blobs" / "staging").rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def test_the_challenge_leads_to_the_address_that_clients_use(site: Site) -> None:
    status, headers, _ = site.ask("GET", "/v2/", {})
    assert (status, headers["WWW-Authenticate"].split(",")[0]) == (401, f'Bearer realm="{site.proxy.url}/auth/token"')
