"""Tokens that are none, or not for this: forged, of another class, too old, for too much (A-01 to A-06, A-15 to A-17,
A-21, A-22).
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64encode

from registry.access.bearer_tokens import TOKEN_LIMIT
from registry.assembly import Registry
from tests.support.access import (
    OPERATING,
    PASSWORD,
    add_robot,
    ask_token,
    basic,
    bearer,
    each_worker,
    grant,
    operate,
    settle,
    token,
)
from tests.support.ci import github_rule
from tests.support.credentials import (
    claims_of,
    from_somewhere,
    guarded_server,
    header_of,
    post_token,
    signed,
    signing_key,
    through_proxy,
)
from tests.support.issuer import ABSENT, JWKS, Issuer, Mode, github_claims, running_issuer, unsigned
from tests.support.registry import execute
from tests.support.server import LiveServer
from tests.support.wire import Answer, Wire, assert_no_traceback, assert_refused, head, request

SCOPE = "repository:team/app:pull,push"
TARGET = "/v2/team/app/tags/list"
DAY = 86_400_000


@dataclass(frozen=True)
class World:
    """The server, a token of alice's, and what it takes to make another one."""

    server: LiveServer
    issuer: Issuer
    token: str
    key: ECKey
    robot: str

    @property
    def header(self) -> dict[str, Any]:
        return header_of(self.token)

    @property
    def claims(self) -> dict[str, Any]:
        """Those of a token that was made now."""
        now = int(time.time())
        return {**claims_of(self.token), "iat": now, "exp": now + 300}

    def use(self, text: str | bytes) -> Answer:
        """As a bearer token."""
        value = text if isinstance(text, str) else text.decode("latin-1")
        return request(self.server, "GET", "/v2/", headers=bearer(value) | from_somewhere())

    def signed(self, header: Mapping[str, Any], claims: Mapping[str, Any] | bytes) -> str:
        """By the registry's own key, which no stranger has: so only what it says is wrong."""
        return signed(header, claims, self.key)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_issuer() as issuer, guarded_server(tmp_path_factory.mktemp("tokens")) as server:

        async def people(registry: Registry) -> str:
            await registry.access.rules.add(github_rule(issuer.url), OPERATING)
            await grant(registry, "ci:deploy", {"team/**": "pull,push"})
            secret = await add_robot(registry, "build")
            await grant(registry, "robot:build", {"team/**": "pull"})
            return secret

        robot = operate(server, people)
        settle()
        text = token(server, basic("alice") | from_somewhere(), SCOPE)
        yield World(server, issuer, text, signing_key(server), robot)


Forge = Callable[[World], str]


def test_the_whole_token_is_good_and_so_is_one_that_is_made_here(world: World) -> None:
    """Without this, what follows would prove nothing."""
    assert world.use(world.token).status == 200
    assert world.use(world.signed(world.header, world.claims)).status == 200


# --- signatures ------------------------------------------------------------------------------------------------


