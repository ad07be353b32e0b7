"""An upload outlives the token that began it, but neither its subject's right nor its own time (ADR 0006)."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from registry.access import directory
from registry.api import call
from registry.app import make_runner
from registry.assembly import Registry, open_registry
from registry.metadata.schema import upgrade
from tests.support.access import (
    OPERATING,
    PASSWORD,
    add_robot,
    add_user,
    basic,
    bearer,
    grant,
    required_settings,
    revoke,
)
from tests.support.ci import github_rule
from tests.support.images import digest_of
from tests.support.issuer import Issuer, github_claims, running_issuer
from tests.support.registry import DAY, Clock, execute

pytestmark = pytest.mark.asyncio(loop_scope="module")

MINUTE = 60_000
HOUR = 60 * MINUTE
SCOPE = "repository:{}:pull,push"
DATA = b"part of a blob"


@dataclass
class World:
    """A registry that serves in this process, whose clock the test moves, and a repository for each test."""

    registry: Registry
    clock: Clock
    http: aiohttp.ClientSession
    issuer: Issuer
    names: "count[int]"

    def repository(self) -> str:
        return f"team/r{next(self.names)}"

    async def token(self, name: str, password: str, *scopes: str) -> dict[str, str]:
        query = urlencode([("scope", scope) for scope in scopes])
        async with self.http.get(f"/auth/token?{query}", headers=basic(name, password)) as answer:
            body = await answer.read()
            assert answer.status == 200, body
            return bearer(json.loads(body)["token"])

    async def send(self, method: str, target: str, headers: dict[str, str], data: bytes = b"") -> tuple[int, str]:
        """The status, and where to go on."""
        async with self.http.request(method, target, headers=headers, data=data or None) as answer:
            return answer.status, answer.headers.get("Location", target)

    async def begin(self, repository: str, headers: dict[str, str]) -> str:
        """An upload that has a part already."""
        status, location = await self.send("POST", f"/v2/{repository}/blobs/uploads/", headers)
        assert status == 202
        status, location = await self.send("PATCH", location, headers, DATA)
        assert status == 202
        return location

    async def uploads(self, repository: str) -> int:
        statement = "SELECT count(*) FROM upload JOIN repository ON repository.id = repository_id WHERE name = ?"
        return int((await execute(self.registry, statement, repository))[0][0])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Whose directory, and whose running bodies, notice a change at once: how soon they do is tested elsewhere."""
    folder, clock = tmp_path_factory.mktemp("long"), Clock()
    upgrade(folder / "registry.db")
    registry = open_registry(required_settings(folder), now=clock)
    with pytest.MonkeyPatch.context() as patch, running_issuer(clock) as issuer:
        patch.setattr(directory, "FRESH_SECONDS", 0.0)
        patch.setattr(call, "ASK_AGAIN_SECONDS", 0.0)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(registry.close)
            runner = make_runner(registry)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            http = await stack.enter_async_context(aiohttp.ClientSession(address))
            for name in ("alice", "bob"):
                await add_user(registry, name, **{"team/**": "pull,push"})
            yield World(registry, clock, http, issuer, count())


async def alice(world: World, repository: str) -> dict[str, str]:
    return await world.token("alice", PASSWORD, SCOPE.format(repository))


Step = Callable[[World, str, dict[str, str]], Awaitable[tuple[int, str]]]


async def _put(world: World, location: str, headers: dict[str, str]) -> tuple[int, str]:
    return await world.send("PUT", f"{location}&digest={digest_of(DATA)}", headers)


STEPS: dict[str, tuple[Step, int]] = {
    "PATCH": (lambda world, location, headers: world.send("PATCH", location, headers, DATA), 202),
    "GET": (lambda world, location, headers: world.send("GET", location, headers), 204),
    "HEAD": (lambda world, location, headers: world.send("HEAD", location, headers), 204),
    "DELETE": (lambda world, location, headers: world.send("DELETE", location, headers), 204),
    "PUT": (_put, 201),
}


