"""Bearer tokens and the keys that sign them: rotation, two processes, clocks that differ (A-01, A-22)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from joserfc import jws
from sqlalchemy import Connection

from registry.access import bearer_tokens, signing_keys
from registry.access.bearer_tokens import LEEWAY, TOKEN_LIMIT, BearerTokens
from registry.access.directory import Directory
from registry.access.signing_keys import KEEP, ROTATE, SigningKeys
from registry.domain.action import Action
from registry.domain.scopes import Scope, parse_scopes
from registry.metadata import tokens
from registry.metadata.database import Database
from registry.metadata.schema import upgrade
from storage.failure import FailureMark
from tests.support.credentials import claims_of, header_of, signed
from tests.support.registry import DAY, Clock

ISSUER = "https://registry.example.com"
AUDIENCE = "registry.example.com"
MINUTE = 60_000
SCOPES = parse_scopes(["repository:team/app:pull,push"])


@dataclass(frozen=True)
class Process:
    """What one process knows of tokens; `renew` what it learns each second."""

    database: Database
    directory: Directory
    keys: SigningKeys
    tokens: BearerTokens

    async def mint(self, lifetime: int = 5 * MINUTE) -> str:
        return await self.tokens.mint("user:alice", "user.1.1", SCOPES, [], lifetime)


@asynccontextmanager
async def process(
    folder: Path, clock: Callable[[], int], issuer: str = ISSUER, audience: str = AUDIENCE
) -> AsyncIterator[Process]:
    """A second one in the same folder is a second process."""
    if not (folder / "registry.db").exists():
        upgrade(folder / "registry.db")
    database = Database(folder / "registry.db", clock, FailureMark())
    directory = Directory(database, now=clock)
    keys = SigningKeys(database, directory, clock)
    try:
        yield Process(database, directory, keys, BearerTokens(keys, issuer=issuer, audience=audience, now=clock))
    finally:
        await database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def key_ids(made: Process) -> list[str]:
    return [key.id for key in await made.database.read(tokens.list_keys)]


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_a_token_says_who_asks_and_for_what(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one:
        granted, refused = parse_scopes(["repository:team/app:pull registry:catalog:*"]), parse_scopes(["a:b:c"])
        text = await one.tokens.mint("user:alice", "user.1.2", granted, refused, 5 * MINUTE)
        found = await one.tokens.verify(text)
    assert found is not None
    assert (found.subject, found.credential) == ("user:alice", "user.1.2")
    assert found.expires_at == clock.now + 5 * MINUTE
    assert found.scope.covers(Action.PULL, "team/app")
    assert found.scope.covers(Action.LIST, "")
    assert not found.scope.covers(Action.PUSH, "team/app")
    assert found.scope.refused == {("a", "b"): {"c"}}
    assert header_of(text) == {"alg": "ES256", "kid": header_of(text)["kid"], "typ": "at+registry"}


async def test_a_token_has_no_rights_and_no_secrets_in_it(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one:
        claims = claims_of(await one.mint())
    assert set(claims) == {"iss", "aud", "sub", "cid", "iat", "exp", "jti", "access", "refused"}


async def test_no_two_tokens_are_alike(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one:
        made = [await one.mint() for _ in range(3)]
    assert len({claims_of(text)["jti"] for text in made}) == 3


@pytest.mark.parametrize("name", ["team/app:80", "x" * 4000, "é", "\ud800", 'a"b', "a\0b", ""])
async def test_any_name_that_was_asked_for_can_stand_in_a_token(tmp_path: Path, clock: Clock, name: str) -> None:
    """Also one that nobody can have; half a surrogate pair makes a token for nothing."""
    async with process(tmp_path, clock) as one:
        text = await one.tokens.mint("anonymous", "", [], [Scope("repository", name, frozenset({"pull"}))], MINUTE)
        found = await one.tokens.verify(text)
    assert (found is None) == (name == "\ud800")
    assert found is None or found.scope.was_refused(Action.PULL, name)


async def test_whoever_uses_it_judges_its_time(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one:
        text = await one.mint()
        clock.advance(DAY)
        found = await one.tokens.verify(text)
        assert found is not None
        assert found.expires_at < clock.now


@pytest.mark.parametrize(("issuer", "audience"), [("https://other.example.com", AUDIENCE), (ISSUER, "other")])
async def test_a_token_is_for_one_registry(tmp_path: Path, clock: Clock, issuer: str, audience: str) -> None:
    """Also where two share their keys."""
    async with process(tmp_path, clock) as one, process(tmp_path, clock, issuer, audience) as other:
        text = await one.mint()
        assert await one.tokens.verify(text) is not None
        assert await other.tokens.verify(text) is None


async def test_keys_of_another_database_are_none(tmp_path: Path, clock: Clock) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    async with process(tmp_path / "one", clock) as one, process(tmp_path / "other", clock) as other:
        await other.mint()
        assert await other.tokens.verify(await one.mint()) is None


async def test_a_signature_is_checked_once(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    real = jws.deserialize_compact

    def count(text: str, *arguments: object, **options: object) -> object:
        checked.append(text)
        return real(text, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(jws, "deserialize_compact", count)
    monkeypatch.setattr(bearer_tokens, "CACHE_LIMIT", 2)
    async with process(tmp_path, clock) as one:
        made = [await one.mint() for _ in range(3)]
        for text in (made[0], made[0], made[1], made[2], made[0]):
            assert await one.tokens.verify(text) is not None
    assert checked == [*made, made[0]], "the oldest made way"


async def test_what_is_wrong_is_not_remembered(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one:
        text = await one.mint()
        for length in range(len(text)):
            assert await one.tokens.verify(text[:length]) is None
        assert not one.tokens._verified


async def test_long_ones_are_not_looked_at(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one:
        key = await one.keys.newest()
        header = header_of(await one.mint())
        scope = {"type": "repository", "name": "", "actions": []}
        for name, is_taken in (("x" * 100, True), ("x" * TOKEN_LIMIT, False)):
            claims = {**claims_of(await one.mint()), "access": [{**scope, "name": name}]}
            assert (await one.tokens.verify(signed(header, claims, key)) is not None) == is_taken


# --- keys ------------------------------------------------------------------------------------------------------------


async def test_a22_a_new_key_every_thirty_days_and_the_old_one_stays(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one:
        first = await one.mint()
        clock.advance(ROTATE - 1)
        assert header_of(await one.mint())["kid"] == header_of(first)["kid"]
        clock.advance(1)
        second = await one.mint()
        assert header_of(second)["kid"] != header_of(first)["kid"]
        assert len(await key_ids(one)) == 2
        async with process(tmp_path, clock) as fresh:  # one that has seen neither token
            assert await fresh.tokens.verify(first) is not None
            assert await fresh.tokens.verify(second) is not None


async def test_a22_a_key_goes_when_nothing_signed_by_it_can_be_in_use(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one:
        first = await one.mint()
        clock.advance(ROTATE)
        await one.mint()
        clock.advance(KEEP - ROTATE)
        third = await one.mint()
        assert header_of(first)["kid"] not in await key_ids(one)
        async with process(tmp_path, clock) as fresh:
            assert await fresh.tokens.verify(first) is None
            assert await fresh.tokens.verify(third) is not None


async def test_a22_uploads_outlive_no_key(tmp_path: Path, clock: Clock) -> None:
    """The last token of a key is good for uploads a day longer than it lives."""
    async with process(tmp_path, clock) as one:
        await one.mint()
        clock.advance(ROTATE - 1)
        last = await one.mint()
        clock.advance(2 * DAY)
        await one.mint()
        async with process(tmp_path, clock) as fresh:
            assert await fresh.tokens.verify(last) is not None


async def test_two_processes_make_one_key(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one, process(tmp_path, clock) as two:
        for _ in range(3):
            made = await asyncio.gather(*(process.mint() for process in (one, two) for _ in range(5)))
            assert len({header_of(text)["kid"] for text in made}) == 1
            clock.advance(ROTATE)
            for each in (one, two):
                await each.directory.renew()
        assert len(await key_ids(one)) == 2, "the first has gone when the third came"


async def test_a_key_that_another_process_has_just_made_is_known(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one, process(tmp_path, clock) as two:
        await one.mint()
        await two.mint()
        clock.advance(ROTATE)
        assert await two.tokens.verify(await one.mint()) is not None
        assert len(await key_ids(two)) == 2


async def test_keys_that_strangers_make_up_are_looked_for_once_a_second(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    real = tokens.list_keys

    def list_keys(connection: Connection) -> list[tokens.StoredKey]:
        nonlocal asked
        asked += 1
        return real(connection)

    async with process(tmp_path, clock) as one:
        text = await one.mint()
        monkeypatch.setattr(tokens, "list_keys", list_keys)
        monkeypatch.setattr(signing_keys, "LOOK_SECONDS", 3600.0)
        one.keys._looked_at = -3600.0
        for number in range(100):
            assert await one.keys.find(f"unknown{number}") is None
        assert await one.tokens.verify(text) is not None
    assert asked == 1


async def test_a_key_that_was_removed_is_forgotten_with_the_next_change(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a leak: a new key, the old one deleted, the revision raised."""
    monkeypatch.setattr("registry.access.directory.FRESH_SECONDS", 0.0)
    async with process(tmp_path, clock) as one, process(tmp_path, clock) as two:
        await one.mint()
        key = await one.keys.newest()
        assert await two.keys.find(str(key.kid)) is not None
        clock.advance(ROTATE)
        await one.database.write(tokens.delete_keys, older_than=DAY)
        await one.keys.rotate()
        await two.directory.renew()
        assert await two.keys.find(str(key.kid)) is None


