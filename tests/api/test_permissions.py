"""Who may do what: each route and method, asked by each kind of caller in each way, gets exactly one answer.

The tables here are written by hand. A route or a verb that they lack fails the tests.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from multidict import CIMultiDictProxy

from registry.access import directory
from registry.api.routes import ENDPOINTS
from registry.api.routing import Route
from registry.app import make_runner
from registry.assembly import Registry, open_registry
from registry.config import RateLimitSettings
from registry.domain.action import VERBS, Action
from registry.metadata.schema import upgrade
from tests.support.access import OPERATING, PASSWORD, add_robot, add_user, basic, bearer, grant, required_settings
from tests.support.ci import github_rule
from tests.support.images import digest_of
from tests.support.issuer import Issuer, github_claims, running_issuer
from tests.support.registry import Clock, execute
from tests.support.routes import IMAGE, LATER, NEWER, TAG, Ask, asks, begin, put, stock

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "https://registry.test"
REALM = f'Bearer realm="{HOST}/auth/token",service="registry.test"'
MINUTE = 60_000


class Kind(Enum):
    """The subject of each kind of caller."""

    ANONYMOUS = "anonymous"
    NO_GRANT = "user:nobody"
    PULL = "user:puller"
    PUSH = "user:pusher"
    OVERWRITE = "user:overwriter"
    DELETE = "user:deleter"
    ADMIN = "user:chief"
    ROBOT = "robot:build"
    EXPIRED_ROBOT = "robot:late"
    CI = "ci:deploy"


# On a/**
GRANTED: Mapping[Kind, str] = {
    Kind.ANONYMOUS: "",
    Kind.NO_GRANT: "",
    Kind.PULL: "pull",
    Kind.PUSH: "pull,push",
    Kind.OVERWRITE: "pull,push,overwrite",
    Kind.DELETE: "pull,delete",
    Kind.ADMIN: "admin",
    Kind.ROBOT: "pull,push",
    Kind.EXPIRED_ROBOT: "pull,push",
    Kind.CI: "pull,push",
}
WAYS = ("basic", "bearer")
# Two who may do everything on c/**, one of them on d/** too; and one who may pull just below e
BOTH, ONE, LEVEL = "both", "one", "level"
EVERYTHING = "pull,push,overwrite,delete"


@dataclass(frozen=True)
class Row:
    """A request, the verb that it needs, and how it ends for whoever has it. `variant`: of several on one route."""

    route: Route
    method: str
    verb: Action
    success: int
    variant: str = ""
    changes: bool = False

    def __str__(self) -> str:
        return " ".join(filter(None, [self.route.name.lower(), self.method, self.variant]))


ROWS = [
    Row(Route.PING, "GET", Action.CONNECT, 200),
    Row(Route.PING, "HEAD", Action.CONNECT, 200),
    Row(Route.CATALOG, "GET", Action.LIST, 200),
    Row(Route.CATALOG, "HEAD", Action.LIST, 200),
    Row(Route.BLOB, "GET", Action.PULL, 200),
    Row(Route.BLOB, "HEAD", Action.PULL, 200),
    Row(Route.BLOB, "DELETE", Action.DELETE, 202, changes=True),
    Row(Route.MANIFEST, "GET", Action.PULL, 200),
    Row(Route.MANIFEST, "HEAD", Action.PULL, 200),
    Row(Route.MANIFEST, "PUT", Action.PUSH, 201, "new tag", changes=True),
    Row(Route.MANIFEST, "PUT", Action.PUSH, 201, "new digest", changes=True),
    Row(Route.MANIFEST, "PUT", Action.PUSH, 201, "tag that points there"),
    Row(Route.MANIFEST, "PUT", Action.OVERWRITE, 201, "tag that moves", changes=True),
    Row(Route.MANIFEST, "PUT", Action.OVERWRITE, 201, "tag in the query that moves", changes=True),
    Row(Route.MANIFEST, "DELETE", Action.DELETE, 202, "tag", changes=True),
    Row(Route.MANIFEST, "DELETE", Action.DELETE, 202, "digest", changes=True),
    Row(Route.UPLOADS, "POST", Action.PUSH, 202, "session", changes=True),
    Row(Route.UPLOADS, "POST", Action.PUSH, 201, "whole blob", changes=True),
    Row(Route.UPLOAD, "PATCH", Action.PUSH, 202, changes=True),
    Row(Route.UPLOAD, "PUT", Action.PUSH, 201, changes=True),
    Row(Route.UPLOAD, "GET", Action.PUSH, 204),
    Row(Route.UPLOAD, "HEAD", Action.PUSH, 204),
    Row(Route.UPLOAD, "DELETE", Action.PUSH, 204, changes=True),
    Row(Route.TAGS, "GET", Action.PULL, 200),
    Row(Route.TAGS, "HEAD", Action.PULL, 200),
    Row(Route.REFERRERS, "GET", Action.PULL, 200),
    Row(Route.REFERRERS, "HEAD", Action.PULL, 200),
]
CASES = [(row, kind, way) for row in ROWS for kind in Kind for way in WAYS]
# What a challenge asks for, by what the request needs
SCOPES = {
    Action.CONNECT: "",
    Action.LIST: "registry:catalog:*",
    Action.PULL: "repository:{}:pull",
    Action.PUSH: "repository:{}:pull,push",
    Action.OVERWRITE: "repository:{}:pull,push",
    Action.DELETE: "repository:{}:delete",
}


def ask_of(row: Row, repository: str, upload_id: str) -> Ask:
    manifests = f"/v2/{repository}/manifests"
    variants = {
        "new digest": put(f"{manifests}/{digest_of(NEWER)}"),
        "tag that points there": put(f"{manifests}/{TAG}", IMAGE.manifest),
        "tag that moves": put(f"{manifests}/{TAG}"),
        "tag in the query that moves": put(f"{manifests}/{digest_of(NEWER)}?tag=another&tag={TAG}"),
        "digest": Ask("DELETE", f"{manifests}/{IMAGE.digest}"),
        "whole blob": Ask("POST", f"/v2/{repository}/blobs/uploads/?digest={LATER.digest}", LATER.data),
    }
    return variants.get(row.variant) or asks(repository, upload_id)[row.route, row.method]


def may(kind: Kind, verb: Action) -> bool:
    granted = GRANTED[kind].split(",")
    return verb in granted or "admin" in granted


def expected(row: Row, kind: Kind, way: str) -> int:
    if kind in (Kind.ANONYMOUS, Kind.EXPIRED_ROBOT) or (kind is Kind.CI and way == "basic"):
        return 401
    return row.success if row.verb in (Action.CONNECT, Action.LIST) or may(kind, row.verb) else 403


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["errors"][0]["code"]) if self.body else ""

    @property
    def challenges(self) -> list[str]:
        return self.headers.getall("WWW-Authenticate", [])

    def assert_challenge(self, scope: str) -> None:
        """Check that there is one, which names exactly this scope."""
        wanted = f'{REALM},scope="{scope}"' if scope else REALM
        assert (self.status, self.challenges) == (401, [wanted])


class World:
    """A registry that serves in this process, everybody who comes to it, and a repository for each case."""

    def __init__(self, registry: Registry, clock: Clock, http: aiohttp.ClientSession, issuer: Issuer) -> None:
        self.registry = registry
        self._clock = clock
        self._http = http
        self._issuer = issuer
        self._numbers = count()

    async def people(self) -> None:
        """Make them, and grant them what they have."""
        for kind, verbs in GRANTED.items():
            sort, _, name = kind.value.partition(":")
            if sort == "user":
                await add_user(self.registry, name)
            elif sort == "ci":
                await self.registry.access.rules.add(github_rule(self._issuer.url, name), OPERATING)
            elif sort == "robot":
                await add_robot(self.registry, name)
            if verbs:
                await grant(self.registry, kind.value, {"a/**": verbs})
        await add_user(self.registry, BOTH, **{"c/**": EVERYTHING, "d/**": EVERYTHING})
        await add_user(self.registry, ONE, **{"c/**": EVERYTHING})
        await add_user(self.registry, LEVEL, **{"e/*": "pull"})

    async def repository(self, below: str = "a") -> str:
        name = f"{below}/r{next(self._numbers)}"
        await stock(self.registry, name)
        return name

    async def login(self, kind: Kind) -> tuple[str, str]:
        """Name and password; a robot's is good for a minute, a job's for once."""
        sort, _, name = kind.value.partition(":")
        if sort == "robot":
            made = await self.registry.access.robots.rotate(name, MINUTE, 0, OPERATING)
            return f"robot${name}", made.secret
        if sort == "ci":
            return "job", self._issuer.mint(**github_claims())
        return name, PASSWORD

    async def by_way(self, kind: Kind, way: str, *scopes: str) -> dict[str, str]:
        """The header that a request comes with."""
        found = {} if kind is Kind.ANONYMOUS else basic(*await self.login(kind))
        if way == "bearer":
            found = bearer(await self.token(found, *scopes))
        self.let_expire(kind)
        return found

    def let_expire(self, kind: Kind) -> None:
        if kind is Kind.EXPIRED_ROBOT:
            self._clock.advance(MINUTE + 1)

    async def token(self, credentials: Mapping[str, str], *scopes: str) -> str:
        answer = await self.ask_token(credentials, *scopes)
        assert answer.status == 200, answer
        return str(json.loads(answer.body)["token"])

    async def ask_token(self, credentials: Mapping[str, str], *scopes: str, **fields: str) -> Answer:
        query = urlencode([("service", "registry.test"), *(("scope", scope) for scope in scopes), *fields.items()])
        return await self.send(Ask("GET", f"/auth/token?{query}"), credentials)

    async def post_token(self, **form: str) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self.send(Ask("POST", "/auth/token", urlencode(form).encode(), headers), {})

    async def send(self, ask: Ask, credentials: Mapping[str, str]) -> Answer:
        headers = {**ask.headers, **credentials}
        async with self._http.request(ask.method, ask.target, data=ask.body or None, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def state(self, repository: str) -> list[tuple[object, ...]]:
        """All that requests can change in a repository."""
        return await execute(self.registry, STATE, *[repository] * STATE.count("?"))


STATE = """
SELECT 'tag', tag.name, tag.digest, 0 FROM tag JOIN repository ON id = repository_id WHERE repository.name = ?
UNION ALL SELECT 'manifest', digest, '', 0 FROM manifest JOIN repository ON id = repository_id
    WHERE name = ? AND manifest.deleted_at IS NULL
