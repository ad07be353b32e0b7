"""A registry where grants decide, and those who come to it: made as commands make them, beside the server."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

from registry.access.directory import FRESH_SECONDS
from registry.assembly import Registry, open_registry
from registry.config import AuthSettings, DatabaseSettings, FilesystemSettings, HttpSettings, Settings, StorageSettings
from registry.domain.access import OPERATOR, Caller
from registry.domain.grants import Grant, Pattern, parse_verbs
from registry.metadata import grants
from tests.support.ports import free_port
from tests.support.server import LiveServer
from tests.support.wire import Answer, Wire, head, request

ADMIN = "admin"
PASSWORD = "correct horse"  # of everybody here
OPERATING = Caller(OPERATOR, "test")
DAY = 86_400_000
CHALLENGES = ("bearer", "basic")

T = TypeVar("T")


def required(**more: str) -> dict[str, str]:
    """The settings of a server that lets nobody in unasked. Its administrator has the usual password."""
    return {"REGISTRY_AUTH_MODE": "required", "REGISTRY_AUTH_ADMINSECRET": PASSWORD, **more}


@contextmanager
def required_server(folder: Path, challenge: str) -> Iterator[LiveServer]:
    """Such a server. "bearer": it knows its address, so it sends clients to its token service; "basic": it does not."""
    host = f"127.0.0.1:{free_port()}"
    server = LiveServer(folder, required(REGISTRY_HTTP_HOST=f"http://{host}") if challenge == "bearer" else required())
    server.host = host
    server.start()
    try:
        yield server
    except BaseException:
        server.kill()
        raise
    if server.running:
        assert server.stop() == 0


def required_settings(folder: Path, host: str = "") -> Settings:
    """The same for a registry in this process, on data under `folder`."""
    return Settings(
        http=HttpSettings(host=host),
        storage=StorageSettings(filesystem=FilesystemSettings(rootdirectory=folder / "blobs")),
        database=DatabaseSettings(url=f"sqlite:///{folder / 'registry.db'}"),
        auth=AuthSettings(mode="required"),
    )


def operate(server: LiveServer, act: Callable[[Registry], Awaitable[T]]) -> T:
    """Do something to the registry of a running server, in a process beside it: this one."""

    async def run() -> T:
        registry = open_registry(required_settings(server.data))
        try:
            return await act(registry)
        finally:
            await registry.close()

    return asyncio.run(run())


async def add_user(registry: Registry, name: str, **granted: str) -> None:
    """A user with the usual password. `granted`: what `grant` takes."""
    await registry.access.users.add(name, PASSWORD, OPERATING)
    await grant(registry, f"user:{name}", granted)


async def add_robot(
    registry: Registry, name: str, lifetime: int = 90 * DAY, by: Caller = OPERATING, **granted: str
) -> str:
    """A robot; return its secret. It logs in as robot$NAME."""
    made = await registry.access.robots.add(name, "", lifetime, by)
    await grant(registry, f"robot:{name}", granted)
    return made.secret


async def grant(registry: Registry, subject: str, verbs_by_pattern: Mapping[str, str]) -> None:
    """`{"team/**": "pull,push"}`."""
    for pattern, verbs in verbs_by_pattern.items():
        wanted = Grant(subject, Pattern.parse(pattern), parse_verbs(verbs.split(",")))
        await registry.access.grants.add(wanted, OPERATING)


async def revoke(registry: Registry, subject: str, pattern: str) -> None:
    held = await registry.database.read(grants.find_for, subject, Pattern(pattern))
    assert held is not None, f"{subject} has nothing on {pattern}"
    await registry.access.grants.remove(held.id, OPERATING)


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    """The header that proves who one is."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask_token(server: LiveServer, credentials: Mapping[str, str], *scopes: str, **fields: str) -> Answer:
    """GET /auth/token, whatever the answer."""
    query = urlencode([("service", "test"), *(("scope", scope) for scope in scopes), *fields.items()])
    return request(server, "GET", f"/auth/token?{query}", headers=credentials)


def token(server: LiveServer, credentials: Mapping[str, str], *scopes: str) -> str:
    """A bearer token for these scopes, as far as they are granted."""
    answer = ask_token(server, credentials, *scopes)
    assert answer.status == 200, answer.story
    return str(json.loads(answer.body)["token"])


def settle() -> None:
    """Wait until every worker knows of the changes that were made beside it."""
    time.sleep(FRESH_SECONDS + 0.2)


def each_worker(server: LiveServer, stack: ExitStack) -> list[Wire]:
    """A connection to each worker. Send on it with `Connection: keep-alive`."""
    found: dict[int, Wire] = {}
    while len(found) < len(server.workers):
        wire = stack.enter_context(Wire(server))
        wire.send(head("GET", "/livez", {"Connection": "keep-alive"})).answer()
        found.setdefault(_worker_of(server, wire), wire)
    return list(found.values())


def _worker_of(server: LiveServer, wire: Wire) -> int:
    """The process that holds the other end."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    ends = {f"socket:[{fields[9]}]" for fields in lines if fields[2].endswith(f":{wire._socket.getsockname()[1]:04X}")}
    for pid in server.workers:
        if ends & {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}:
            return pid
    raise AssertionError("no worker has this connection")


def answered(server: LiveServer, method: str, path: str) -> list[int]:
    """The statuses with which requests from real clients were answered, by the registry's own log."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if '"http.request.uri"' in line]
    wanted = (method, path)
    return [
        line["http.response.status"]
        for line in lines
        if (line["http.request.method"], line["http.request.uri"]) == wanted
    ]
