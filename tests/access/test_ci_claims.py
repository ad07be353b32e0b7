"""A-15: tokens of CI jobs with a good signature, and which claims make them worthless."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.domain.ci_claims import LEEWAY, LONGEST_TOKEN
from registry.domain.errors import Unauthorized
from tests.support.ci import generic_rule, github_rule, gitlab_rule, opened_ci
from tests.support.issuer import ABSENT, AUDIENCE, Issuer, github_claims, gitlab_claims, running_issuer
from tests.support.registry import Clock

NOW = Clock().now // 1000
SUBJECT = "repo:team/app:ref:refs/heads/main"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer(Clock()) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def folder(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with three rules."""
    folder = tmp_path_factory.mktemp("ci")
    rules = (
        github_rule(issuer.url, ref=("refs/heads/main", "refs/tags/v*"), private=("true",)),
        gitlab_rule(issuer.url),
        generic_rule(issuer.url, "other", SUBJECT),
    )

    async def make() -> None:
        async with opened_ci(folder, Clock(), *rules):
            pass

    asyncio.run(make())
    return folder


async def check(folder: Path, token: str) -> str:
    """The name of the rule that let it in."""
    async with opened_ci(folder, Clock()) as ci:
        return (await ci.tokens.check(token)).rule.name


async def failed(folder: Path, rule: str, token: str) -> list[str]:
    """What `digestry ci test` shows."""
    async with opened_ci(folder, Clock()) as ci:
        examined = {found.rule.name: found for found in await ci.tokens.explain(token)}
    assert not any(found.passed for found in examined.values())
    return [check.what for check in examined[rule].checks if not check.passed]


def github(**changes: Any) -> dict[str, Any]:
    # Another sub than the generic rule's
    return github_claims(**{"sub": "repo:team/app:environment:production", "private": True, **changes})


ANY_TOKEN: list[tuple[str, dict[str, Any]]] = [
    ("aud", {"aud": "https://other.example.com"}),
    ("aud", {"aud": AUDIENCE + "/"}),
    ("aud", {"aud": [AUDIENCE + "/", "https://other.example.com"]}),
    ("aud", {"aud": [[AUDIENCE]]}),
    ("aud", {"aud": {AUDIENCE: True}}),
    ("aud", {"aud": ""}),
    ("aud", {"aud": None}),
    ("aud", {"aud": ABSENT}),
    ("exp", {"exp": NOW - LEEWAY}),
    ("exp", {"exp": str(NOW + 300)}),
    ("exp", {"exp": 1e99}),
    ("exp", {"exp": NOW + 300.5}),
    ("exp", {"exp": True}),
    ("exp", {"exp": None}),
    ("exp", {"exp": ABSENT}),
    ("exp", {"exp": NOW + LONGEST_TOKEN + 1}),
    ("exp", {"exp": 99_999_999_999_999_999_999}),
    ("iat", {"iat": NOW + LEEWAY + 1}),
    ("iat", {"iat": str(NOW)}),
    ("iat", {"iat": float(NOW)}),
    ("iat", {"iat": ABSENT}),
    ("nbf", {"nbf": NOW + LEEWAY + 1}),
    ("nbf", {"nbf": str(NOW)}),
    ("nbf", {"nbf": None}),
    ("jti", {"jti": ABSENT}),
    ("jti", {"jti": ""}),
    ("jti", {"jti": 1}),
    ("jti", {"jti": "a" * 256}),
]
GITHUB: list[tuple[str, dict[str, Any]]] = [
    ("event_name", {"event_name": "pull_request"}),
    ("event_name", {"event_name": "pull_request_target"}),
    ("event_name", {"event_name": "pull_request_review"}),
    ("event_name", {"event_name": ""}),
    ("event_name", {"event_name": ["push"]}),
    ("event_name", {"event_name": ABSENT}),
    # a fork keeps the name in some claims, never the id
    ("repository_id", {"repository_id": "4321"}),
    ("repository_id", {"repository_id": "12345"}),
    ("repository_id", {"repository_id": "123"}),
    ("repository_id", {"repository_id": "*"}),
    ("repository_id", {"repository_id": ["1234"]}),
    ("repository_id", {"repository_id": 1234.0}),
    ("repository_id", {"repository_id": ABSENT}),
    # the organisation was renamed, and somebody else took its name
    ("repository_owner_id", {"repository_owner_id": "100"}),
    ("repository", {"repository": "team/app2"}),
    ("repository", {"repository": "Team/app"}),
    ("ref", {"ref": "refs/heads/main2"}),
    ("ref", {"ref": "refs/tags/"}),
    ("ref", {"ref": "refs/tags/*"}),
    ("ref", {"ref": "xrefs/tags/v1"}),
    ("private", {"private": 1}),
    ("private", {"private": False}),
]
GITLAB: list[tuple[str, dict[str, Any]]] = [
    ("pipeline_source", {"pipeline_source": "merge_request_event"}),
    ("pipeline_source", {"pipeline_source": "external_pull_request_event"}),
    ("pipeline_source", {"pipeline_source": ABSENT}),
    ("project_id", {"project_id": "21"}),
    ("project_id", {"project_id": True}),
    ("namespace_id", {"namespace_id": "73"}),
    ("ref_protected", {"ref_protected": "false"}),
    ("ref_protected", {"ref_protected": ABSENT}),
]
GENERIC: list[tuple[str, dict[str, Any]]] = [
    ("sub", {"sub": "*"}),
    ("sub", {"sub": "repo:team/app:*"}),
    ("sub", {"sub": SUBJECT + "2"}),
    ("sub", {"sub": SUBJECT + " "}),
    ("sub", {"sub": "repo:team/app"}),
    ("sub", {"sub": "repo:team/app:environment:x:ref:refs/heads/main"}),
    ("sub", {"sub": [SUBJECT]}),
    ("sub", {"sub": ""}),
    ("sub", {"sub": ABSENT}),
]