async def test_what_is_stored_is_a_private_key_for_es256(tmp_path: Path, clock: Clock) -> None:
    async with process(tmp_path, clock) as one:
        await one.mint()
        (stored,) = await one.database.read(tokens.list_keys)
    assert stored.created_at == clock.now
    assert {"kty": "EC", "crv": "P-256", "kid": stored.id}.items() <= json.loads(stored.key).items()
    assert "d" in json.loads(stored.key)


# --- clocks that differ ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [0, MINUTE, 2 * MINUTE])
async def test_a22_clocks_may_differ_by_two_minutes(tmp_path: Path, skew: int) -> None:
    ahead, behind = Clock(), Clock()
    ahead.advance(skew)
    async with process(tmp_path, ahead) as one, process(tmp_path, behind) as two:
        for minting, verifying, clock in ((one, two, behind), (two, one, ahead)):
            found = await verifying.tokens.verify(await minting.mint())
            assert found is not None
            assert clock.now < found.expires_at + LEEWAY
        assert len(await key_ids(one)) == 1


async def test_a22_a_clock_that_is_further_ahead_is_not_believed(tmp_path: Path) -> None:
    ahead, behind = Clock(), Clock()
    ahead.advance(2 * MINUTE + 1000)
    async with process(tmp_path, ahead) as one, process(tmp_path, behind) as two:
        text = await one.mint()
        assert await two.tokens.verify(text) is None
        behind.advance(1000)
        assert await two.tokens.verify(text) is not None, "the refusal was not for good"


async def test_a22_keys_rotate_once_where_clocks_differ(tmp_path: Path) -> None:
    ahead, behind = Clock(), Clock()
    ahead.advance(2 * MINUTE)
    async with process(tmp_path, ahead) as one, process(tmp_path, behind) as two:
        await two.mint()
        for clock in (ahead, behind):
            clock.advance(ROTATE - MINUTE)
        new = await one.mint()  # for its clock the time has come
        old = await two.mint()
        for _ in range(2):
            for each, other in ((one, two), (two, one)):
                assert await other.tokens.verify(await each.mint()) is not None
            for clock in (ahead, behind):
                clock.advance(2 * MINUTE)
        assert await two.tokens.verify(new) is not None
        assert await one.tokens.verify(old) is not None
        assert len(await key_ids(one)) == 2
