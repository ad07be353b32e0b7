"""A-15: the form and the signature of CI tokens; nothing in them is a key or leads to one (A-02)."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64encode

from registry.access.ci import looks_like_ci
from registry.access.ci_token import TOKEN_LIMIT
from registry.domain.errors import Unauthorized
from tests.support.ci import github_rule, opened_ci
from tests.support.issuer import Issuer, github_claims, running_issuer, unsigned
from tests.support.registry import Clock


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


def header(issuer: Issuer, algorithm: str = "ES256", **changes: Any) -> dict[str, Any]:
    return {"alg": algorithm, "kid": issuer.keys[algorithm].kid, **changes}


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_signatures_that_count(folder: Path, issuer: Issuer, algorithm: str) -> None:
    # x5t is GitHub's; what a header has beside that means nothing
    token = issuer.mint(algorithm, header={"x5t": "abc", "nonce": 1}, **github_claims())
    async with opened_ci(folder, Clock()) as process:
        assert (await process.tokens.check(token)).rule.name == "deploy"


def _none(issuer: Issuer) -> str:
    return unsigned(header(issuer, alg="none"), issuer.claims(**github_claims()))


def _none_signed(issuer: Issuer) -> str:
    return _none(issuer) + issuer.mint(**github_claims()).rpartition(".")[2]


def _hmac_with_the_public_key(issuer: Issuer) -> str:
    start = unsigned(header(issuer, "RS256", alg="HS256"), issuer.claims(**github_claims())).removesuffix(".")
    pem = issuer.keys["RS256"].as_pem(private=False)  # type: ignore[union-attr]
    signature = hmac.digest(pem, start.encode(), hashlib.sha256)
    return f"{start}.{urlsafe_b64encode(signature).decode()}"


def _own_key(**members: Any) -> Callable[[Issuer], str]:
    """Signed by a stranger, whose header says where the key is."""

    def make(issuer: Issuer) -> str:
        key = ECKey.generate_key("P-256")
        filled: dict[str, Any] = {
            name: key.as_dict(private=False) if value == "own" else value for name, value in members.items()
        }
        return issuer.sign(header(issuer) | filled, issuer.claims(**github_claims()), key)

    return make


def _with_header(**changes: Any) -> Callable[[Issuer], str]:
    """Signed by the issuer itself."""
    return lambda issuer: issuer.sign(
        {name: value for name, value in header(issuer, **changes).items() if value is not None},
        issuer.claims(**github_claims()),
        issuer.keys["ES256"],
    )


def _other_kid(issuer: Issuer) -> str:
    return issuer.mint("ES256", header={"kid": issuer.keys["RS256"].kid}, **github_claims())


def _other_algorithm(issuer: Issuer) -> str:
    """The key says RS256."""
    return issuer.sign(header(issuer, "RS256", alg="PS256"), issuer.claims(**github_claims()), issuer.keys["RS256"])


def _changed_claims(issuer: Issuer) -> str:
    start, _, signature = issuer.mint(**github_claims(ref="refs/heads/other")).split(".")
    claims = unsigned({}, issuer.claims(**github_claims())).split(".")[1]
    return f"{start}.{claims}.{signature}"


def _key_twice(issuer: Issuer) -> str:
    claims = b'{"repository_id":"4321",' + json.dumps(issuer.claims(**github_claims())).encode()[1:]
    return issuer.sign(header(issuer), claims, issuer.keys["ES256"])


def _no_object(issuer: Issuer) -> str:
    return issuer.sign(header(issuer), b"[]", issuer.keys["ES256"])


def _text(change: Callable[[str], str]) -> Callable[[Issuer], str]:
    return lambda issuer: change(issuer.mint(**github_claims()))


BAD: dict[str, Callable[[Issuer], str]] = {
    "alg none": _none,
    "alg none, with a signature": _none_signed,
    "HS256 by the public key": _hmac_with_the_public_key,
    "a stranger's key": _own_key(),
    "a stranger's key in jwk": _own_key(jwk="own"),
    "crit": _with_header(crit=["exp"]),
    "crit, unknown": _with_header(crit=["x"], x=1),
    "b64": _with_header(b64=True),
    "b64 false": _with_header(b64=False, crit=["b64"]),
    "jwk": _with_header(jwk={"kty": "oct", "k": "AA"}),
    "jku": _with_header(jku="https://example.com/keys"),
    "x5u": _with_header(x5u="https://example.com/certificate"),
    "x5c": _with_header(x5c=["AA"]),
    "no kid": _with_header(kid=None),
    "empty kid": _with_header(kid=""),
    "a number for a kid": _with_header(kid=1),
    "a kid that is a path": _with_header(kid="../../../dev/null"),
    "the kid of another key": _other_kid,
    "another algorithm than the key's": _other_algorithm,
    "changed claims": _changed_claims,
    "a claim twice": _key_twice,
    "claims that are no object": _no_object,
    "no signature": _text(lambda token: token.rpartition(".")[0] + "."),
    "half a signature": _text(lambda token: token[:-10]),
    "two parts": _text(lambda token: token.rpartition(".")[0]),
    "four parts": _text(lambda token: token + ".AA"),
    "padding": _text(lambda token: token + "=="),
    "a space": _text(lambda token: token + " "),
    "no ASCII": _text(lambda token: token + "\u0661"),
    "half a surrogate pair": _text(lambda token: token + "\ud800"),
    "too long": lambda issuer: issuer.mint(**github_claims(more="a" * TOKEN_LIMIT)),
    "no ASCII in the header": _text(lambda token: "\ud800" + token),
    "JSON serialisation": _text(
        lambda token: json.dumps(dict(zip(("protected", "payload", "signature"), token.split("."), strict=True)))
    ),
    "empty": _text(lambda token: ""),
    "dots": _text(lambda token: ".."),
    "brackets": lambda issuer: f"{urlsafe_b64encode(b'[' * 3000).decode()}.e30.AA",
}


@pytest.mark.parametrize("make", BAD.values(), ids=list(BAD))
async def test_a15_forms_and_signatures_that_do_not_count(
    folder: Path, issuer: Issuer, make: Callable[[Issuer], str]
) -> None:
    fetches = dict(issuer.fetches)
    token = make(issuer)
    async with opened_ci(folder, Clock()) as process:
        with pytest.raises(Unauthorized) as refused:
            await process.tokens.check(token)
        assert not any(part and part in refused.value.message for part in token.split("."))
        (examined,) = await process.tokens.explain(token)
        assert {check.what for check in examined.checks if not check.passed} in ({"form"}, {"signature"})
    assert issuer.fetches == fetches, "nothing in a token leads to a key"


async def test_a_key_that_says_no_algorithm_serves_those_of_its_kind(tmp_path: Path) -> None:
    with running_issuer(Clock()) as issuer:
        public = issuer.keys["RS256"].as_dict(private=False)
        issuer.oddities = [{name: public[name] for name in ("kty", "n", "e")} | {"kid": "plain"}]
        async with opened_ci(tmp_path, Clock(), github_rule(issuer.url)) as process:
            for algorithm in ("RS256", "RS384", "RS512", "PS256"):
                head = {"alg": algorithm, "kid": "plain"}
                token = issuer.sign(head, issuer.claims(**github_claims()), issuer.keys["RS256"])
                assert (await process.tokens.check(token)).rule.name == "deploy"


async def test_two_keys_of_one_id(tmp_path: Path) -> None:
    with running_issuer(Clock()) as issuer:
        issuer.oddities = [{**ECKey.generate_key("P-256").as_dict(private=False), "kid": issuer.keys["ES256"].kid}]
        async with opened_ci(tmp_path, Clock(), github_rule(issuer.url)) as process:
            assert (await process.tokens.check(issuer.mint(**github_claims()))).rule.name == "deploy"


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("eyJ" + "a" * 60 + "." + "b" * 10 + ".c", True),
        ("eyJ" + "a" * 50 + "." + "b" * 10 + ".c", False),
        ("eyJ" + "a" * 100, False),
        ("eyJ" + "a" * 100 + "..c", False),
        ("eyJ" + "a" * 100 + ".b.", False),
        ("eyJ" + "a" * 100 + ".b.c.d", False),
        ("xyJ" + "a" * 100 + ".b.c", False),
        ("", False),
    ],
)
def test_passwords_that_can_only_be_tokens(password: str, expected: bool) -> None:
    assert looks_like_ci(password) is expected