def _with(signature: bytes, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    return unsigned(header, claims) + urlsafe_b64encode(signature).decode()


def _unsigned(algorithm: str, *, keep: bool = False) -> Forge:
    return lambda world: (
        unsigned({**world.header, "alg": algorithm}, world.claims) + (world.token.rpartition(".")[2] if keep else "")
    )


def _hmac(secret: Callable[[ECKey], bytes]) -> Forge:
    """With what everybody may know as the secret."""

    def forge(world: World) -> str:
        start = unsigned({**world.header, "alg": "HS256"}, world.claims).removesuffix(".")
        signature = hmac.digest(secret(world.key), start.encode(), hashlib.sha256)
        return f"{start}.{urlsafe_b64encode(signature).decode()}"

    return forge


def _algorithm(name: object) -> Forge:
    return lambda world: world.signed({**world.header, "alg": name}, world.claims)


def _signature(signature: bytes) -> Forge:
    return lambda world: _with(signature, world.header, world.claims)


def _text(change: Callable[[str, str, str], str]) -> Forge:
    return lambda world: change(*world.token.split("."))


def _more_rights(world: World) -> str:
    claims = {**world.claims, "sub": "user:admin", "cid": "user.1.1"}
    return f"{unsigned(world.header, claims)}{world.token.rpartition('.')[2]}"


def _json(*, general: bool) -> Forge:
    """The other serialisation of RFC 7515."""

    def forge(world: World) -> str:
        protected, payload, signature = world.token.split(".")
        one = {"protected": protected, "signature": signature}
        whole = {"signatures": [one, one]} if general else one
        return json.dumps({"payload": payload, **whole}, separators=(",", ":"))

    return forge


FORGED: dict[str, Forge] = {
    "none": _unsigned("none"),
    "none in other letters": _unsigned("nOnE"),
    "none with a signature": _unsigned("none", keep=True),
    "no signature": _unsigned("ES256"),
    "HS256 with the public key as PEM": _hmac(lambda key: key.as_pem(private=False)),
    "HS256 with the public key as DER": _hmac(lambda key: key.as_der(private=False)),
    "HS256 with the public key as JSON": _hmac(lambda key: json.dumps(key.as_dict(private=False)).encode()),
    "HS256 with nothing": _hmac(lambda _: b""),
    "unknown algorithm": _algorithm("ES257"),
    "known algorithm of others": _algorithm("RS256"),
    "algorithm in other letters": _algorithm("es256"),
    "algorithm that is a list": _algorithm(["ES256"]),
    "algorithm that is null": _algorithm(None),
    "signature of zeros": _signature(bytes(64)),
    "signature of one byte": _signature(b"x"),
    "signature that is too long": _signature(bytes(10_000 // 4)),
    "another's signature": _text(lambda header, claims, signature: f"{header}.{claims}.{signature[:-4]}AAAA"),
    "signature of the subject before": _more_rights,
    "two signatures": _text(lambda header, claims, signature: f"{header}.{claims}.{signature}.{signature}"),
    "encrypted": _text(lambda header, claims, signature: f"{header}...{claims}.{signature}"),
    "flattened JSON": _json(general=False),
    "general JSON": _json(general=True),
    "no claims": _text(lambda header, _, signature: f"{header}..{signature}"),
    "no header": _text(lambda _, claims, signature: f".{claims}.{signature}"),
    "padded": _text(lambda header, claims, signature: f"{header}.{claims}.{signature}=="),
    "space inside": _text(lambda header, claims, signature: f"{header}. {claims}.{signature}"),
    "twice": _text(lambda *parts: ".".join(parts) + " " + ".".join(parts)),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=list(FORGED))
def test_a01_what_we_did_not_sign(world: World, forge: Forge) -> None:
    assert_refused(world.server, world.use(forge(world)), 401, "UNAUTHORIZED")


# --- headers ---------------------------------------------------------------------------------------------


def _own_key(**names: str) -> Forge:
    """A stranger's signature, and the way to the stranger's key."""

    def forge(world: World) -> str:
        key = ECKey.generate_key("P-256")
        public = key.as_dict(private=False)
        values: dict[str, Any] = {"key": public, "url": world.issuer.url + JWKS, "chain": ["MIIB"]}
        added = {name: values.get(value, value) for name, value in names.items()}
        return signed({**world.header, **added}, world.claims, key)

    return forge


STRANGE_KEYS = {
    "our kid": _own_key(),
    "jwk": _own_key(jwk="key"),
    "jku": _own_key(jku="url"),
    "x5u": _own_key(x5u="url"),
    "x5c": _own_key(x5c="chain"),
    "own kid": _own_key(kid="stranger", jwk="key"),
    "kid that is a path": _own_key(kid="../../../dev/null"),
    "kid that is SQL": _own_key(kid="' OR 1=1 --"),
    "kid that is an address": _own_key(kid="url", jku="url"),
    "kid with NUL": _own_key(kid="a\0b"),
    "empty kid": _own_key(kid=""),
}


@pytest.mark.parametrize("forge", STRANGE_KEYS.values(), ids=list(STRANGE_KEYS))
def test_a02_a_token_brings_no_key_along(world: World, forge: Forge) -> None:
    before = dict(world.issuer.fetches)
    assert_refused(world.server, world.use(forge(world)), 401, "UNAUTHORIZED")
    assert world.issuer.fetches == before, "nobody asks where a token leads"


ODD_HEADERS: dict[str, dict[str, Any]] = {
    "jwk": {"jwk": {"kty": "EC"}},
    "jku": {"jku": "http://127.0.0.1:1/"},
    "x5u": {"x5u": "http://127.0.0.1:1/"},
    "x5c": {"x5c": ["MIIB"]},
    "unknown crit": {"crit": ["exp", "unknown"], "unknown": 1},
    "known crit": {"crit": ["exp"]},
    "empty crit": {"crit": []},
    "crit that is text": {"crit": "exp"},
    "b64 false": {"b64": False, "crit": ["b64"]},
    "b64 false without crit": {"b64": False},
    "b64 that is 0": {"b64": 0},
    "zip": {"zip": "DEF"},
    "cty": {"cty": "JWT"},
    "typ of an id token": {"typ": "JWT"},
    "typ of others' access tokens": {"typ": "at+jwt"},
    "typ of a refresh token": {"typ": "rt+registry"},
    "typ of a session": {"typ": "session+registry"},
    "typ in other letters": {"typ": "AT+registry"},
    "no typ": {"typ": ABSENT},
    "no kid": {"kid": ABSENT},
    "no alg": {"alg": ABSENT},
    "kid that is a list": {"kid": [[]]},
    "kid that is null": {"kid": None},
    "kid that is a number": {"kid": 1},
    "one more": {"nonce": ""},
}


@pytest.mark.parametrize("changes", ODD_HEADERS.values(), ids=list(ODD_HEADERS))
def test_a03_a_header_is_ours_to_the_letter(world: World, changes: dict[str, Any]) -> None:
    changed = {**world.header, **changes}
    header = {name: value for name, value in changed.items() if value is not ABSENT}
    assert_refused(world.server, world.use(world.signed(header, world.claims)), 401, "UNAUTHORIZED")


NO_HEADERS = {
    "list": b'["alg","kid","typ"]',
    "text": b'"alg"',
    "number": b"1",
    "null": b"null",
    "empty": b"",
    "empty object": b"{}",
    "no JSON": b"alg",
    "no UTF-8": b'{"alg":"\xff"}',
    "UTF-16": '{"alg":"ES256"}'.encode("utf-16"),
    "NaN": b'{"alg":NaN}',
    "half a surrogate pair": rb'{"alg":"\ud800"}',
    "nested deeply": b'{"alg":' * 1000,
    "lists in lists": b"[" * 5000,
    "long number": b'{"alg":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("header", NO_HEADERS.values(), ids=list(NO_HEADERS))
def test_a03_a_header_that_is_no_object(world: World, header: bytes) -> None:
    assert_refused(world.server, world.use(signed(header, world.claims, world.key)), 401, "UNAUTHORIZED")


def test_a03_a_name_twice_in_the_header(world: World) -> None:
    header = b'{"alg":"none",' + json.dumps(world.header).encode()[1:]
    assert_refused(world.server, world.use(signed(header, world.claims, world.key)), 401, "UNAUTHORIZED")


# Where a credential may be sent, and what each of them is good for
PLACES: dict[str, Callable[[World, str, str], Answer]] = {
    "bearer": lambda world, _, secret: world.use(secret),
    "basic": lambda world, name, secret: request(
        world.server, "GET", "/v2/", headers=basic(name, secret) | from_somewhere()
    ),
    "login": lambda world, name, secret: ask_token(world.server, basic(name, secret) | from_somewhere(), SCOPE),
    "password": lambda world, name, secret: post_token(
        world.server, from_somewhere(), grant_type="password", username=name, password=secret, scope=SCOPE
    ),
    "refresh": lambda world, _, secret: post_token(
        world.server, from_somewhere(), grant_type="refresh_token", refresh_token=secret, scope=SCOPE
    ),
}
BASIC = {"basic", "login", "password"}
CLASSES: dict[str, tuple[str, set[str]]] = {
    "access token": ("alice", {"bearer"}),
    "refresh token": ("alice", {"refresh"}),
    "robot secret": ("robot$build", BASIC),
    "password": ("alice", BASIC),
    "CI token": ("job", {"login", "password"}),
}


def _refresh_token(world: World) -> str:
    answer = ask_token(world.server, basic("alice") | from_somewhere(), offline_token="true")
    return str(answer.document["refresh_token"])


def _secret(world: World, kind: str) -> str:
    make: dict[str, Callable[[], str]] = {
        "access token": lambda: world.token,
        "refresh token": lambda: _refresh_token(world),
        "robot secret": lambda: world.robot,
        "password": lambda: PASSWORD,
        "CI token": lambda: world.issuer.mint(**github_claims()),
    }
    return make[kind]()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", CLASSES)
def test_a03_no_credential_passes_for_another(world: World, kind: str, place: str) -> None:
    name, places = CLASSES[kind]
    answer = PLACES[place](world, name, _secret(world, kind))
    if place in places:
        assert answer.status == 200, answer.story
    else:
        assert_refused(world.server, answer, 401, "UNAUTHORIZED")


# --- claims ----------------------------------------------------------------------------------------------------


def _in(seconds: int) -> Callable[[], int]:
    return lambda: int(time.time()) + seconds


ODD_CLAIMS: dict[str, dict[str, Any]] = {
    "iss of another": {"iss": "https://registry.example.com"},
    "iss with a slash": {"iss": lambda iss: iss + "/"},
    "iss that is a list": {"iss": lambda iss: [iss]},
    "no iss": {"iss": ABSENT},
    "aud of another": {"aud": "registry.example.com"},
    "aud in a list": {"aud": lambda aud: [aud]},
    "aud with its scheme": {"aud": lambda aud: f"http://{aud}"},
    "no aud": {"aud": ABSENT},
    "expired": {"exp": _in(-120)},
    "expired long ago": {"exp": 0},
    "exp below zero": {"exp": -1},
    "exp that is text": {"exp": "9999999999"},
    "exp of 1e99": {"exp": 1e99},
    "exp without end": {"exp": float("inf")},
    "exp that is no number": {"exp": float("nan")},
    "exp with a fraction": {"exp": lambda: int(time.time()) + 300.5},
    "exp that is true": {"exp": True},
    "exp that is null": {"exp": None},
    "no exp": {"exp": ABSENT},
    "iat ahead": {"iat": _in(120)},
    "iat that is text": {"iat": "0"},
    "no iat": {"iat": ABSENT},
    "nbf ahead": {"nbf": _in(120)},
    "nbf that is past": {"nbf": 0},
    "no sub": {"sub": ABSENT},
    "sub that is a list": {"sub": ["user:alice"]},
    "sub that nobody is": {"sub": "user:nobody"},
    "another's sub": {"sub": "user:admin"},
    "sub without a kind": {"sub": "alice"},
    "empty sub": {"sub": ""},
    "no cid": {"cid": ABSENT},
    "empty cid": {"cid": ""},
    "cid of another password": {"cid": lambda cid: cid + "1"},
    "no jti": {"jti": ABSENT},
    "no access": {"access": ABSENT},
    "access that is null": {"access": None},
    "access that is an object": {"access": {}},
    "access of texts": {"access": ["repository:team/app:pull"]},
    "access without actions": {"access": [{"type": "repository", "name": "team/app"}]},
    "access with one more": {"access": [{"type": "repository", "name": "team/app", "actions": [], "class": "image"}]},
    "actions that are text": {"access": [{"type": "repository", "name": "team/app", "actions": "pull"}]},
    "actions of lists": {"access": [{"type": "repository", "name": "team/app", "actions": [["pull"]]}]},
    "no refused": {"refused": ABSENT},
    "one more": {"admin": True},
}


def _changed(value: Any, old: Any) -> Any:
    if not callable(value):
        return value
    return value(old) if isinstance(old, str) else value()


@pytest.mark.parametrize("case", ODD_CLAIMS)
def test_a04_claims_are_ours_to_the_letter(world: World, case: str) -> None:
    changes = {name: _changed(value, world.claims.get(name)) for name, value in ODD_CLAIMS[case].items()}
    claims = {name: value for name, value in {**world.claims, **changes}.items() if value is not ABSENT}
    headers = bearer(world.signed(world.header, claims)) | from_somewhere()
    assert_refused(world.server, request(world.server, "GET", TARGET, headers=headers), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b'"sub"', b"1", b"{", b"\xff", b"{}", b"[" * 3000])
def test_a04_a_payload_that_is_no_object(world: World, payload: bytes) -> None:
    assert_refused(world.server, world.use(world.signed(world.header, payload)), 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("claim", "seconds", "status"), [("exp", -30, 200), ("exp", -70, 401), ("iat", 50, 200), ("iat", 70, 401)]
)
def test_a04_clocks_may_differ_by_a_minute(world: World, claim: str, seconds: int, status: int) -> None:
    claims = {**world.claims, claim: int(time.time()) + seconds}
    assert world.use(world.signed(world.header, claims)).status == status


# --- length, garbage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "status", "code"),
    [
        (TOKEN_LIMIT, 401, "UNAUTHORIZED"),
        (TOKEN_LIMIT + 1, 401, "UNAUTHORIZED"),
        (20_000, 401, "UNAUTHORIZED"),
        (30_000, 431, "UNSUPPORTED"),
    ],
)
def test_a04_long_ones(world: World, length: int, status: int, code: str) -> None:
    start = f"{world.token.partition('.')[0]}."
    assert_refused(world.server, world.use(start + "A" * (length - len(start))), status, code)


def test_a06_the_longest_token_that_we_make_is_one_that_we_take(world: World) -> None:
    """A little more would be refused where it is asked for."""
    alice = basic("alice")
    names = [f"team/{number:02}{'x' * 48}" for number in range(64)]
    longest = ""
    for count in range(40, 65):
        answer = ask_token(
            world.server, alice | from_somewhere(), *(f"repository:{name}:pull" for name in names[:count])
        )
        if answer.status != 200:
            break
        longest = answer.document["token"]
    assert_refused(world.server, answer, 400, "UNSUPPORTED")
    assert TOKEN_LIMIT - 200 < len(longest) <= TOKEN_LIMIT
    assert world.use(longest).status == 200


part = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), max_size=80),
    st.binary(max_size=80).map(lambda data: urlsafe_b64encode(data).decode()),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: urlsafe_b64encode(json.dumps(value).encode()).decode()),
    st.sampled_from(["header", "claims", "signature"]),
)
garbage = st.one_of(
    st.lists(part, min_size=0, max_size=5).map(".".join),
    st.tuples(part, part, part).map(".".join),
    st.binary(max_size=200).map(
        lambda data: bytes(byte for byte in data if byte > 31 and byte != 127).decode("latin-1")
    ),
)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=garbage)
def test_a01_garbage_is_refused_and_harms_nothing(world: World, text: str) -> None:
    good = dict(zip(("header", "claims", "signature"), world.token.split("."), strict=True))
    made = ".".join(good.get(piece, piece) for piece in text.split("."))
    answer = world.use(made)
    assert answer.status == (200 if made.strip() == world.token else 401), (made, answer.story)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a01_a_token_with_one_character_changed(world: World, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(world.token) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=world.token[at]))
    assert world.use(world.token[:at] + other + world.token[at + 1 :]).status == 401


