"""What a CI job's token says, compared with a rule: each claim by itself, so that a refusal can be explained.

The signature was checked before (access/ci_token.py). Nothing is normalised: what differs is another one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry.domain.ci import PROVIDERS, TEXT_LIMIT, Rule
from registry.domain.strict_json import Json

# Clocks differ by so many seconds
LEEWAY = 60
# No job runs longer than a month, and each token that logged in is remembered until it ends
LONGEST_TOKEN = 31 * 86_400


@dataclass(frozen=True, slots=True)
class Check:
    """`what` was looked at, and what was found there; claims are no secrets."""

    what: str
    passed: bool
    detail: str


def examine(rule: Rule, claims: Mapping[str, Json], now: int) -> list[Check]:
    """Every check of a rule, at `now` in seconds. A token passes when all do."""
    return [
        _issuer(rule, claims.get("iss")),
        _audience(rule, claims.get("aud")),
        _expiry(claims.get("exp"), now),
        _issued(claims.get("iat"), now),
        _not_before(claims, now),
        _token_id(claims.get("jti")),
        *_event(rule, claims),
        *(_claim(name, claims, allowed) for name, allowed in rule.claims.items()),
    ]


def _issuer(rule: Rule, found: Json) -> Check:
    return Check("iss", found == rule.issuer, f"found {_told(found)}, expected {rule.issuer!r}")


def _audience(rule: Rule, found: Json) -> Check:
    passed = found == rule.audience or (isinstance(found, list) and rule.audience in found)
    return Check("aud", passed, f"found {_told(found)}, expected {rule.audience!r}")


def _expiry(found: Json, now: int) -> Check:
    passed = type(found) is int and now - LEEWAY < found <= now + LONGEST_TOKEN
    return Check("exp", passed, f"found {_told(found)}, expected seconds from now, {now}, up to 31 days")


def _issued(found: Json, now: int) -> Check:
    passed = type(found) is int and found <= now + LEEWAY
    return Check("iat", passed, f"found {_told(found)}, expected seconds up to now, {now}")


def _not_before(claims: Mapping[str, Json], now: int) -> Check:
    found = claims.get("nbf")
    passed = "nbf" not in claims or (type(found) is int and found <= now + LEEWAY)
    return Check("nbf", passed, f"found {_told(found)}, expected none, or seconds up to now, {now}")


def _token_id(found: Json) -> Check:
    passed = isinstance(found, str) and 0 < len(found) <= TEXT_LIMIT
    return Check("jti", passed, f"found {_told(found)}, expected 1 to {TEXT_LIMIT} characters")


def _event(rule: Rule, claims: Mapping[str, Json]) -> list[Check]:
    provider = PROVIDERS[rule.provider]
    if not provider.event:
        return []
    found = claims.get(provider.event)
    passed = isinstance(found, str) and found != "" and not found.startswith(provider.refused)
    refused = ", ".join(f"{word}*" for word in provider.refused)
    return [Check(provider.event, passed, f"found {_told(found)}, refused are {refused} and none")]


def _claim(name: str, claims: Mapping[str, Json], allowed: Sequence[str]) -> Check:
    found = _text(claims.get(name))
    passed = found is not None and any(_fits(found, value) for value in allowed)
    expected = " or ".join(repr(value) for value in allowed)
    return Check(name, passed, f"found {_told(claims.get(name))}, expected {expected}")


def _fits(found: str, allowed: str) -> bool:
    return found.startswith(allowed[:-1]) if allowed.endswith("*") else found == allowed


def _text(value: Json) -> str | None:
    """Some issuers write ids as numbers, some as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) else None


def _told(value: Json) -> str:
    if value is None:
        return "none"
    told = repr(value)
    return told if len(told) <= TEXT_LIMIT else told[:TEXT_LIMIT] + "…"


def facts(claims: Mapping[str, Json], names: Sequence[str]) -> dict[str, str]:
    """Those of these claims that the token has, as short text."""
    found = {name: _text(claims.get(name)) for name in names}
    return {name: value[:TEXT_LIMIT] for name, value in found.items() if value is not None}
