"""Rules for CI jobs: whose identity tokens log in here. What a token says is compared in `ci_claims`.

Names can be given up and taken by somebody else, ids can't: every rule names ids of its provider (reliability e-2).
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from registry.domain.grants import parse_account
from registry.domain.problems import Invalid

MINUTE = 60_000
LIFETIME = 15 * MINUTE
LONGEST_LIFETIME = 12 * 60 * MINUTE
LONGEST_REUSE = MINUTE
# Characters of an issuer, an audience, a claim's name or its value
TEXT_LIMIT = 255
# Claims of a rule, and values of one
CLAIMS_LIMIT = 32
VALUES_LIMIT = 64

# These are looked at for every rule
_ALWAYS_EXAMINED = ("iss", "aud", "exp", "iat", "nbf", "jti")
_ISSUER = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?(?:/[A-Za-z0-9._~!$&'()+,;=:@%-]+)*/?"
)


@dataclass(frozen=True, slots=True)
class Provider:
    """Who runs jobs. One of `ids` is in every rule; `event` is the claim that says why a job runs.

    What strangers propose runs under events that begin with one of `refused`.
    """

    issuer: str
    ids: tuple[str, ...]
    event: str = ""
    refused: tuple[str, ...] = ()


PROVIDERS = {
    "github": Provider(
        "https://token.actions.githubusercontent.com",
        ("repository_id", "repository_owner_id"),
        event="event_name",
        refused=("pull_request",),
    ),
    "gitlab": Provider(
        "https://gitlab.com",
        ("project_id", "namespace_id"),
        event="pipeline_source",
        refused=("merge_request", "external_pull_request"),
    ),
    "generic": Provider("", ("sub",)),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """`claims`: the values that each may have; one that ends in * is a prefix. Times in milliseconds.

    Its logins are the subject `ci:<name>`, each for `lifetime`. `reuse`: for how long after its first use a token is
    good for more, from the same address; 0: for one use only.
    """

    name: str
    provider: str
    issuer: str
    audience: str
    claims: Mapping[str, tuple[str, ...]]
    lifetime: int
    reuse: int
    created_by: str
    created_at: int = 0
    id: int = 0


def parse_rule(
    name: str,
    provider: str,
    audience: str,
    claims: Mapping[str, Sequence[str]],
    *,
    created_by: str,
    issuer: str = "",
    lifetime: int = LIFETIME,
    reuse: int = 0,
) -> Rule:
    """A rule as it may be stored; raise Invalid. Without an issuer it is the provider's own."""
    known = PROVIDERS.get(provider)
    if known is None:
        raise Invalid(f"a provider is one of {', '.join(PROVIDERS)}")
    issuer = issuer or known.issuer
    if not is_issuer(issuer):
        raise Invalid("an issuer is the exact https:// address in the iss claim; http:// only on this machine")
    if not _is_text(audience):
        raise Invalid("an audience is the text that jobs ask for, such as https://registry.example.com")
    if not MINUTE <= lifetime <= LONGEST_LIFETIME:
        raise Invalid("a login lasts 1 minute to 12 hours")
    if not 0 <= reuse <= LONGEST_REUSE:
        raise Invalid("a token is used again within 1 minute at most")
    for problem in _problems(known, claims):
        raise Invalid(problem)
    allowed = {claim: tuple(values) for claim, values in claims.items()}
    return Rule(parse_account(name), provider, issuer, audience, allowed, lifetime, reuse, created_by)


def is_issuer(text: str) -> bool:
    """Whether keys may be asked for here: no query, no fragment, no user, and nobody on the way who changes them."""
    return len(text) <= TEXT_LIMIT and _ISSUER.fullmatch(text) is not None and is_secure(text)


def is_secure(url: str) -> bool:
    """Whether nobody on the way can change what this address answers."""
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        return False
    host = parts.hostname
    if not host or not port_is_valid or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_text(value: str) -> bool:
    return 0 < len(value) <= TEXT_LIMIT and value.isprintable()


def _problems(provider: Provider, claims: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if not any(claims.get(name) for name in provider.ids):
        yield f"a rule names at least one of {', '.join(provider.ids)}, which nobody else can take over"
    if len(claims) > CLAIMS_LIMIT:
        yield f"a rule has at most {CLAIMS_LIMIT} claims"
    for name, values in claims.items():
        if not _is_text(name):
            yield f"a claim's name is text of at most {TEXT_LIMIT} characters"
        if name in _ALWAYS_EXAMINED:
            yield f"{', '.join(_ALWAYS_EXAMINED)} are looked at for every rule; name another claim"
        if not 0 < len(values) <= VALUES_LIMIT:
            yield f"a claim has 1 to {VALUES_LIMIT} values"
        for value in values:
            yield from _problems_of_value(provider, name, value)


def _problems_of_value(provider: Provider, name: str, value: str) -> Iterator[str]:
    star = value.find("*")
    if not _is_text(value) or star == 0 or -1 < star < len(value) - 1:
        yield "a value is text, whole or with one * at its end; * alone would let every job in"
    is_id = name in provider.ids or name.endswith("_id")
    if is_id and star >= 0:
        yield f"{name} is exact, without *"
    if is_id and name != "sub" and not (value.isascii() and value.isdigit()):
        yield f"{name} is a number"