def test_garbage_ended_in_no_traceback(world: World) -> None:
    assert_no_traceback(world.server)


# --- scopes ----------------------------------------------------------------------------------------------------

GRANTED: dict[str, tuple[str, str]] = {
    "more than is held": ("repository:team/app:pull,push,*,delete,admin", "repository:team/app:delete,pull,push"),
    "everything": ("repository:team/app:*", "repository:team/app:delete,pull,push"),
    "a plugin": ("repository(plugin):team/app:pull", "repository:team/app:pull"),
    "name with a colon": ("repository:team/app:80:pull", ""),
    "name with a tab": ("repository:team/app:pull\trepository:team/app:push", ""),
    "host in the name": ("repository:127.0.0.1:5000/team/app:pull", ""),
    "no actions": ("repository:team/app:", ""),
    "another's": ("repository:other/app:pull,push", ""),
    "name that is none": ("repository:team/../app:pull", ""),
    "pattern": ("repository:team/**:pull", ""),
    "escaped name": ("repository:team%2Fapp:pull", ""),
    "no UTF-8": (b"repository:team/\xff:pull".decode("latin-1"), ""),
    "other letters": ("repository:TEAM/app:pull", ""),
    "unknown action": ("repository:team/app:overwrite,admin", ""),
    "unknown type": ("artifact:team/app:pull", ""),
    "catalog": ("registry:catalog:*", "registry:catalog:*"),
    "catalog, but no star": ("registry:catalog:pull", ""),
    "twice": ("repository:team/app:pull repository:team/app:push", "repository:team/app:pull repository:team/app:push"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("scope", "granted"), GRANTED.values(), ids=list(GRANTED))
def test_a06_a_token_is_for_what_is_held(world: World, method: str, scope: str, granted: str) -> None:
    if method == "GET":
        answer = ask_token(world.server, basic("alice") | from_somewhere(), scope)
    else:
        form = {"grant_type": "password", "username": "alice", "password": PASSWORD, "scope": scope}
        answer = post_token(world.server, from_somewhere(), **form)
    assert (answer.status, answer.document["scope"]) == (200, granted), answer.story
    assert world.use(answer.document["token"]).status == 200
    assert_no_traceback(world.server)


def test_a06_a_robot_with_pull_gets_pull(world: World) -> None:
    asked = "repository:team/app:pull,push,*,delete,admin"
    answer = ask_token(world.server, basic("robot$build", world.robot) | from_somewhere(), asked)
    assert answer.document["scope"] == "repository:team/app:pull"


def test_a06_strangers_get_a_token_for_nothing(world: World) -> None:
    answer = ask_token(world.server, from_somewhere(), "repository:team/app:*", "registry:api:*")
    assert (answer.status, answer.document["scope"]) == (200, ""), answer.story


MALFORMED = {
    "one word": "repository",
    "two words": "repository:some/thing",
    "no name": "repository::pull",
    "no type": ":some/thing:pull",
    "type with a space": "repo sitory:some/thing:pull",
    "type in capitals": "Repository:some/thing:pull",
    "open class": "repository(plugin:some/thing:pull",
    "actions with a space": "repository:some/thing:pull, push",
    "empty action": "repository:some/thing:pull,,push",
    "actions in capitals": "repository:some/thing:PULL",
    "actions with a star inside": "repository:some/thing:pu*l",
    "NUL": "repository:some/thing:pull\0",
}


@pytest.mark.parametrize("scope", MALFORMED.values(), ids=list(MALFORMED))
def test_a06_malformed_scopes(world: World, scope: str) -> None:
    answer = ask_token(world.server, basic("alice") | from_somewhere(), scope)
    assert_refused(world.server, answer, 400, "UNSUPPORTED")


@settings(max_examples=300, deadline=None)
@given(scope=st.one_of(st.binary(max_size=60), st.text("repositoryg:/,*()ab \0\xff", max_size=60).map(str.encode)))
def test_a06_any_bytes_as_a_scope(world: World, scope: bytes) -> None:
    answer = request(world.server, "GET", f"/auth/token?scope={quote(scope)}", headers=from_somewhere())
    assert answer.status in (200, 400), (scope, answer.story)
    if answer.status == 200:
        assert answer.document["scope"] == ""


@pytest.mark.parametrize(("count", "status"), [(64, 200), (65, 400), (1000, 400)])
@pytest.mark.parametrize("how", ["fields", "one field", "form"])
def test_a06_at_most_64_scopes(world: World, how: str, count: int, status: int) -> None:
    scopes = [f"repository:t/{number}:pull" for number in range(count)]
    if how == "form":
        answer = post_token(
            world.server,
            from_somewhere(),
            grant_type="password",
            username="alice",
            password=PASSWORD,
            scope=" ".join(scopes),
        )
    else:
        texts = scopes if how == "fields" else [" ".join(scopes)]
        query = "&".join(f"scope={quote(text, safe=':/')}" for text in texts)
        answer = request(world.server, "GET", f"/auth/token?{query}", headers=basic("alice") | from_somewhere())
    if how == "fields" and count == 1000:
        assert answer.status in (400, 414), answer.story
        return
    assert answer.status == status, answer.story


BAD_FORMS: dict[str, dict[str, str]] = {
    "no grant_type": {"username": "alice", "password": PASSWORD},
    "unknown grant_type": {"grant_type": "client_credentials", "username": "alice", "password": PASSWORD},
    "no password": {"grant_type": "password", "username": "alice"},
    "no name": {"grant_type": "password", "password": PASSWORD},
    "no refresh token": {"grant_type": "refresh_token"},
    "empty": {},
}


@pytest.mark.parametrize("form", BAD_FORMS.values(), ids=list(BAD_FORMS))
def test_a06_forms_that_ask_for_nothing(world: World, form: dict[str, str]) -> None:
    assert_refused(world.server, post_token(world.server, from_somewhere(), **form), 400, "UNSUPPORTED")


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b"&" * 1000, b"a=b&" * 200, b"x" * 70_000, b"{}"],
    ids=["bytes", "ands", "many", "long", "JSON"],
)
def test_a06_bodies_that_are_no_form(world: World, body: bytes) -> None:
    answer = request(world.server, "POST", "/auth/token", body, headers=from_somewhere())
    assert_refused(world.server, answer, 400, "UNSUPPORTED")


