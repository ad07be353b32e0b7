"""An OIDC issuer of CI tokens, as GitHub and GitLab are, run by the tests on this machine; it can also misbehave.

It serves from a thread of its own, so that a registry in this process and one in another can ask it.
"""

import asyncio
import gzip
import json
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum, auto
from functools import cache
from typing import Any

from aiohttp import web
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

AUDIENCE = "https://registry.example.com"
ABSENT: Any = object()
"""As the value of a claim: leave the claim out."""

DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/keys"
ELSEWHERE = "/elsewhere"
WAIT_SECONDS = 10.0
HUGE = 100 * 1024 * 1024


class Mode(Enum):
    """What the issuer does when it is asked for its keys, or, for OTHER_NAME and LEADS_AWAY, where they are."""

    GOOD = auto()
    DOWN = auto()
    SLOW = auto()
    HUGE = auto()
    REDIRECT = auto()
    OTHER_NAME = auto()
    LEADS_AWAY = auto()
    SYMMETRIC = auto()
    SHORT_RSA = auto()
    ENCRYPTING = auto()
    EMPTY = auto()
    DUPLICATES = auto()
    NO_JSON = auto()
    COMPRESSED = auto()


class Issuer:
    """`now` tells the time in milliseconds; `fetches` counts what was asked for, by path."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.url = ""
        self.mode = Mode.GOOD
        # Seconds before it answers with keys
        self.delay = 0.0
        self.fetches = {DISCOVERY: 0, JWKS: 0, ELSEWHERE: 0}
        self.bytes_sent = 0
        # Published beside its keys
        self.oddities: list[Any] = []
        self.generation = 0
        self.keys: dict[str, Key] = {}
        self.rotate()

    def rotate(self) -> None:
        """New keys; the old ones are published no more."""
        self.generation += 1
        self.keys = {
            "ES256": ECKey.generate_key("P-256", self._about("ES256")),
            "RS256": RSAKey.import_key(_rsa(self.generation), self._about("RS256")),
            "EdDSA": OKPKey.generate_key("Ed25519", self._about("EdDSA")),
        }

    def mint(self, algorithm: str = "ES256", *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token with these claims over those that every token has; `header` over the usual header."""
        key = self.keys[algorithm]
        return self.sign({"alg": algorithm, "kid": key.kid, "typ": "JWT", **(header or {})}, self.claims(**claims), key)

    def claims(self, **claims: Any) -> dict[str, Any]:
        """What `mint` signs."""
        now = self._now() // 1000
        usual = {"iss": self.url, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300, "jti": str(uuid.uuid4())}
        return {name: value for name, value in {**usual, **claims}.items() if value is not ABSENT}

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any] | bytes, key: Key) -> str:
        """Any header, also one that the library would not write."""
        start = unsigned(header, claims).removesuffix(".")
        signature: bytes = JWSRegistry.algorithms[header["alg"]].sign(start.encode(), key)
        return f"{start}.{urlsafe_b64encode(signature).decode()}"

    def _about(self, algorithm: str) -> Any:
        return {"kid": f"{algorithm}-{self.generation}-{uuid.uuid4()}", "use": "sig", "alg": algorithm}

    # --- what it answers ---------------------------------------------------------------------------------------------

    async def discovery(self, request: web.Request) -> web.StreamResponse:
        self.fetches[DISCOVERY] += 1
        name = f"{self.url}/" if self.mode is Mode.OTHER_NAME else self.url
        leads_to = "http://keys.example.com" if self.mode is Mode.LEADS_AWAY else self.url
        return web.json_response({"issuer": name, "jwks_uri": leads_to + JWKS})

    async def jwks(self, request: web.Request) -> web.StreamResponse:
        self.fetches[JWKS] += 1
        if self.mode is Mode.DOWN:
            return web.Response(status=500, text="down")
        if self.mode is Mode.REDIRECT:
            return web.Response(status=302, headers={"Location": self.url + ELSEWHERE})
        if self.mode in (Mode.SLOW, Mode.HUGE):
            return await self._endless(request)
        await asyncio.sleep(self.delay)
        if self.mode is Mode.COMPRESSED:
            return web.Response(body=gzip.compress(self._key_set().encode()), headers={"Content-Encoding": "gzip"})
        return web.Response(text=self._key_set(), content_type="application/json")

    async def elsewhere(self, request: web.Request) -> web.StreamResponse:
        self.fetches[ELSEWHERE] += 1
        return web.Response(text=self._key_set(), content_type="application/json")

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        """A byte now and then, or all at once."""
        piece, pause = (b" " * 65_536, 0.0) if self.mode is Mode.HUGE else (b" ", 0.05)
        response = web.StreamResponse()
        await response.prepare(request)
        while self.bytes_sent < HUGE:
            await response.write(piece)
            self.bytes_sent += len(piece)
            await asyncio.sleep(pause)
        return response

    def _key_set(self) -> str:
        published = [key.as_dict(private=False) for key in self.keys.values()]
        if self.mode is Mode.SYMMETRIC:
            published = [OctKey.generate_key(256, {"kid": key.kid or ""}).as_dict() for key in self.keys.values()]
        elif self.mode is Mode.SHORT_RSA:
            published = [{**_short_rsa(), "kid": key.kid or ""} for key in self.keys.values()]
        elif self.mode is Mode.ENCRYPTING:
            published = [{**key, "use": "enc"} for key in published]
        elif self.mode is Mode.EMPTY:
            published = []
        text = json.dumps({"keys": [*self.oddities, *published]})
        if self.mode is Mode.DUPLICATES:
            return text.replace('"kty"', '"kty": "oct", "kty"')
        return "<html>" if self.mode is Mode.NO_JSON else text