@pytest.mark.parametrize(("claim", "changes"), ANY_TOKEN + GITHUB)
async def test_a15_of_github(folder: Path, issuer: Issuer, claim: str, changes: dict[str, Any]) -> None:
    token = issuer.mint(**github(**changes))
    with pytest.raises(Unauthorized):
        await check(folder, token)
    assert await failed(folder, "deploy", token) == [claim]


@pytest.mark.parametrize(("claim", "changes"), ANY_TOKEN + GITLAB)
async def test_a15_of_gitlab(folder: Path, issuer: Issuer, claim: str, changes: dict[str, Any]) -> None:
    token = issuer.mint(**gitlab_claims(**changes))
    with pytest.raises(Unauthorized):
        await check(folder, token)
    assert await failed(folder, "release", token) == [claim]


@pytest.mark.parametrize(("claim", "changes"), ANY_TOKEN + GENERIC)
async def test_a15_of_another_issuer(folder: Path, issuer: Issuer, claim: str, changes: dict[str, Any]) -> None:
    token = issuer.mint(**{"sub": SUBJECT, **changes})
    with pytest.raises(Unauthorized):
        await check(folder, token)
    assert await failed(folder, "other", token) == [claim]


@pytest.mark.parametrize("said", ["{}/", "https://other.example.com", "{}/a", "HTTP{}", "", None, ["{}"], ABSENT])
async def test_a15_an_issuer_that_is_not_quite_the_rule_s(folder: Path, issuer: Issuer, said: Any) -> None:
    if isinstance(said, str):
        said = said.format(issuer.url)
    fetches = dict(issuer.fetches)
    token = issuer.mint(**github(iss=said))
    with pytest.raises(Unauthorized):
        await check(folder, token)
    assert await failed(folder, "deploy", token) == ["signature", "iss"]
    assert issuer.fetches == fetches, "nobody was asked"


@pytest.mark.parametrize(
    ("rule", "claims"),
    [
        ("deploy", github()),
        ("deploy", github(aud=["https://other.example.com", AUDIENCE])),
        ("deploy", github(repository_id=1234, private="true")),
        ("deploy", github(ref="refs/tags/v1.0")),
        ("deploy", github(event_name="workflow_dispatch")),
        ("deploy", github(exp=NOW - LEEWAY + 1, iat=NOW + LEEWAY, nbf=NOW + LEEWAY)),
        ("deploy", github(exp=NOW + LONGEST_TOKEN, nbf=ABSENT, jti="a" * 255)),
        ("release", gitlab_claims()),
        ("release", gitlab_claims(project_id=20, ref_protected=True)),
        ("other", {"sub": SUBJECT}),
    ],
)
async def test_tokens_that_pass(folder: Path, issuer: Issuer, rule: str, claims: dict[str, Any]) -> None:
    assert await check(folder, issuer.mint(**claims)) == rule


async def test_what_is_shown_says_what_was_found(folder: Path, issuer: Issuer) -> None:
    token = issuer.mint(**github(ref="refs/heads/\x1b[2J"))
    async with opened_ci(folder, Clock()) as ci:
        checks = {check.what: check.detail for check in (await ci.tokens.explain(token))[0].checks}
    assert checks["ref"] == r"found 'refs/heads/\x1b[2J', expected 'refs/heads/main' or 'refs/tags/v*'"