# --- CI tokens, as `docker login` sends them -------------------------------------------------------------


def log_in(world: World, ci_token: str) -> Answer:
    headers = basic("job", ci_token) | from_somewhere()
    return ask_token(world.server, headers, account="job", client_id="docker", offline_token="true")


def test_a15_a_job_logs_in_once(world: World) -> None:
    ci_token = world.issuer.mint(**github_claims())
    first = log_in(world, ci_token)
    assert first.status == 200, first.story
    assert_refused(world.server, log_in(world, ci_token), 401, "UNAUTHORIZED")
    refresh = first.document["refresh_token"]
    again = post_token(
        world.server, from_somewhere(), grant_type="refresh_token", refresh_token=refresh, scope=SCOPE, service="x"
    )
    assert again.document["scope"] == SCOPE
    headers = bearer(again.document["token"]) | from_somewhere()
    assert request(world.server, "POST", "/v2/team/app/blobs/uploads/", headers=headers).status == 202


OTHER_JOBS: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "https://registry.example.org"},
    "a pull request's": {"event_name": "pull_request_target"},
    "a fork": {"repository_id": "4321"},
    "an organisation of that name": {"repository_owner_id": "100"},
    "another name": {"repository": "team/App"},
    "no jti": {"jti": ABSENT},
    "expired": {"exp": 1},
    "issuer with a slash": {"iss": "slash"},
}


