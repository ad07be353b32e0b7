"""A-16: what an issuer of CI tokens, or a stranger with made-up tokens, can do to the keys that are known of it."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.access import issuers
from registry.access.issuers import FRESH, KEYS_LIMIT, PAUSE
from registry.metadata import ci
from tests.support.ci import opened_ci
from tests.support.issuer import DISCOVERY, ELSEWHERE, JWKS, Issuer, Mode, running_issuer
from tests.support.registry import Clock

MINUTE = 60_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer(clock: Clock) -> Iterator[Issuer]:
    with running_issuer(clock) as issuer:
        yield issuer


def kid_of(issuer: Issuer, algorithm: str = "ES256") -> str:
    return issuer.keys[algorithm].kid or ""


async def asked_for_keys(issuer: Issuer) -> None:
    while not issuer.fetches[JWKS]:  # noqa: ASYNC110 - another thread counts
        await asyncio.sleep(0.01)


async def test_one_fetch_is_for_all_processes_and_outlives_them(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    async with opened_ci(tmp_path, clock) as one, opened_ci(tmp_path, clock) as other:
        for algorithm in issuer.keys:
            for process in (one, other):
                assert await process.issuers.keys(issuer.url, kid_of(issuer, algorithm)) is not None
    issuer.mode = Mode.DOWN
    async with opened_ci(tmp_path, clock) as restarted:
        assert await restarted.issuers.keys(issuer.url, kid_of(issuer)) is not None
    assert issuer.fetches == {DISCOVERY: 1, JWKS: 1, ELSEWHERE: 0}


async def test_many_first_logins_at_once_share_a_fetch(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    async with opened_ci(tmp_path, clock) as one, opened_ci(tmp_path, clock) as other:
        asked = [process.issuers.keys(issuer.url, kid_of(issuer)) for process in (one, other) for _ in range(10)]
        assert None not in await asyncio.gather(*asked)
    assert issuer.fetches[JWKS] == 1


async def test_logins_while_a_fetch_runs_wait_for_it(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    issuer.delay = 0.3
    async with opened_ci(tmp_path, clock) as one, opened_ci(tmp_path, clock) as other:
        first = asyncio.create_task(one.issuers.keys(issuer.url, kid_of(issuer)))
        await asked_for_keys(issuer)
        asked = [process.issuers.keys(issuer.url, kid_of(issuer)) for process in (one, other)]
        assert None not in await asyncio.gather(first, *asked)
    assert issuer.fetches[JWKS] == 1


async def test_a16_only_keys_of_the_asked_id_are_given(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    async with opened_ci(tmp_path, clock) as process:
        found = await process.issuers.keys(issuer.url, kid_of(issuer))
        assert found is not None
        assert [key.kid for key in found] == [kid_of(issuer)]
        assert not any(key.is_private for key in found)


async def test_a16_rotated_keys_are_known_a_minute_later(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    async with opened_ci(tmp_path, clock) as process:
        old = kid_of(issuer)
        assert await process.issuers.keys(issuer.url, old) is not None
        issuer.rotate()
        clock.advance(PAUSE - 1)
        assert await process.issuers.keys(issuer.url, kid_of(issuer)) is None
        assert await process.issuers.keys(issuer.url, old) is not None
        clock.advance(1)
        assert await process.issuers.keys(issuer.url, kid_of(issuer)) is not None
        assert await process.issuers.keys(issuer.url, old) is None, "it is published no more"


async def test_a16_a_withdrawn_key_ends_within_an_hour(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    """Also when nobody comes with a new one."""
    async with opened_ci(tmp_path, clock) as process:
        old = kid_of(issuer)
        assert await process.issuers.keys(issuer.url, old) is not None
        issuer.rotate()
        clock.advance(FRESH)
        assert await process.issuers.keys(issuer.url, old) is None


async def test_a16_a_flood_of_random_ids(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    """At most one fetch a minute, from all processes; good tokens go on."""
    async with opened_ci(tmp_path, clock) as one, opened_ci(tmp_path, clock) as other:
        assert await one.issuers.keys(issuer.url, kid_of(issuer)) is not None
        for minute in range(3):
            for step in range(4):
                asked = [
                    process.issuers.keys(issuer.url, f"{minute}-{step}-{number}")
                    for process in (one, other)
                    for number in range(50)
                ]
                assert set(await asyncio.gather(*asked)) == {None}
                assert await other.issuers.keys(issuer.url, kid_of(issuer)) is not None
                clock.advance(MINUTE // 4)
    assert issuer.fetches[DISCOVERY] == issuer.fetches[JWKS] == 3


async def test_a16_a_flood_while_the_issuer_is_down(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    issuer.mode = Mode.DOWN
    async with opened_ci(tmp_path, clock) as one, opened_ci(tmp_path, clock) as other:
        asked = [process.issuers.keys(issuer.url, f"{number}") for process in (one, other) for number in range(50)]
        assert set(await asyncio.gather(*asked)) == {None}
        clock.advance(PAUSE - 1)
        assert await one.issuers.keys(issuer.url, kid_of(issuer)) is None
        assert issuer.fetches[JWKS] == 1
        issuer.mode = Mode.GOOD
        clock.advance(1)
        assert await one.issuers.keys(issuer.url, kid_of(issuer)) is not None


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.GOOD])
async def test_a16_old_keys_outlast_any_failure(
    tmp_path: Path,
    clock: Clock,
    issuer: Issuer,
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened_ci(tmp_path, clock) as process:
        known = kid_of(issuer)
        assert await process.issuers.keys(issuer.url, known) is not None
        issuer.mode = mode
        clock.advance(FRESH)
        if mode is Mode.SLOW:
            monkeypatch.setattr(issuers, "FETCH_SECONDS", 0.5)
        with caplog.at_level(logging.WARNING):
            began = time.monotonic()
            assert await process.issuers.keys(issuer.url, known) is not None
            assert time.monotonic() - began < issuers.FETCH_SECONDS + 1
        assert [record.getMessage() for record in caplog.records if issuer.url in record.getMessage()]
        assert issuer.fetches[DISCOVERY] == 2
        assert issuer.fetches[ELSEWHERE] == 0
        assert issuer.bytes_sent < 16 * 1024 * 1024, "what is in flight between two sockets, at most"

        assert await process.issuers.keys(issuer.url, known) is not None
        clock.advance(PAUSE // 2)
        assert await process.issuers.keys(issuer.url, known) is not None
        assert issuer.fetches[DISCOVERY] == 2, "not again within the minute"
        issuer.mode = Mode.GOOD
        clock.advance(PAUSE // 2)
        assert await process.issuers.keys(issuer.url, known) is not None
        assert issuer.fetches[DISCOVERY] == 3


async def test_an_issuer_that_nobody_listens_for(tmp_path: Path, clock: Clock) -> None:
    async with opened_ci(tmp_path, clock) as process:
        assert await process.issuers.keys("http://127.0.0.1:1", "kid") is None


async def test_keys_that_cannot_be_used_are_left_out(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    public = issuer.keys["ES256"].as_dict(private=False)
    rsa = issuer.keys["RS256"].as_dict(private=False)
    issuer.oddities = [
        "no key",
        None,
        {},
        {"kty": "AKP", "kid": "post-quantum", "alg": "ML-DSA-44", "pub": "AA"},
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
        {**public, "kid": 1},
        {**public, "kid": ""},
        {name: value for name, value in public.items() if name != "kid"},
        {**public, "kid": "for encryption", "use": "enc"},
        {**public, "kid": "signs only", "key_ops": ["sign"]},
        {**public, "kid": "off the curve", "x": public["y"]},
        {**public, "kid": "other curve", "crv": "secp256k1"},
        {**public, "kid": "curve of RSA", "kty": "RSA"},
        {**rsa, "kid": "no modulus", "n": ""},
        {**rsa, "kid": "too long", "n": "_" * 1400},
        {"kty": "OKP", "kid": "for exchange", "crv": "X25519", "x": issuer.keys["EdDSA"].as_dict()["x"]},
        {"kty": ["EC"], "kid": "type"},
    ]
    async with opened_ci(tmp_path, clock) as process:
        assert await process.issuers.keys(issuer.url, kid_of(issuer)) is not None
        row = await process.database.read(ci.find_issuer, issuer.url)
    assert row is not None
    assert {key["kid"] for key in json.loads(row.keys)["keys"]} == {key.kid for key in issuer.keys.values()}


async def test_no_private_key_is_kept(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    issuer.oddities = [{**issuer.keys["ES256"].as_dict(private=True), "kid": "careless"}]
    async with opened_ci(tmp_path, clock) as process:
        found = await process.issuers.keys(issuer.url, "careless")
    assert found is not None
    assert not any(key.is_private for key in found)


async def test_a16_so_many_keys_are_kept(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    public = issuer.keys["ES256"].as_dict(private=False)
    issuer.oddities = [{**public, "kid": f"{number}"} for number in range(KEYS_LIMIT + 1)]
    async with opened_ci(tmp_path, clock) as process:
        assert await process.issuers.keys(issuer.url, f"{KEYS_LIMIT - 1}") is not None
        assert await process.issuers.keys(issuer.url, f"{KEYS_LIMIT}") is None


async def test_a16_a_client_that_leaves_does_not_waste_the_minute(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    issuer.delay = 0.3
    async with opened_ci(tmp_path, clock) as process:
        leaving = asyncio.create_task(process.issuers.keys(issuer.url, "made up"))
        await asked_for_keys(issuer)
        leaving.cancel()
        assert await process.issuers.keys(issuer.url, kid_of(issuer)) is not None
        assert leaving.cancelled()
    assert issuer.fetches[JWKS] == 1


async def test_a_clock_that_was_set_back_stops_no_fetch(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    async with opened_ci(tmp_path, clock) as process:
        assert await process.issuers.keys(issuer.url, kid_of(issuer)) is not None
        issuer.rotate()
        clock.advance(-86_400_000)
        assert await process.issuers.keys(issuer.url, kid_of(issuer)) is not None


async def test_closing_ends_a_fetch(tmp_path: Path, clock: Clock, issuer: Issuer) -> None:
    issuer.mode = Mode.SLOW
    async with opened_ci(tmp_path, clock) as process:
        waiting = asyncio.create_task(process.issuers.keys(issuer.url, "kid"))
        while not issuer.bytes_sent:  # noqa: ASYNC110 - another thread sends them
            await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(
    ("issuer_url", "address", "allowed"),
    [
        ("https://example.com", "https://keys.example.com/keys?p=1", True),
        ("https://example.com", "http://example.com/keys", False),
        ("https://example.com", "http://127.0.0.1/keys", False),
        ("https://example.com", "https://user:password@example.com/keys", False),
        ("https://example.com", "file:///etc/passwd", False),
        ("https://example.com", "", False),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/keys", True),
        ("http://127.0.0.1:8080", "http://example.com/keys", False),
        ("http://127.0.0.1:8080", "https://example.com/keys", True),
    ],
)
def test_where_an_issuer_may_lead_to(issuer_url: str, address: str, allowed: bool) -> None:
    assert issuers._may_lead_to(issuer_url, address) is allowed
