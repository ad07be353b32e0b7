"""Who sent a request: what proxies say counts only as far as they are trusted."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from registry.web.proxies import TrustedProxies
from tests.support.server import LiveServer
from tests.support.wire import eventually, request

TRUSTED = ["10.0.0.0/8", "::1", "unix"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["192.0.2.7"], "192.0.2.7"),
        ("10.1.1.1", ["198.51.100.9, 192.0.2.7"], "192.0.2.7"),
        ("10.1.1.1", ["198.51.100.9, 192.0.2.7, 10.2.2.2"], "192.0.2.7"),
        ("10.1.1.1", ["192.0.2.7", "10.2.2.2,10.3.3.3"], "192.0.2.7"),
        ("10.1.1.1", ["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("unix", ["192.0.2.7"], "192.0.2.7"),
        ("::ffff:10.1.1.1", ["::ffff:192.0.2.7"], "192.0.2.7"),
        # from nobody we trust
        ("192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
        ("::2", ["198.51.100.9"], "::2"),
        # garbage
        ("10.1.1.1", ["nonsense"], "10.1.1.1"),
        ("10.1.1.1", [""], "10.1.1.1"),
        ("10.1.1.1", ["192.0.2.7, "], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.9, <script>, 10.2.2.2"], "10.2.2.2"),
        ("10.1.1.1", ["192.0.2.7:80"], "10.1.1.1"),
        ("10.1.1.1", ["," * 10_000], "10.1.1.1"),
    ],
)
def test_client(peer: str, forwarded: Sequence[str], client: str) -> None:
    assert TrustedProxies(TRUSTED).client(peer, forwarded) == client


def test_a_unix_peer_is_trusted_only_by_name() -> None:
    assert TrustedProxies(["0.0.0.0/0", "::/0"]).client("unix", ["192.0.2.7"]) == "unix"


def logged(server: LiveServer, agent: str) -> str:
    """The address in the log line of a request."""
    lines = [json.loads(line) for line in server.log.read_text("utf-8").splitlines() if agent in line]
    return str(lines[0]["http.request.remoteaddr"]) if lines else ""


@pytest.mark.parametrize(("trusted", "told"), [('["127.0.0.1"]', "192.0.2.7"), ("[]", "127.0.0.1")])
def test_the_access_log_tells_the_client(tmp_path: Path, trusted: str, told: str) -> None:
    settings = {
        "REGISTRY_AUTH_MODE": "open-anywhere",
        "REGISTRY_HTTP_TRUSTEDPROXIES": trusted,
        "REGISTRY_HTTP_WORKERS": "1",
    }
    server = LiveServer(tmp_path, settings).start()
    try:
        headers = {
            "X-Forwarded-For": "198.51.100.9, 192.0.2.7",
            "User-Agent": "told",
            "X-Forwarded-Host": "evil.example",
        }
        answer = request(server, "POST", "/v2/a/blobs/uploads/", headers=headers)
        assert answer.location.startswith("/v2/a/blobs/uploads/")
        eventually(lambda: logged(server, "told") == told)
    finally:
        server.stop()


@pytest.mark.parametrize(("trusted", "told"), [('["unix"]', "192.0.2.7"), ('["127.0.0.1"]', "unix")])
async def test_a_proxy_on_a_unix_socket(tmp_path: Path, trusted: str, told: str) -> None:
    path = tmp_path / "socket"
    settings = {
        "REGISTRY_AUTH_MODE": "open-anywhere",
        "REGISTRY_HTTP_TRUSTEDPROXIES": trusted,
        "REGISTRY_HTTP_ADDR": f"unix:{path}",
    }
    server = LiveServer(tmp_path, {**settings, "REGISTRY_HTTP_WORKERS": "1"}).start()
    try:
        reader, writer = await asyncio.open_unix_connection(path)
        fields = "Host: localhost\r\nX-Forwarded-For: 192.0.2.7\r\nUser-Agent: told\r\nConnection: close"
        writer.write(f"GET /v2/ HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
        eventually(lambda: logged(server, "told") == told)
    finally:
        server.stop()
