"""The token service and the logins below it: what is handed out, for how long, at what work."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import bcrypt
import pytest

from registry.access import directory, token_service
from registry.access.token_service import REFRESH_LIFETIME, Issued, TokenRequest
from registry.access.windows import Windows
from registry.assembly import Registry, open_registry
from registry.domain.access import Peer
from registry.domain.errors import Denied, RequestInvalid, TooManyRequests, Unauthorized
from registry.domain.scopes import parse_scopes
from registry.metadata.schema import upgrade
from tests.support.access import (
    OPERATING,
    PASSWORD,
    add_robot,
    add_user,
    basic,
    grant,
    required_settings,
)
from tests.support.ci import github_rule
from tests.support.credentials import claims_of
from tests.support.issuer import Issuer, github_claims, running_issuer
from tests.support.registry import DAY, Clock, execute

HERE = Peer("192.0.2.1", is_private=True)
IN_THE_CLEAR = replace(HERE, is_private=False)
MINUTE = 60_000
HOUR = 60 * MINUTE
LIFETIME = 5 * MINUTE
ALL = "repository:team/app:pull,push,delete"


@dataclass(frozen=True)
class World:
    registry: Registry
    clock: Clock

    def wanted(self, *scopes: str, offline: bool = False, peer: Peer = HERE) -> TokenRequest:
        return TokenRequest(parse_scopes(scopes), offline, peer, "test")

    async def login(self, name: str, password: str = PASSWORD, *scopes: str, offline: bool = False) -> Issued:
        service = self.registry.access.token_service
        return await service.by_password(name, password, self.wanted(*scopes, offline=offline))

    async def refresh(self, issued: Issued, *scopes: str) -> Issued:
        assert issued.refresh_token is not None
        return await self.registry.access.token_service.by_refresh(issued.refresh_token, self.wanted(*scopes))

    async def count(self, table: str) -> int:
        return int((await execute(self.registry, f"SELECT count(*) FROM {table}"))[0][0])

    async def events(self) -> list[tuple[object, ...]]:
        statement = "SELECT identity, action, details FROM event WHERE action LIKE 'login%' ORDER BY id"
        return await execute(self.registry, statement)


@asynccontextmanager
async def opened(folder: Path, clock: Clock, **settings: object) -> AsyncIterator[World]:
    if not (folder / "registry.db").exists():
        upgrade(folder / "registry.db")
    chosen = required_settings(folder)
    chosen = replace(chosen, auth=replace(chosen.auth, **settings))  # type: ignore[arg-type]
    # for limits, no minute passes
    registry = open_registry(chosen, now=clock, windows=Windows(lambda: 1000.0))
    try:
        yield World(registry, clock)
    finally:
        await registry.close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes count at once."""
    monkeypatch.setattr(directory, "FRESH_SECONDS", 0.0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Alice may pull and push in team/**."""
    async with opened(tmp_path, Clock()) as world:
        await add_user(world.registry, "alice", **{"team/**": "pull,push"})
        yield world


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer(Clock()) as issuer:
        yield issuer


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The costs of all comparisons."""
    costs: list[int] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        costs.append(int(hashed[4:6]))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return costs


# --- what is handed out ----------------------------------------------------------------------------------------------


async def test_a06_what_is_held_of_what_was_asked_for(world: World) -> None:
    issued = await world.login("alice", PASSWORD, ALL, "repository:other/app:pull", "registry:catalog:*")
    assert list(map(str, issued.granted)) == ["repository:team/app:pull,push", "registry:catalog:*"]
    claims = claims_of(issued.token)
    assert [(claim["name"], claim["actions"]) for claim in claims["refused"]] == [
        ("team/app", ["delete"]),
        ("other/app", ["pull"]),
    ]
    assert (issued.issued_at, issued.lifetime, issued.refresh_token) == (world.clock.now, LIFETIME, None)


async def test_a06_a_token_that_would_be_too_long(world: World) -> None:
    scopes = [f"repository:team/{'x' * 100}{number}:pull" for number in range(64)]
    with pytest.raises(RequestInvalid, match="too long"):
        await world.login("alice", PASSWORD, *scopes)


@pytest.mark.parametrize("value", ["Bearer abc", "Basic", "Basic !", "alice", ""])
async def test_what_is_no_basic_login(world: World, value: str) -> None:
    with pytest.raises(Unauthorized):
        await world.registry.access.token_service.by_basic(value, world.wanted())


async def test_nobody_gets_what_everybody_has(world: World) -> None:
    await grant(world.registry, "anonymous", {"public/**": "pull"})
    issued = await world.registry.access.token_service.by_basic(
        None, world.wanted("repository:public/app:*", ALL, "registry:catalog:*", "registry:api:*")
    )
    assert list(map(str, issued.granted)) == ["repository:public/app:pull", "registry:catalog:*"]
    assert claims_of(issued.token)["sub"] == "anonymous"


@pytest.mark.parametrize("kind", ["basic", "password", "refresh"])
async def test_a17_nothing_secret_in_the_clear(world: World, kind: str) -> None:
    """Before anything is looked at: the refusal does not tell whether it was right."""
    service, wanted = world.registry.access.token_service, world.wanted(peer=IN_THE_CLEAR)
    asking = {
        "basic": lambda: service.by_basic(basic("alice")["Authorization"], wanted),
        "password": lambda: service.by_password("alice", "wrong", wanted),
        "refresh": lambda: service.by_refresh("wrong", wanted),
    }
    with pytest.raises(Denied, match="plain HTTP"):
        await asking[kind]()
    assert await world.events() == []


async def test_a17_unless_told(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock(), plainhttp=True) as world:
        await add_user(world.registry, "alice")
        wanted = world.wanted(peer=IN_THE_CLEAR)
        assert (await world.registry.access.token_service.by_password("alice", PASSWORD, wanted)).token


# --- refresh tokens --------------------------------------------------------------------------------------------------


async def test_a_login_that_lasts_leaves_an_event_and_one_that_does_not_leaves_none(world: World) -> None:
    await world.login("alice", PASSWORD, ALL)
    assert (await world.events(), await world.count("refresh_token")) == ([], 0)
    issued = await world.login("alice", offline=True)
    assert issued.refresh_token is not None
    assert issued.refresh_token.startswith("rft_")
    assert (await world.events(), await world.count("refresh_token")) == ([("user:alice", "login", "{}")], 1)


async def test_a_refresh_token_stays_and_gives_what_is_held_now(world: World) -> None:
    issued = await world.login("alice", offline=True)
    again = await world.refresh(issued, ALL)
    assert again.refresh_token == issued.refresh_token
    assert list(map(str, again.granted)) == ["repository:team/app:pull,push"]
    await grant(world.registry, "user:alice", {"team/app": "delete"})
    assert list(map(str, (await world.refresh(issued, ALL)).granted)) == ["repository:team/app:delete,pull,push"]


async def test_a_refresh_token_ends_when_it_was_not_used_for_thirty_days(world: World) -> None:
    issued = await world.login("alice", offline=True)
    for _ in range(4):
        world.clock.advance(20 * DAY)
        await world.refresh(issued)
    world.clock.advance(REFRESH_LIFETIME)
    with pytest.raises(Unauthorized):
        await world.refresh(issued)


async def test_it_is_prolonged_once_a_day_at_most(world: World) -> None:
    issued = await world.login("alice", offline=True)

    async def ends() -> int:
        ((expires_at,),) = await execute(world.registry, "SELECT expires_at FROM refresh_token")
        return int(str(expires_at)) - world.clock.now

    world.clock.advance(23 * HOUR)
    await world.refresh(issued)
    assert await ends() == REFRESH_LIFETIME - 23 * HOUR
    world.clock.advance(2 * HOUR)
    await world.refresh(issued)
    assert await ends() == REFRESH_LIFETIME


@pytest.mark.parametrize("text", ["", "rft", "rft_a_b_c", "x" * 10_000, "rft_é_b_00000000", "a\0b"])
async def test_what_is_no_refresh_token(world: World, text: str) -> None:
    with pytest.raises(Unauthorized, match="log in again"):
        await world.registry.access.token_service.by_refresh(text, world.wanted())


async def test_a05_a_new_password_removes_them_all(world: World) -> None:
    logins = [await world.login("alice", offline=True) for _ in range(3)]
    await world.registry.access.users.set_password("alice", "another one", OPERATING)
    assert await world.count("refresh_token") == 0
    for issued in logins:
        with pytest.raises(Unauthorized):
            await world.refresh(issued)


async def test_a05_one_that_was_stored_for_an_old_password_is_no_good(world: World) -> None:
    """As when the login and the new password crossed: its row came after the others were removed."""
    issued = await world.login("alice", offline=True)
    kept = await execute(world.registry, "SELECT * FROM refresh_token")
    await world.registry.access.users.set_password("alice", PASSWORD, OPERATING)
    await execute(world.registry, f"INSERT INTO refresh_token VALUES ({', '.join('?' * len(kept[0]))})", *kept[0])
    with pytest.raises(Unauthorized):
        await world.refresh(issued)


async def test_a05_of_a_user_who_is_let_in_again_they_have_ended(world: World) -> None:
    issued = await world.login("alice", offline=True)
    for disabled in (True, False):
        await world.registry.access.users.set_disabled("alice", OPERATING, disabled=disabled)
        with pytest.raises(Unauthorized):
            await world.refresh(issued)
    assert (await world.login("alice")).token


async def test_the_oldest_login_of_too_many_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_service, "REFRESH_LIMIT", 3)
    await add_user(world.registry, "bob")
    of_bob = await world.login("bob", offline=True)
    logins = []
    for _ in range(4):
        world.clock.advance(1)
        logins.append(await world.login("alice", offline=True))
    with pytest.raises(Unauthorized):
        await world.refresh(logins[0])
    for issued in (*logins[1:], of_bob):
        assert (await world.refresh(issued)).token


async def test_a14_a_robots_login_ends_with_its_secret(world: World) -> None:
    secret = await add_robot(world.registry, "build", 2 * DAY)
    issued = await world.login("robot$build", secret, offline=True)
    world.clock.advance(2 * DAY - 1)
    assert (await world.refresh(issued)).token
    world.clock.advance(1)
    with pytest.raises(Unauthorized):
        await world.refresh(issued)


async def test_what_has_ended_is_removed_in_time(world: World) -> None:
    await world.login("alice", offline=True)
    world.clock.advance(DAY)
    await world.login("alice", offline=True)
    world.clock.advance(REFRESH_LIFETIME - DAY)
    await world.registry.access.forget_expired()
    assert await world.count("refresh_token") == 1


# --- jobs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def rule(world: World, issuer: Issuer) -> str:
    rule = replace(github_rule(issuer.url), lifetime=15 * MINUTE)
    await world.registry.access.rules.add(rule, OPERATING)
    await grant(world.registry, "ci:deploy", {"team/**": "pull,push"})
    return rule.name


async def test_a15_a_token_that_gets_nothing_is_not_used_up(world: World, rule: str, issuer: Issuer) -> None:
    text = issuer.mint(**github_claims())
    for _ in range(3):
        assert (await world.login("job", text)).granted == []
    assert await world.count("ci_login") == 0
    assert list(map(str, (await world.login("job", text, ALL)).granted)) == ["repository:team/app:pull,push"]
    for scopes in ((), (ALL,)):
        with pytest.raises(Unauthorized, match="used before"):
            await world.login("job", text, *scopes)


async def test_a15_of_many_at_once_one_logs_in(world: World, rule: str, issuer: Issuer) -> None:
    text = issuer.mint(**github_claims())
    answers = await asyncio.gather(*(world.login("job", text, ALL) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(answer, Issued) for answer in answers) == 1
    assert sum(isinstance(answer, Unauthorized) for answer in answers) == 9


async def test_a_jobs_login_lasts_as_its_rule_says(world: World, rule: str, issuer: Issuer) -> None:
    issued = await world.login("job", issuer.mint(**github_claims()), ALL, offline=True)
    assert issued.lifetime == 15 * MINUTE
    world.clock.advance(6 * MINUTE)
    assert (await world.refresh(issued)).lifetime == LIFETIME
    world.clock.advance(6 * MINUTE)
    assert (await world.refresh(issued)).lifetime == 3 * MINUTE, "nothing prolongs it"
    world.clock.advance(3 * MINUTE)
    with pytest.raises(Unauthorized):
        await world.refresh(issued)


async def test_a_jobs_login_is_told_with_its_facts(world: World, rule: str, issuer: Issuer) -> None:
    await world.login("job", issuer.mint(**github_claims()), ALL)
    ((identity, action, details),) = await world.events()
    assert (identity, action) == ("ci:deploy", "login")
    assert '"repository": "team/app"' in str(details)
    assert issuer.url in str(details)


async def test_a13_jobs_that_fail_are_counted(world: World, rule: str, issuer: Issuer) -> None:
    for _ in range(10):
        with pytest.raises(Unauthorized):
            await world.login("job", issuer.mint(**github_claims(repository_id="1")), ALL)
    with pytest.raises(TooManyRequests):
        await world.login("job", issuer.mint(**github_claims()), ALL)
    assert (await world.events())[-1] == ("anonymous", "login.failed", '{"user": "(unknown)"}')
    assert (await world.login("alice")).token, "people at that address are not meant"


# --- passwords -------------------------------------------------------------------------------------------------------

TRIES = {
    "wrong password": ("alice", "wrong"),
    "nobody": ("nobody", PASSWORD),
    "disabled, right": ("disabled", PASSWORD),
    "disabled, wrong": ("disabled", "wrong"),
    "deleted": ("deleted", PASSWORD),
    "name that nobody can have": ("a/b", PASSWORD),
    "long name": ("x" * 5000, PASSWORD),
    "empty name": ("", PASSWORD),
    "empty password": ("alice", ""),
    "long password": ("alice", "x" * 5000),
    "long password of nobody": ("nobody", "x" * 5000),
    "NUL": ("alice", "\0"),
    "name of a robot without its dollar": ("build", PASSWORD),
}


@pytest.mark.parametrize(("name", "password"), TRIES.values(), ids=list(TRIES))
async def test_a11_every_failure_takes_the_same_work(world: World, work: list[int], name: str, password: str) -> None:
    for user in ("disabled", "deleted"):
        await add_user(world.registry, user)
        assert (await world.login(user)).token
    await world.registry.access.users.set_disabled("disabled", OPERATING, disabled=True)
    await world.registry.access.users.delete("deleted", OPERATING)
    await add_robot(world.registry, "build")
    work.clear()
    for _ in range(2):
        with pytest.raises(Unauthorized, match="the user name or the password is wrong"):
            await world.login(name, password)
    assert work == [10, 10]


async def test_a11_what_is_right_takes_its_work_once(world: World, work: list[int]) -> None:
    for _ in range(3):
        await world.login("alice")
    assert work == [10]
    with pytest.raises(Unauthorized):
        await world.login("alice", "wrong")
    await world.login("alice")
    assert work == [10, 10]


async def test_a11_failures_are_told_alike(world: World) -> None:
    """But the log of whoever runs this names only users who exist: others may be mistyped passwords."""
    for name in ("alice", "nobody", "robot$nobody"):
        with pytest.raises(Unauthorized):
            await world.login(name, "wrong")
    told = [details for _, _, details in await world.events()]
    assert told == ['{"user": "alice"}', '{"user": "(unknown)"}', '{"user": "(unknown)"}']


async def test_a12_who_fails_too_often_is_refused_whatever_comes_next(world: World, work: list[int]) -> None:
    """Also with what was right a moment ago: else the memory of it could be asked as often as one likes."""
    issued = await world.login("alice", offline=True)
    for _ in range(10):
        with pytest.raises(Unauthorized):
            await world.login("alice", "wrong")
    work.clear()
    for password in ("wrong", PASSWORD):
        with pytest.raises(TooManyRequests):
            await world.login("alice", password)
    assert work == []
    assert (await world.refresh(issued)).token, "a login that lasts is no try"
    elsewhere = world.wanted(peer=Peer("192.0.2.2", is_private=True))
    assert (await world.registry.access.token_service.by_password("alice", PASSWORD, elsewhere)).token


async def test_a12_what_is_right_is_not_counted(world: World) -> None:
    for _ in range(50):
        await world.login("alice")
    secret = await add_robot(world.registry, "build")
    for _ in range(50):
        await world.login("robot$build", secret)
    assert await world.events() == []


async def test_a14_last_used_is_noted_once_an_hour(world: World) -> None:
    secret = await add_robot(world.registry, "build")
    used = "SELECT last_used_at FROM robot_secret"
    assert await execute(world.registry, used) == [(None,)]
    first = world.clock.now
    await world.login("robot$build", secret)
    world.clock.advance(MINUTE)
    await world.login("robot$build", secret)
    assert await execute(world.registry, used) == [(first,)]