@pytest.mark.parametrize("step", STEPS)
async def test_an_upload_goes_on_with_the_token_that_began_it(world: World, step: str) -> None:
    repository = world.repository()
    headers = await alice(world, repository)
    location = await world.begin(repository, headers)
    world.clock.advance(2 * HOUR)
    act, status = STEPS[step]
    assert (await act(world, location, headers))[0] == status


async def test_many_parts_later_it_is_a_blob(world: World) -> None:
    repository = world.repository()
    headers = await alice(world, repository)
    location = await world.begin(repository, headers)
    for _ in range(3):
        world.clock.advance(2 * HOUR)
        status, location = await world.send("PATCH", location, headers, DATA)
        assert status == 202
    status, _ = await world.send("PUT", f"{location}&digest={digest_of(DATA * 4)}", headers)
    assert status == 201


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("POST", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?digest={digest_of(DATA)}"),
        ("GET", "tags/list"),
        ("GET", f"blobs/{digest_of(DATA)}"),
        ("PUT", "manifests/v1"),
    ],
)
async def test_an_expired_token_is_for_nothing_else(world: World, method: str, rest: str) -> None:
    repository = world.repository()
    headers = await alice(world, repository)
    world.clock.advance(5 * MINUTE + 59_000)
    assert (await world.send(method, f"/v2/{repository}/{rest}", headers))[0] != 401, "clocks differ by a minute"
    world.clock.advance(1001)
    assert (await world.send(method, f"/v2/{repository}/{rest}", headers))[0] == 401


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_an_upload_is_its_subjects(world: World, step: str, is_late: bool) -> None:
    """Bob may push there too, and knows the Location."""
    repository = world.repository()
    location = await world.begin(repository, await alice(world, repository))
    of_bob = await world.token("bob", PASSWORD, SCOPE.format(repository))
    world.clock.advance(2 * HOUR if is_late else 0)
    act, _ = STEPS[step]
    assert (await act(world, location, of_bob))[0] == 404
    elsewhere = location.replace(repository, world.repository())
    assert (await act(world, elsewhere, of_bob))[0] == 404
    assert await world.uploads(repository) == 1


async def test_another_token_or_password_of_the_subject_will_do(world: World) -> None:
    repository = world.repository()
    location = await world.begin(repository, await alice(world, repository))
    for headers in (
        await world.token("alice", PASSWORD),
        basic("alice"),
        await world.token("alice", PASSWORD, "a:b:c"),
    ):
        status, location = await world.send("PATCH", location, headers, DATA)
        assert status == 202


@pytest.mark.parametrize("step", STEPS)
async def test_not_after_the_time_of_uploads(world: World, step: str) -> None:
    repository = world.repository()
    headers = await alice(world, repository)
    location = await world.begin(repository, headers)
    world.clock.advance(DAY + 6 * MINUTE)
    act, _ = STEPS[step]
    assert (await act(world, location, headers))[0] == 401
    await world.registry.uploads.expire()
    assert (await act(world, location, await alice(world, repository)))[0] == 404


