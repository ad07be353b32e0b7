"""What people and strangers send to prove who they are: by whichever way, from whichever address, whole or forged."""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from registry.assembly import Registry
from tests.support.access import add_user, grant, operate, required
from tests.support.ports import free_port
from tests.support.server import LiveServer
from tests.support.wire import ALIVE_NAME, Answer, assert_sound, prepare, query, request

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_numbers = itertools.count(1)


@contextmanager
def guarded_server(folder: Path, **more: str) -> Iterator[LiveServer]:
    """Two workers that ask everybody, and believe a proxy on this machine. What `assert_serving` pulls is public.

    alice may do all in team/**.
    """
    address = f"127.0.0.1:{free_port()}"
    usual = {
        "REGISTRY_HTTP_HOST": f"http://{address}",
        "REGISTRY_HTTP_WORKERS": "2",
        "REGISTRY_HTTP_TRUSTEDPROXIES": '["127.0.0.1"]',
        "REGISTRY_LOG_LEVEL": "debug",
    }
    server = LiveServer(folder, required(**usual | more))
    server.host = address
    server.start()
    try:
        operate(server, _people)
        prepare(server)
        yield server
        assert_sound(server)
    finally:
        server.stop()


async def _people(registry: Registry) -> None:
    await grant(registry, "anonymous", {ALIVE_NAME: "pull,push"})
    await add_user(registry, "alice", **{"team/**": "pull,push,overwrite,delete"})


def through_proxy(address: str, scheme: str = "https") -> dict[str, str]:
    """What the proxy says of a request."""
    return {"X-Forwarded-For": address, "X-Forwarded-Proto": scheme}


def from_somewhere() -> dict[str, str]:
    """A client that no limit knows yet."""
    number = next(_numbers)
    return through_proxy(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")


def post_token(server: LiveServer, headers: Mapping[str, str] | None = None, **form: str) -> Answer:
    """POST /auth/token, whatever the answer."""
    return request(server, "POST", "/auth/token", urlencode(form).encode(), headers={**FORM, **(headers or {})})


# --- tokens, taken apart and put together ----------------------------------------------------------------------------


def signing_key(server: LiveServer) -> ECKey:
    """The registry's own, which only its database knows."""
    ((key,),) = query(server, "SELECT key FROM signing_key ORDER BY created_at DESC LIMIT 1")
    return ECKey.import_key(json.loads(key))


def header_of(token: str) -> dict[str, Any]:
    return _decoded(token, 0)


def claims_of(token: str) -> dict[str, Any]:
    return _decoded(token, 1)


def signed(header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes, key: ECKey) -> str:
    """By ECDSA, whatever the header says, also one that no library would write."""
    start = f"{_encoded(header)}.{_encoded(claims)}"
    return f"{start}.{_encoded(JWSRegistry.algorithms['ES256'].sign(start.encode(), key))}"


def _decoded(token: str, part: int) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(urlsafe_b64decode(token.split(".")[part].encode()))
    return decoded


def _encoded(value: Mapping[str, Any] | bytes) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).decode()