UNION ALL SELECT 'link', digest, '', 0 FROM link JOIN repository ON id = repository_id
    WHERE name = ? AND link.deleted_at IS NULL
UNION ALL SELECT 'upload', upload.id, finished_digest, upload."offset" FROM upload JOIN repository
    ON repository.id = repository_id WHERE name = ?
ORDER BY 1, 2
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """What is changed beside requests counts at once here; how soon it does elsewhere is tested elsewhere."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch, running_issuer(clock) as issuer:
        patch.setattr(directory, "FRESH_SECONDS", 0.0)
        async with served(tmp_path_factory.mktemp("permissions"), clock) as (registry, http):
            world = World(registry, clock, http, issuer)
            await world.people()
            yield world


@asynccontextmanager
async def served(folder: Path, clock: Clock) -> AsyncIterator[tuple[Registry, aiohttp.ClientSession]]:
    """Without limits of failures: most of these requests fail."""
    upgrade(folder / "registry.db")
    settings = required_settings(folder, HOST)
    registry = open_registry(replace(settings, ratelimit=RateLimitSettings(failures="", addressfailures="")), now=clock)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(registry.close)
        runner = make_runner(registry)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        yield registry, await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))


def assert_refused(answer: Answer, row: Row, repository: str) -> None:
    code = "" if row.method == "HEAD" else {401: "UNAUTHORIZED", 403: "DENIED"}[answer.status]
    assert answer.code == code
    if answer.status == 401:
        answer.assert_challenge(SCOPES[row.verb].format(repository))
    else:
        assert answer.challenges == []


# --- the tables ------------------------------------------------------------------------------------------------------


async def test_the_tables_are_complete() -> None:
    assert {(row.route, row.method) for row in ROWS} == set(ENDPOINTS)
    assert set(GRANTED) == set(Kind)
    assert {verb for verbs in GRANTED.values() for verb in verbs.split(",") if verb} == set(VERBS)
    assert {row.verb for row in ROWS} == set(SCOPES) == set(Action) - {Action.ADMIN}


async def test_the_matrix_has_not_shrunk() -> None:
    assert len(set(map(str, ROWS))) == len(ROWS) == len(ENDPOINTS) + 6
    assert len(CASES) == 27 * 10 * 2
    print(f"{len(CASES)} cases")


# --- every route, every caller ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "kind", "way"), [pytest.param(*case, id=f"{case[0]}-{case[1].name.lower()}-{case[2]}") for case in CASES]
)
async def test_who_may(world: World, row: Row, kind: Kind, way: str) -> None:
    repository = await world.repository()
    ask = ask_of(row, repository, await begin(world.registry, repository, kind.value))
    before = await world.state(repository)

    challenged = await world.send(ask, {})
    scope = SCOPES[row.verb].format(repository)
    challenged.assert_challenge(scope)
    answer = await world.send(ask, await world.by_way(kind, way, *filter(None, [scope])))

    assert answer.status == expected(row, kind, way), answer
    if answer.status in (401, 403):
        assert_refused(answer, row, repository)
    is_changed = await world.state(repository) != before
    assert is_changed == (row.changes and answer.status == row.success)


# --- tokens for something else ---------------------------------------------------------------------------------------

ALL_WORDS = "repository:{}:pull,push,delete"
# Headers of each answer alone
OWN_HEADERS = ("date", "x-request-id")


@dataclass(frozen=True)
class Stranger:
    """Who comes to d/** with a token for c/**, and the status of what needs a verb there, and of its own uploads."""

    user: str
    asked_for_all: bool
    status: int
    upload: int | None


# The Location of an upload stands for a token's scope, never for the right (ADR 0006)
STRANGERS = {
    "granted but not asked for": Stranger(BOTH, asked_for_all=False, status=401, upload=None),
    "neither": Stranger(ONE, asked_for_all=False, status=401, upload=403),
    "asked for in vain": Stranger(ONE, asked_for_all=True, status=403, upload=403),
}


def foreign(row: Row, stranger: Stranger) -> int:
    if row.verb is Action.CONNECT:
        return row.success
    if row.verb is Action.LIST:
        return 401
    if row.route is Route.UPLOAD:
        return stranger.upload or row.success
    return stranger.status


def told(answer: Answer, name: str) -> tuple[object, ...]:
    """All that an answer tells of a repository but its name."""
    headers = [(key.lower(), value.replace(name, "NAME")) for key, value in answer.headers.items()]
    shared = [header for header in headers if header[0] not in OWN_HEADERS]
    return answer.status, shared, answer.body.replace(name.encode(), b"NAME")


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=list(STRANGERS))
async def test_a07_a_token_for_another_repository(world: World, stranger: Stranger, row: Row) -> None:
    own, other = await world.repository("c"), await world.repository("d")
    missing = other.replace("/r", "/x")
    names = (own, other, missing) if stranger.asked_for_all else (own,)
    scopes = [ALL_WORDS.format(name) for name in names]
    credentials = bearer(await world.token(basic(stranger.user), *scopes))
    ask = ask_of(row, other, await begin(world.registry, other, f"user:{stranger.user}"))
    before = await world.state(other)

    answer = await world.send(ask, credentials)

    assert answer.status == foreign(row, stranger), answer
    if answer.status in (401, 403):
        assert_refused(answer, row, other)
        assert await world.state(other) == before
        assert told(answer, other) == told(await world.send(ask_of(row, missing, "0" * 32), credentials), missing)


@pytest.mark.parametrize(("user", "status"), [(BOTH, 201), (ONE, 202)])
async def test_a07_a_mount_asks_once_for_both(world: World, user: str, status: int) -> None:
    own, other = await world.repository("c"), await world.repository("d")
    ask = Ask("POST", f"/v2/{own}/blobs/uploads/?mount={IMAGE.blobs[0].digest}&from={other}")
    for_own = ALL_WORDS.format(own)
    refused = await world.send(ask, bearer(await world.token(basic(user), for_own)))
    scopes = f"repository:{own}:pull,push repository:{other}:pull"
    refused.assert_challenge(scopes)
    for granted in (scopes.split(" "), [for_own, ALL_WORDS.format(other)]):
        answer = await world.send(ask, bearer(await world.token(basic(user), *granted)))
        assert answer.status == status, answer


async def test_a07_a_mount_without_a_source_looks_where_the_token_is_for(world: World) -> None:
    await world.repository("d")
    ask = Ask("POST", f"/v2/c/empty/blobs/uploads/?mount={IMAGE.blobs[0].digest}")
    token = await world.token(basic(BOTH), ALL_WORDS.format("c/empty"))
    assert (await world.send(ask, bearer(token))).status == 202
    assert (await world.send(ask, basic(BOTH))).status == 201


async def test_a07_the_catalog_takes_its_own_scope_and_lists_what_may_be_pulled(world: World) -> None:
    names = {below: await world.repository(below) for below in ("a", "c", "d")}
    ask = Ask("GET", "/v2/_catalog?n=1000")
    (await world.send(ask, bearer(await world.token(basic(ONE), ALL_WORDS.format(names["c"]))))).assert_challenge(
        "registry:catalog:*"
    )
    for user, folders in {BOTH: "cd", ONE: "c", "puller": "a", "chief": "a", "nobody": ""}.items():
        token = await world.token(basic(user), "registry:catalog:*")
        for credentials in (basic(user), bearer(token)):
            listed = json.loads((await world.send(ask, credentials)).body)["repositories"]
            assert {name[0] for name in listed} == set(folders), user
            assert {names[folder] for folder in folders} <= set(listed)


async def test_the_catalog_asks_about_each_name(world: World) -> None:
    """Names between those that may be pulled are no less hidden."""
    shown, hidden, last = await world.repository("e"), await world.repository("e/f"), await world.repository("e")
    listed = json.loads((await world.send(Ask("GET", "/v2/_catalog"), basic(LEVEL))).body)["repositories"]
    assert listed == sorted([shown, last])
    assert hidden not in listed


# --- the token service -----------------------------------------------------------------------------------------------

ASKED = "repository:a/x:* repository:b/x:pull,push,delete registry:catalog:*"
DOORS = ("get", "password", "refresh")


async def by_door(world: World, door: str, kind: Kind) -> Answer:
    """The token service's answer to ASKED."""
    if door == "get":
        return await world.ask_token(await world.by_way(kind, "basic"), ASKED)
    name, password = await world.login(kind)
    form = {"grant_type": "password", "username": name, "password": password}
    if door == "refresh":
        offline = await world.post_token(**form, access_type="offline")
        assert offline.status == 200, offline
        form = {"grant_type": "refresh_token", "refresh_token": json.loads(offline.body)["refresh_token"]}
    world.let_expire(kind)
    return await world.post_token(**form, scope=ASKED)


@pytest.mark.parametrize(
    ("kind", "door"),
    [(kind, door) for kind in Kind for door in DOORS if kind is not Kind.ANONYMOUS or door == "get"],
    ids=lambda part: part.name.lower() if isinstance(part, Kind) else part,
)
async def test_the_token_service_gives_what_is_held(world: World, kind: Kind, door: str) -> None:
    answer = await by_door(world, door, kind)
    if kind is Kind.EXPIRED_ROBOT:
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer.challenges == ['Basic realm="Digestry"']
        return
    held = ",".join(verb for verb in ("delete", "pull", "push") if may(kind, Action(verb)))
    repository = [f"repository:a/x:{held}"] if held else []
    catalog = [] if kind is Kind.ANONYMOUS else ["registry:catalog:*"]
    assert answer.status == 200, answer
    assert json.loads(answer.body)["scope"].split() == repository + catalog
