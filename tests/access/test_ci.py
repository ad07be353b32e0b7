"""A-15: CI logins: by which rule, and once for each token."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry.access.ci import Login
from registry.domain.ci_claims import LEEWAY
from registry.domain.errors import Unauthorized
from registry.domain.paging import PageRequest
from registry.metadata import ci
from tests.support.ci import Ci, generic_rule, github_rule, gitlab_rule, opened_ci
from tests.support.issuer import ELSEWHERE, JWKS, Issuer, Mode, github_claims, running_issuer
from tests.support.registry import Clock

MINUTE = 60_000
REUSE = 10_000
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer(Clock()) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def folder(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that knows the issuer's keys."""
    folder = tmp_path_factory.mktemp("ci")

    async def make() -> None:
        async with opened_ci(folder, Clock(), github_rule(issuer.url)) as process:
            await process.tokens.check(issuer.mint(**github_claims()))

    asyncio.run(make())
    return folder


async def test_a16_an_issuer_without_rules_is_not_asked(tmp_path: Path) -> None:
    with running_issuer(Clock()) as issuer:
        async with opened_ci(tmp_path, Clock(), github_rule("https://example.com")) as process:
            with pytest.raises(Unauthorized):
                await process.tokens.check(issuer.mint(**github_claims()))
            assert not (await process.tokens.explain(issuer.mint(**github_claims())))[0].passed
        assert not any(issuer.fetches.values())


async def test_a16_a_login_after_the_keys_rotated(tmp_path: Path) -> None:
    clock = Clock()
    with running_issuer(clock) as issuer:
        async with opened_ci(tmp_path, clock, github_rule(issuer.url)) as process:
            await process.tokens.check(issuer.mint(**github_claims()))
            old = issuer.mint(**github_claims())
            issuer.rotate()
            clock.advance(MINUTE)
            await process.tokens.check(issuer.mint(**github_claims()))
            with pytest.raises(Unauthorized):
                await process.tokens.check(old)
        assert issuer.fetches[JWKS] == 2
        assert issuer.fetches[ELSEWHERE] == 0


async def test_a_login_says_what_it_is_worth(folder: Path, issuer: Issuer) -> None:
    clock = Clock()
    async with opened_ci(folder, clock) as process:
        login = await process.tokens.check(issuer.mint(**github_claims(actor="a" * 300, run_id=5678, jti="once")))
    assert (login.issuer, login.jti) == (issuer.url, "once")
    assert login.expires_at == clock() + 15 * MINUTE, "longer than the token, which has 5 minutes"
    assert login.facts == {
        "sub": "repo:team/app:ref:refs/heads/main",
        "repository": "team/app",
        "ref": "refs/heads/main",
        "run_id": "5678",
        "actor": "a" * 255,
    }


async def test_the_first_rule_by_name_that_passes_wins(tmp_path: Path) -> None:
    with running_issuer(Clock()) as issuer:
        rules = (
            github_rule(issuer.url, "b"),
            github_rule(issuer.url, "c"),
            github_rule(issuer.url, "a", ref=("refs/heads/release",)),
            gitlab_rule(issuer.url, "0"),
            generic_rule(issuer.url, "1"),
        )
        async with opened_ci(tmp_path, Clock(), *rules) as process:
            token = issuer.mint(**github_claims())
            assert (await process.tokens.check(token)).rule.name == "b"
            examined = await process.tokens.explain(token)
    assert [(found.rule.name, found.passed) for found in examined] == [
        ("0", False),
        ("1", False),
        ("a", False),
        ("b", True),
        ("c", True),
    ]


async def test_a15_a_replayed_token(tmp_path: Path) -> None:
    """Whichever process it comes to, and after a restart."""
    with running_issuer(Clock()) as issuer:
        token = issuer.mint(**github_claims())
        async with opened_ci(tmp_path, Clock(), github_rule(issuer.url)) as one, opened_ci(tmp_path, Clock()) as other:
            logins = [await process.tokens.check(token) for process in (one, other) for _ in range(5)]
            uses = [process.tokens.use(login, HERE) for process, login in zip([one, other] * 5, logins, strict=True)]
            outcomes = await asyncio.gather(*uses, return_exceptions=True)
            assert outcomes.count(True) == 1
            assert sum(isinstance(outcome, Unauthorized) for outcome in outcomes) == 9
        async with opened_ci(tmp_path, Clock()) as restarted:
            with pytest.raises(Unauthorized):
                await restarted.tokens.use(await restarted.tokens.check(token), HERE)
            (examined,) = await restarted.tokens.explain(token)
            assert [check.what for check in examined.checks if not check.passed] == ["single use"]


async def test_a15_a_used_token_is_remembered_until_nobody_accepts_it(tmp_path: Path) -> None:
    clock = Clock()
    with running_issuer(clock) as issuer:
        async with opened_ci(tmp_path, clock, github_rule(issuer.url)) as process:
            token = issuer.mint(**github_claims())
            login: Login = await process.tokens.check(token)
            await process.tokens.use(login, HERE)
            clock.advance((300 + LEEWAY) * 1000 - 1)
            assert await process.database.write(ci.remove_expired_logins, 100) == 0
            with pytest.raises(Unauthorized):
                await process.tokens.use(await process.tokens.check(token), HERE)
            clock.advance(1)
            with pytest.raises(Unauthorized):
                await process.tokens.check(token)
            clock.advance(LEEWAY * 1000)
            assert await process.database.write(ci.remove_expired_logins, 100) == 1