@pytest.mark.parametrize("changes", OTHER_JOBS.values(), ids=list(OTHER_JOBS))
def test_a15_other_jobs_do_not_log_in(world: World, changes: dict[str, Any]) -> None:
    told = {name: f"{world.issuer.url}/" if value == "slash" else value for name, value in changes.items()}
    answer = log_in(world, world.issuer.mint(**github_claims(**told)))
    assert_refused(world.server, answer, 401, "UNAUTHORIZED")
    assert "digestry ci test" in answer.errors[0]["message"]


def test_a16_an_issuer_that_is_down_keeps_nobody_out_and_is_not_asked_again_and_again(world: World) -> None:
    assert log_in(world, world.issuer.mint(**github_claims())).status == 200
    world.issuer.mode = Mode.DOWN
    before = dict(world.issuer.fetches)
    try:
        assert log_in(world, world.issuer.mint(**github_claims())).status == 200
        for number in range(20):
            made = world.issuer.mint(header={"kid": f"unknown-{number}"}, **github_claims())
            assert_refused(world.server, log_in(world, made), 401, "UNAUTHORIZED")
    finally:
        world.issuer.mode = Mode.GOOD
    assert sum(world.issuer.fetches.values()) - sum(before.values()) <= 2, "discovery and keys, once"