async def test_an_upload_that_lives_on_needs_another_token_in_time(world: World) -> None:
    repository = world.repository()
    headers = await alice(world, repository)
    location = await world.begin(repository, headers)
    for _ in range(2):
        world.clock.advance(DAY // 2 + MINUTE)
        status, location = await world.send("PATCH", location, headers, DATA)
    assert status == 202, "the leeway is the lifetime of uploads, behind that of the token"
    world.clock.advance(DAY // 2)
    assert (await world.send("PATCH", location, headers, DATA))[0] == 401
    assert (await world.send("PATCH", location, await alice(world, repository), DATA))[0] == 202


# --- rights that end -------------------------------------------------------------------------------------------------


async def _take_grant(world: World, subject: str) -> None:
    await revoke(world.registry, subject, "team/**")


async def _disable(world: World, subject: str) -> None:
    await world.registry.access.users.set_disabled(subject.removeprefix("user:"), OPERATING, disabled=True)


async def _delete(world: World, subject: str) -> None:
    await world.registry.access.users.delete(subject.removeprefix("user:"), OPERATING)


async def _new_password(world: World, subject: str) -> None:
    await world.registry.access.users.set_password(subject.removeprefix("user:"), "another one", OPERATING)


ENDS: dict[str, tuple[Callable[[World, str], Awaitable[None]], int]] = {
    "grant": (_take_grant, 403),
    "disabled": (_disable, 401),
    "deleted": (_delete, 401),
    "password": (_new_password, 401),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("is_late", [False, True])
async def test_not_after_the_right_has_ended(world: World, end: str, is_late: bool) -> None:
    repository, user = world.repository(), f"u{next(world.names)}"
    await add_user(world.registry, user, **{"team/**": "pull,push"})
    headers = await world.token(user, PASSWORD, SCOPE.format(repository))
    location = await world.begin(repository, headers)
    world.clock.advance(2 * HOUR if is_late else 0)
    act, status = ENDS[end]
    await act(world, f"user:{user}")
    for step, _ in STEPS.values():
        assert (await step(world, location, headers))[0] == status


async def test_a_body_ends_with_the_right(world: World) -> None:
    """In its middle, long after the token; what came is gone with it."""
    repository, user = world.repository(), f"u{next(world.names)}"
    await add_user(world.registry, user, **{"team/**": "pull,push"})
    headers = await world.token(user, PASSWORD, SCOPE.format(repository))
    location = await world.begin(repository, headers)
    world.clock.advance(2 * HOUR)

    async def body() -> AsyncIterator[bytes]:
        yield b"before"
        await _take_grant(world, f"user:{user}")
        while True:
            yield b"after" * 1000

    async with world.http.patch(location, data=body(), headers=headers) as answer:
        assert answer.status == 403
    assert await world.uploads(repository) == 0


async def test_a_robots_upload_ends_with_its_secret(world: World) -> None:
    repository, robot = world.repository(), f"b{next(world.names)}"
    secret = await add_robot(world.registry, robot, 3 * HOUR)
    await grant(world.registry, f"robot:{robot}", {"team/**": "pull,push"})
    headers = await world.token(f"robot${robot}", secret, SCOPE.format(repository))
    location = await world.begin(repository, headers)
    world.clock.advance(2 * HOUR)
    status, location = await world.send("PATCH", location, headers, DATA)
    assert status == 202
    world.clock.advance(HOUR)
    assert (await world.send("PATCH", location, headers, DATA))[0] == 401


async def test_a_jobs_upload_ends_with_its_rule(world: World) -> None:
    repository = world.repository()
    await world.registry.access.rules.add(github_rule(world.issuer.url), OPERATING)
    await grant(world.registry, "ci:deploy", {"team/**": "pull,push"})
    headers = await world.token("job", world.issuer.mint(**github_claims()), SCOPE.format(repository))
    location = await world.begin(repository, headers)
    world.clock.advance(2 * HOUR)
    status, location = await world.send("PATCH", location, headers, DATA)
    assert status == 202
    await world.registry.access.rules.delete("deploy", OPERATING)
    assert (await world.send("PATCH", location, headers, DATA))[0] == 401


async def test_keys_rotate_under_an_upload(world: World) -> None:
    repository = world.repository()
    headers = await alice(world, repository)
    location = await world.begin(repository, headers)
    before = await execute(world.registry, "SELECT id FROM signing_key")
    await execute(world.registry, "UPDATE signing_key SET created_at = created_at - ?", 31 * DAY)
    await execute(world.registry, "UPDATE access_state SET revision = revision + 1")
    await alice(world, repository)
    assert len(await execute(world.registry, "SELECT id FROM signing_key")) == len(before) + 1
    world.clock.advance(2 * HOUR)
    assert (await world.send("PATCH", location, headers, DATA))[0] == 202
