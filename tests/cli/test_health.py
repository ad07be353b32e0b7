"""`digestry health` finds the registry by the settings alone, and its exit code says whether it is ready."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from registry.cli import health
from tests.support.server import LiveServer


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[LiveServer]:
    server = LiveServer(folder, settings).start()
    try:
        yield server
    finally:
        server.stop()


def said(server: LiveServer, *arguments: str) -> tuple[int, str]:
    done = server.digestry("health", *arguments)
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def test_ready(live_server: LiveServer) -> None:
    assert said(live_server) == said(live_server, "--write") == (0, "ready")
    code, text = said(live_server, "--json")
    assert (code, json.loads(text)) == (0, {"ready": True, "reasons": []})


@pytest.mark.parametrize("everywhere", ["", "0.0.0.0", "localhost"])
def test_a_server_on_every_address_is_asked_on_loopback(live_server: LiveServer, everywhere: str) -> None:
    port = live_server.host.rpartition(":")[2]
    assert said(live_server, "--set", f"http.addr={everywhere}:{port}") == (0, "ready")


def test_not_ready_says_why(live_server: LiveServer) -> None:
    blobs, elsewhere = live_server.data / "blobs", live_server.data / "elsewhere"
    blobs.rename(elsewhere)
    try:
        code, text = said(live_server)
        assert (code, text.startswith("not ready: blobs: ")) == (1, True)
        code, text = said(live_server, "--json")
        assert (code, json.loads(text)["ready"]) == (1, False)
    finally:
        elsewhere.rename(blobs)
    assert said(live_server) == (0, "ready")


def test_over_a_unix_socket_until_nobody_is_there(tmp_path: Path) -> None:
    addr = f"unix:{tmp_path}/socket"
    with serving(tmp_path, REGISTRY_HTTP_ADDR=addr) as server:
        assert said(server) == (0, "ready")
    code, text = said(server)
    assert (code, text.startswith(f"not ready: {addr} does not answer: ")) == (1, True)


def test_over_tls(tmp_path: Path) -> None:
    """With a certificate for the name that clients use, made by nobody known."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-subj", "/CN=registry.example.com", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    variables = {"REGISTRY_HTTP_TLS_CERTIFICATE": str(certificate), "REGISTRY_HTTP_TLS_KEY": str(key)}
    with serving(tmp_path, **variables) as server:
        assert said(server) == (0, "ready")


class Stranger(BaseHTTPRequestHandler):
    """A web server of another kind."""

    body = b'{"status": "UP"}'

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's word
        """Say nothing."""


class Echo(Stranger):
    """One that is never ready, and names what it was asked."""

    def do_GET(self) -> None:
        self.body = json.dumps({"reasons": [self.path]}).encode()
        super().do_GET()


@contextmanager
def answering(kind: type[Stranger]) -> Iterator[str]:
    """The address of such a server, which answers once."""
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        thread.join()


def test_somebody_else_there(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(Stranger) as addr:
        assert health.health(flags=(f"http.addr={addr}",)) == 1
    assert capsys.readouterr().out == f"not ready: {addr} answers 200, not as a registry of ours\n"


@pytest.mark.parametrize(("write", "asked"), [(False, "/readyz"), (True, "/readyz?write=1")])
def test_only_write_asks_for_pushes(capsys: pytest.CaptureFixture[str], write: bool, asked: str) -> None:
    with answering(Echo) as addr:
        assert health.health(write=write, flags=(f"http.addr={addr}",)) == 1
    assert capsys.readouterr().out == f"not ready: {asked}\n"


def test_silence_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addr = f"127.0.0.1:{silent.getsockname()[1]}"
        assert health.health(flags=(f"http.addr={addr}",)) == 1
    assert capsys.readouterr().out == f"not ready: {addr} does not answer: timed out\n"