# --- the way in ------------------------------------------------------------------------------------------------

PUBLIC = "https://registry.example.com"
REALM = f'Bearer realm="{PUBLIC}/auth/token",service="registry.example.com"'
PRIVATE, CLEAR = 200, 403


@pytest.fixture(scope="module", params=["behind a proxy", "alone"])
def public(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LiveServer, bool]]:
    """A registry whose address is https, and whether it has a proxy that it believes."""
    has_proxy = request.param == "behind a proxy"
    trusted = '["127.0.0.1"]' if has_proxy else "[]"
    settings = {"REGISTRY_HTTP_HOST": PUBLIC, "REGISTRY_HTTP_TRUSTEDPROXIES": trusted}
    with guarded_server(tmp_path_factory.mktemp("public"), **settings) as server:
        yield server, has_proxy


WAYS: dict[str, tuple[dict[str, str], int, int]] = {
    # who asks, and whether the way is private: with a proxy that is believed, and without
    "this machine": ({}, PRIVATE, PRIVATE),
    "https": (through_proxy("192.0.2.1"), PRIVATE, CLEAR),
    "http": (through_proxy("192.0.2.1", "http"), CLEAR, CLEAR),
    "HTTPS": (through_proxy("192.0.2.1", "HTTPS"), PRIVATE, CLEAR),
    "a scheme that is none": (through_proxy("192.0.2.1", "wss"), CLEAR, CLEAR),
    "no scheme": (through_proxy("192.0.2.1", ""), CLEAR, CLEAR),
    "the client says https, the proxy http": (through_proxy("192.0.2.1", "https, http"), CLEAR, CLEAR),
    "the client says http, the proxy https": (through_proxy("192.0.2.1", "http, https"), PRIVATE, CLEAR),
    "loopback said": (through_proxy("127.0.0.1", "http"), CLEAR, CLEAR),
    "address but no scheme": ({"X-Forwarded-For": "192.0.2.1"}, CLEAR, CLEAR),
    "RFC 7239": ({"Forwarded": "for=192.0.2.1;proto=https"}, CLEAR, CLEAR),
    "Via": ({"Via": "1.1 proxy"}, CLEAR, CLEAR),
    "other words": ({"X-Forwarded-Ssl": "on", "Front-End-Https": "on", "X-Url-Scheme": "https"}, PRIVATE, PRIVATE),
}