async def test_a_rule_may_let_a_token_be_used_again(tmp_path: Path) -> None:
    """Soon, from the same address."""
    clock = Clock()
    with running_issuer(clock) as issuer:
        async with opened_ci(tmp_path, clock, replace(github_rule(issuer.url), reuse=REUSE)) as process:
            token = issuer.mint(**github_claims())
            login = await process.tokens.check(token)
            for address in (HERE, THERE):
                await process.tokens.check_use(login, address)
            assert await process.tokens.use(login, HERE)
            clock.advance(REUSE - 1)
            assert not await process.tokens.use(login, HERE)
            await process.tokens.check_use(login, HERE)
            await refused(process, login, THERE, None)
            (examined,) = await process.tokens.explain(token)
            assert [check.what for check in examined.checks if not check.passed] == ["single use"]
            clock.advance(1)
            await refused(process, login, HERE)
            # set back behind the first use
            clock.advance(-REUSE - 1)
            await refused(process, login, HERE)


async def test_the_uses_of_one_command_come_at_the_same_time(tmp_path: Path) -> None:
    with running_issuer(Clock()) as issuer:
        rule = replace(github_rule(issuer.url), reuse=REUSE)
        async with opened_ci(tmp_path, Clock(), rule) as one, opened_ci(tmp_path, Clock()) as other:
            login = await one.tokens.check(issuer.mint(**github_claims()))
            uses = [process.tokens.use(login, HERE) for process in [one, other] * 5]
            assert sorted(await asyncio.gather(*uses)) == [False] * 9 + [True]


@pytest.mark.parametrize("reuse", [0, REUSE])
async def test_what_was_used_for_good_is_never_used_again(tmp_path: Path, reuse: int) -> None:
    with running_issuer(Clock()) as issuer:
        async with opened_ci(tmp_path, Clock(), replace(github_rule(issuer.url), reuse=reuse)) as process:
            login = await process.tokens.check(issuer.mint(**github_claims()))
            assert await process.tokens.use(login, None)
            await refused(process, login, HERE, None)


async def test_who_may_use_a_token_once_is_told_how_to_use_it_more(tmp_path: Path) -> None:
    with running_issuer(Clock()) as issuer:
        async with opened_ci(tmp_path, Clock(), github_rule(issuer.url)) as process:
            login = await process.tokens.check(issuer.mint(**github_claims()))
            assert await process.tokens.use(login, HERE)
            with pytest.raises(Unauthorized, match=r"used before; .*podman, buildah and containerd.* --reuse 10s"):
                await process.tokens.use(login, HERE)
            await refused(process, login, HERE, THERE, None)


async def refused(process: Ci, login: Login, *addresses: str | None) -> None:
    """Both ways."""
    for address in addresses:
        with pytest.raises(Unauthorized, match="used before"):
            await process.tokens.use(login, address)
        if address is not None:
            with pytest.raises(Unauthorized, match="used before"):
                await process.tokens.check_use(login, address)


async def test_looking_uses_nothing_up(folder: Path, issuer: Issuer) -> None:
    token = issuer.mint(**github_claims())
    async with opened_ci(folder, Clock()) as process:
        for _ in range(2):
            (examined,) = await process.tokens.explain(token)
            assert examined.passed
            assert examined.checks[0].what == "signature"
        await process.tokens.use(await process.tokens.check(token), HERE)


async def test_what_is_said_when_the_issuer_is_down(tmp_path: Path) -> None:
    with running_issuer(Clock()) as issuer:
        issuer.mode = Mode.DOWN
        async with opened_ci(tmp_path, Clock(), github_rule(issuer.url)) as process:
            (examined,) = await process.tokens.explain(issuer.mint(**github_claims()))
    assert [check.what for check in examined.checks if not check.passed] == ["signature"]


async def test_rules_are_listed_and_removed(tmp_path: Path) -> None:
    made = [github_rule("https://example.com", name) for name in ("b", "a", "c")]
    made[1] = replace(made[1], reuse=REUSE)
    async with opened_ci(tmp_path, Clock(), *made) as process:
        listed = await process.database.read(ci.list_rules, PageRequest(1))
        assert [rule.name for rule in listed] == ["a", "b"]
        assert (listed[0].claims, listed[0].created_at) == (made[1].claims, Clock()())
        assert [rule.reuse for rule in listed] == [REUSE, 0]
        assert await process.database.write(ci.delete_rule, "a")
        assert not await process.database.write(ci.delete_rule, "a")
        assert await process.database.read(ci.find_rule, "a") is None
        assert [rule.name for rule in await process.database.read(ci.list_rules, PageRequest(1, "b"))] == ["c"]
