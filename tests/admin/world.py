"""A registry behind its whole server, where grants decide; those who come to it, and things for them to change."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDictProxy

from registry.access import directory
from registry.admin.operations import OPERATIONS, ROOT
from registry.app import make_runner
from registry.assembly import Registry, open_registry
from registry.config import RateLimitSettings
from registry.domain.access import Caller, Identity
from registry.domain.ci import parse_rule
from registry.domain.grants import AUTHENTICATED, Grant, Pattern, parse_verbs
from registry.domain.names import RepositoryName
from registry.metadata.schema import upgrade
from tests.support.access import ADMIN, OPERATING, PASSWORD, add_robot, add_user, basic, bearer, required_settings
from tests.support.ci import github_rule
from tests.support.issuer import Issuer, github_claims, running_issuer
from tests.support.registry import DAY, Clock, execute, push
from tests.support.routes import IMAGE, TAG, stock

HOST = "https://registry.test"
HASH = "$2b$10$" + "a" * 53  # of no password that anybody knows
LEAD = Caller(Identity("user:lead"), "test")
PROBLEM = {"type", "title", "status", "detail", "request_id"}
BY_NAME = {operation.name: operation for operation in OPERATIONS}
BODIES: dict[str, dict[str, Any]] = {
    "add_user": {"name": "new-{name}", "password": PASSWORD},
    "change_user": {"disabled": True},
    "set_password": {"password": PASSWORD},
    "add_group": {"name": "new-{name}"},
    "add_robot": {"name": "new-{name}"},
    "change_robot": {"disabled": True},
    "add_secret": {},
    "add_grant": {"subject": "group:{name}", "pattern": "team/app", "verbs": ["pull"]},
    "add_rule": {"name": "new-{name}", "provider": "github", "audience": "a", "claims": {"repository_id": ["1"]}},
    "rename_repository": {"name": "team/new-{name}"},
    "roll_back": {"tags": [{"repository": "team/stock-{name}", "tag": "back", "digest": IMAGE.digest}]},
    "restore_trash_entry": {},
    "set_my_password": {"current": PASSWORD, "new": PASSWORD},
}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> dict[str, Any]:
        """The body of a refusal, which must be one."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        found: dict[str, Any] = self.json
        assert set(found) == PROBLEM and found["type"] == "about:blank", found
        assert (found["status"], found["request_id"]) == (self.status, self.headers["X-Request-Id"])
        return found


class World:
    """Who comes: `admin`, `lead` with admin on team/**, `plain` without grants, a robot of lead's, a CI job."""

    def __init__(
        self, registry: Registry, clock: Clock, http: aiohttp.ClientSession, issuer: Issuer, port: int
    ) -> None:
        self.registry = registry
        self.port = port
        self.clock = clock
        self._http = http
        self._issuer = issuer
        self._numbers = count(1)
        self._robot_secret = ""

    async def people(self) -> None:
        assert await self.registry.access.users.first_administrator(PASSWORD) == PASSWORD
        await add_user(self.registry, "lead", **{"team/**": "admin"})
        await add_user(self.registry, "plain")
        # to be told apart from those without rights only by what they are
        everything = {"**": "pull,push,overwrite,delete"}
        self._robot_secret = await add_robot(self.registry, "builder", 90 * DAY, LEAD, **everything)
        await self.registry.access.rules.add(github_rule(self._issuer.url), OPERATING)

    async def credentials(self, who: str) -> dict[str, str]:
        """The headers that prove it."""
        if who == "anonymous":
            return {}
        if who == "robot":
            return basic("robot$builder", self._robot_secret)
        if who == "job":
            return bearer(await self.token(basic("job", self._issuer.mint(**github_claims())), "registry:api:*"))
        return basic(who)

    async def token(self, credentials: Mapping[str, str], scope: str) -> str:
        query = urlencode({"service": "registry.test", "scope": scope})
        answer = await self.send("GET", f"/auth/token?{query}", headers=credentials)
        assert answer.status == 200, answer
        return str(answer.json["token"])

    async def send(
        self, method: str, target: str, body: Any = None, *, who: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """`body` is bytes, or something to make JSON of."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {**({} if data is None else {"Content-Type": "application/json"}), **(headers or {})}
        sent |= await self.credentials(who) if who else {}
        async with self._http.request(method, target, data=data, headers=sent) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def call(self, method: str, path: str, body: Any = None, *, who: str = ADMIN) -> Answer:
        """`path` below /api/v1/."""
        return await self.send(method, ROOT + path, body, who=who)

    async def things(self) -> dict[str, str]:
        """New ones of each kind, by the words that stand for them in paths."""
        n, access = next(self._numbers), self.registry.access
        name = f"thing{n}"
        await access.users.adopt(name, HASH, OPERATING)
        await access.users.add_group(name, OPERATING)
        await access.users.add_member(name, name, OPERATING)
        made = await access.robots.add(name, "", 60_000, LEAD)
        granted = Grant(AUTHENTICATED, Pattern(f"team/thing{n}"), parse_verbs(["pull"]))
        grant = await access.grants.add(granted, OPERATING)
        rule = parse_rule(name, "gitlab", "audience", {"project_id": [str(n)]}, created_by="user:admin")
        await access.rules.add(rule, OPERATING)
        digest = await push(self.registry, name.encode())
        await stock(self.registry, f"team/stock-{name}")
        await stock(self.registry, f"team/gone-{name}")
        entry = await self.registry.repositories.delete(RepositoryName(f"team/gone-{name}"), OPERATING)
        return {
            "name": name,
            "user": name,
            "secret_id": made.id,
            "grant_id": str(grant.id),
            "digest": digest,
            "repository": f"team%2Fstock-{name}",
            "tag": TAG,
            "entry_id": str(entry.id),
        }

    async def changes(self) -> int:
        """How many there were, refusals and logins not counted."""
        rows = await execute(
            self.registry, "SELECT count(*) FROM event WHERE action NOT LIKE 'login%' AND action <> 'access.denied'"
        )
        return int(rows[0][0])


@asynccontextmanager
async def made_world(folder: Path) -> AsyncIterator[World]:
    """What was changed counts at once here. How soon it does elsewhere is tested elsewhere."""
    clock = Clock()
    upgrade(folder / "registry.db")
    settings = replace(required_settings(folder, HOST), ratelimit=RateLimitSettings(failures="3/minute"))
    registry = open_registry(settings, now=clock)
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(directory, "FRESH_SECONDS", 0.0)
        issuer = stack.enter_context(running_issuer(clock))
        stack.push_async_callback(registry.close)
        runner = make_runner(registry)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        world = World(registry, clock, http, issuer, port)
        await world.people()
        yield world


def filled(name: str, things: Mapping[str, str]) -> dict[str, Any] | None:
    """The body of an operation, None where it has none."""
    body = BODIES.get(name)
    return None if body is None else {key: _filled(value, things) for key, value in body.items()}


def _filled(value: Any, things: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, things) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, things) for one in value]
    return value.format(**things) if isinstance(value, str) else value