@pytest.mark.parametrize("way", WAYS)
def test_a17_passwords_and_tokens_need_a_private_way(public: tuple[LiveServer, bool], way: str) -> None:
    server, has_proxy = public
    headers, with_proxy, without = WAYS[way]
    status = with_proxy if has_proxy else without
    form = {"grant_type": "password", "username": "alice", "password": PASSWORD}
    answers = [
        ask_token(server, headers),
        ask_token(server, basic("alice") | headers),
        post_token(server, headers, **form),
        request(server, "GET", "/v2/", headers=basic("alice") | headers),
    ]
    assert [answer.status for answer in answers] == [status] * 4, [answer.story for answer in answers]
    if status == CLEAR:
        for answer in answers:
            assert_refused(server, answer, 403, "DENIED")
            assert "https" in answer.errors[0]["message"]


def test_a17_scheme_twice_in_two_fields(public: tuple[LiveServer, bool]) -> None:
    """The proxy's own is the last."""
    server, has_proxy = public
    for first, second, private in (("https", "http", False), ("http", "https", has_proxy)):
        sent = head("GET", "/auth/token", {"X-Forwarded-Proto": first}).removesuffix(b"\r\n")
        with Wire(server) as wire:
            answer = wire.send(sent + b"X-Forwarded-Proto: " + second.encode() + b"\r\n\r\n").answer()
        assert answer.status == (PRIVATE if private else CLEAR), answer.story


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": 'evil.example",service="x'},
        {"Host": "registry.example.com:80"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example", **through_proxy("192.0.2.1")},
        {"Forwarded": "host=evil.example;proto=http"},
        {"X-Original-URL": "http://evil.example/", "X-Forwarded-Port": "1"},
    ],
)
def test_a17_the_realm_is_constant(public: tuple[LiveServer, bool], headers: dict[str, str]) -> None:
    server, _ = public
    answer = request(server, "GET", TARGET, headers=headers)
    assert (answer.status, answer.headers.get_all("WWW-Authenticate")) == (
        401,
        [f'{REALM},scope="repository:team/app:pull"'],
    ), answer.story


def test_a17_absolute_form_does_not_change_the_realm(public: tuple[LiveServer, bool]) -> None:
    server, _ = public
    answer = request(server, "GET", f"http://evil.example{TARGET}")
    assert answer.headers["WWW-Authenticate"].startswith(REALM), answer.story


def test_a17_a_bearer_token_needs_no_private_way(public: tuple[LiveServer, bool]) -> None:
    """It is short-lived, and a proxy's business; nothing is told that was not known on the way."""
    server, _ = public
    made = token(server, basic("alice"), SCOPE)
    headers = bearer(made) | through_proxy("192.0.2.1", "http")
    assert request(server, "GET", "/v2/", headers=headers).status == 200


