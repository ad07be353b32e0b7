"""Rules for CI: which may be stored."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from registry.domain.ci import LIFETIME, LONGEST_LIFETIME, LONGEST_REUSE, MINUTE, Rule, parse_rule
from registry.domain.problems import Invalid

AUDIENCE = "https://registry.example.com"
IDS = {"repository_id": ["1234"]}


def make(
    provider: str = "github", claims: Mapping[str, Sequence[str]] = IDS, audience: str = AUDIENCE, **more: Any
) -> Rule:
    return parse_rule(
        **{"name": "deploy", "provider": provider, "audience": audience, "claims": claims, "created_by": "x", **more}
    )


def test_a_rule_with_its_provider_s_issuer() -> None:
    made = make(claims={"repository_owner_id": ["99"], "ref": ["refs/tags/v*", "refs/heads/main"]})
    assert made.issuer == "https://token.actions.githubusercontent.com"
    assert (made.lifetime, made.reuse) == (LIFETIME, 0)
    assert made.claims == {"repository_owner_id": ("99",), "ref": ("refs/tags/v*", "refs/heads/main")}
    assert make("gitlab", {"project_id": ["20"]}).issuer == "https://gitlab.com"


@pytest.mark.parametrize(
    "issuer",
    [
        "https://gitlab.example.com",
        "https://gitlab.example.com:8443/sub/path",
        "https://tenant.auth.example.com/",
        "https://[2001:db8::1]",
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://[::1]:8080",
    ],
)
def test_issuers_that_keys_can_be_asked_of(issuer: str) -> None:
    assert make(issuer=issuer).issuer == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://gitlab.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "https://user@example.com",
        "https://example.com?x=1",
        "https://example.com#x",
        "https://example.com/a?b",
        "https://example.com:0",
        "https://example.com:99999",
        "https://",
        "https:///path",
        "HTTPS://example.com",
        "ftp://example.com",
        "example.com",
        " https://example.com",
        "https://example.com\n",
        "https://exa mple.com",
        "https://example.com/" + "a" * 255,
        "https://[::1",
    ],
)
def test_other_issuers(issuer: str) -> None:
    with pytest.raises(Invalid):
        make(issuer=issuer)


def test_a_generic_rule_needs_an_issuer() -> None:
    with pytest.raises(Invalid):
        make("generic", {"sub": ["job"]})
    assert make("generic", {"sub": ["job"]}, issuer="https://issuer.example.com").provider == "generic"


@pytest.mark.parametrize(
    ("provider", "claims"),
    [
        pytest.param("github", {}, id="none"),
        pytest.param("github", {"repository": ["team/app"], "repository_owner": ["team"]}, id="names only"),
        pytest.param("github", {"sub": ["repo:team/app:ref:refs/heads/main"]}, id="sub only"),
        pytest.param("github", {"project_id": ["20"]}, id="an id of another provider"),
        pytest.param("gitlab", {"project_path": ["team/app"], "namespace_path": ["team"]}, id="paths only"),
        pytest.param("generic", {"email": ["a@example.com"]}, id="generic without sub"),
        pytest.param("github", {"repository_id": []}, id="an id without values"),
    ],
)
def test_a15_a_rule_without_an_immutable_id(provider: str, claims: dict[str, list[str]]) -> None:
    """Names can be taken over by somebody else."""
    with pytest.raises(Invalid):
        make(provider, claims, issuer="https://issuer.example.com")


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("ref", "*"),
        ("ref", "**"),
        ("ref", "refs/*/main"),
        ("ref", "*main"),
        ("ref", "refs/**"),
        ("ref", ""),
        ("ref", "a\nb"),
        ("ref", "a" * 256),
        ("repository_id", "12*"),
        ("repository_id", "team/app"),
        ("repository_owner_id", "9*"),
        ("actor_id", "7*"),
        ("actor_id", "\u0661"),
        ("iss", "https://other.example.com"),
        ("exp", "1"),
        ("", "x"),
    ],
)
def test_a15_values_that_a_claim_cannot_have(claim: str, value: str) -> None:
    with pytest.raises(Invalid):
        make(claims={"repository_id": ["1234"], claim: [value]})


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"ref": ["*"]}, r"whole or with one \* at its end; \* alone would let every job in"),
        ({"iss": ["x"]}, "iss, aud, exp, iat, nbf, jti are looked at for every rule; name another claim"),
        ({"": ["x"]}, "a claim's name is text"),
    ],
)
def test_a_refused_claim_says_what_to_write(claims: dict[str, list[str]], told: str) -> None:
    with pytest.raises(Invalid, match=told):
        make(claims={**IDS, **claims})


def test_a15_a_generic_sub_is_exact() -> None:
    with pytest.raises(Invalid):
        make("generic", {"sub": ["job:*"]}, issuer="https://issuer.example.com")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "not a name"},
        {"provider": "jenkins"},
        {"audience": ""},
        {"audience": "a\n"},
        {"lifetime": MINUTE - 1},
        {"lifetime": LONGEST_LIFETIME + 1},
        {"reuse": -1},
        {"reuse": LONGEST_REUSE + 1},
        {"claims": {**IDS, **{f"claim{number}": ["x"] for number in range(32)}}},
        {"claims": {"repository_id": [str(number) for number in range(65)]}},
    ],
)
def test_other_rules_that_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        make(**changes)


@pytest.mark.parametrize("lifetime", [MINUTE, LONGEST_LIFETIME])
def test_the_shortest_and_the_longest_login(lifetime: int) -> None:
    assert make(lifetime=lifetime).lifetime == lifetime


def test_the_longest_reuse() -> None:
    assert make(reuse=LONGEST_REUSE).reuse == LONGEST_REUSE