def unsigned(header: Mapping[str, Any], claims: Mapping[str, Any] | bytes) -> str:
    """A token without a signature."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return f"{urlsafe_b64encode(json.dumps(header).encode()).decode()}.{urlsafe_b64encode(payload).decode()}."


def github_claims(**changes: Any) -> dict[str, Any]:
    """What a job of GitHub Actions says of itself, shortened."""
    return {
        "sub": "repo:team/app:ref:refs/heads/main",
        "repository": "team/app",
        "repository_id": "1234",
        "repository_owner": "team",
        "repository_owner_id": "99",
        "repository_visibility": "private",
        "event_name": "push",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "run_id": "5678",
        "run_attempt": "1",
        "actor": "alice",
        "actor_id": "7",
        "runner_environment": "github-hosted",
        **changes,
    }


def gitlab_claims(**changes: Any) -> dict[str, Any]:
    """What a job of GitLab says of itself, shortened."""
    return {
        "sub": "project_path:team/app:ref_type:branch:ref:main",
        "namespace_id": "72",
        "namespace_path": "team",
        "project_id": "20",
        "project_path": "team/app",
        "user_login": "alice",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "ref": "main",
        "ref_type": "branch",
        "ref_protected": "true",
        **changes,
    }


def wall_clock() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def running_issuer(now: Callable[[], int] = wall_clock) -> Iterator[Issuer]:
    """An issuer at `http://127.0.0.1:<free port>`."""
    issuer = Issuer(now)
    ready, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(issuer, ready, end)), name="issuer")
    thread.start()
    try:
        assert ready.wait(WAIT_SECONDS), "the issuer did not start"
        yield issuer
    finally:
        end.set()
        thread.join()


async def _serve(issuer: Issuer, ready: threading.Event, end: threading.Event) -> None:
    app = web.Application()
    app.router.add_get(DISCOVERY, issuer.discovery)
    app.router.add_get(JWKS, issuer.jwks)
    app.router.add_get(ELSEWHERE, issuer.elsewhere)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    ready.set()
    await asyncio.to_thread(end.wait)
    with suppress(ConnectionError):
        await runner.cleanup()


@cache
def _rsa(generation: int) -> Any:
    """Making one takes long."""
    return RSAKey.generate_key(2048).as_dict(private=True)


@cache
def _short_rsa() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RSAKey.generate_key(1024).as_dict(private=False)