def test_a17_passwords_in_the_clear_where_nobody_listens(tmp_path: Path) -> None:
    with guarded_server(tmp_path, REGISTRY_AUTH_PLAINHTTP="true") as server:
        clear = through_proxy("192.0.2.1", "http")
        assert request(server, "GET", "/v2/", headers=basic("alice") | clear).status == 200
        assert ask_token(server, basic("alice") | clear).status == 200


# --- credentials in other places -------------------------------------------------------------------------------


def _elsewhere(world: World) -> dict[str, tuple[str, dict[str, str]]]:
    """Query and headers."""
    authorization = basic("alice")["Authorization"]
    return {
        "access_token": (urlencode({"access_token": world.token}), {}),
        "token": (urlencode({"token": world.token, "bearer": world.token}), {}),
        "authorization in the query": (urlencode({"Authorization": authorization, "authorization": authorization}), {}),
        "name and password in the query": (urlencode({"username": "alice", "password": PASSWORD}), {}),
        "cookie": ("", {"Cookie": f"access_token={world.token}; token={world.token}; session={world.token}"}),
        "cookie with the header": ("", {"Cookie": f'Authorization="{authorization}"'}),
        "other headers": (
            "",
            {"X-Auth-Token": world.token, "X-Registry-Auth": authorization, "X-Authorization": authorization},
        ),
        "proxy's header": ("", {"Proxy-Authorization": authorization}),
        "user named by a proxy": ("", {"X-Forwarded-User": "alice", "X-Remote-User": "alice", "Remote-User": "alice"}),
    }


ELSEWHERE = [
    "access_token",
    "token",
    "authorization in the query",
    "name and password in the query",
    "cookie",
    "cookie with the header",
    "other headers",
    "proxy's header",
    "user named by a proxy",
]


@pytest.mark.parametrize("place", ELSEWHERE)
@pytest.mark.parametrize(
    ("method", "target"), [("GET", TARGET), ("POST", "/v2/team/app/blobs/uploads/"), ("GET", "/v2/")]
)
def test_a21_only_the_authorization_header_counts(world: World, place: str, method: str, target: str) -> None:
    query, headers = _elsewhere(world)[place]
    answer = request(world.server, method, f"{target}?{query}", headers=headers | from_somewhere())
    assert_refused(world.server, answer, 401, "UNAUTHORIZED")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a21_the_token_service_takes_passwords_from_nowhere_else(world: World, place: str) -> None:
    query, headers = _elsewhere(world)[place]
    answer = request(
        world.server, "GET", f"/auth/token?{query}&{urlencode({'scope': SCOPE})}", headers=headers | from_somewhere()
    )
    assert (answer.status, answer.document["scope"]) == (200, ""), answer.story
    assert claims_of(answer.document["token"])["sub"] == "anonymous"
    posted = request(
        world.server, "POST", f"/auth/token?grant_type=password&{query}", headers=headers | from_somewhere()
    )
    assert (posted.status, posted.code) == (400, "UNSUPPORTED"), posted.story


def test_a21_userinfo_of_a_target_is_no_login(world: World) -> None:
    answer = request(world.server, "GET", f"http://alice:{quote(PASSWORD)}@localhost{TARGET}", headers=from_somewhere())
    assert answer.status == 401, answer.story


# --- keys ------------------------------------------------------------------------------------------------------


def make_older(world: World, milliseconds: int) -> None:
    async def change(registry: Registry) -> None:
        await execute(registry, "UPDATE signing_key SET created_at = created_at - ?", milliseconds)
        await execute(registry, "UPDATE access_state SET revision = revision + 1")

    operate(world.server, change)
    settle()


def statuses(world: World, text: str) -> list[int]:
    """Of each worker."""
    with ExitStack() as stack:
        wires = each_worker(world.server, stack)
        sent = head("GET", "/v2/", bearer(text) | from_somewhere() | {"Connection": "keep-alive"})
        return [wire.send(sent).answer().status for wire in wires]


def test_a22_keys_rotate_with_overlap(world: World) -> None:
    """Last, because no token from before is left at its end."""
    first = world.token
    make_older(world, 31 * DAY)
    second = token(world.server, basic("alice") | from_somewhere(), SCOPE)
    assert header_of(second)["kid"] != header_of(first)["kid"]
    assert statuses(world, first) == statuses(world, second) == [200, 200]
    made = signed(world.header, world.claims, world.key)
    assert statuses(world, made) == [200, 200], "a token of the older key that nobody has seen"

    make_older(world, 31 * DAY)
    third = token(world.server, basic("alice") | from_somewhere(), SCOPE)
    settle()
    renewed = signed(world.header, {**world.claims, "jti": "another"}, world.key)
    assert statuses(world, renewed) == [401, 401], "the first key is gone"
    assert statuses(world, second) == statuses(world, third) == [200, 200]
