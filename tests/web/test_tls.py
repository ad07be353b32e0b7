"""TLS from the settings: what is refused at the start, and that pushes, pulls and deadlines work through it."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from registry.config import SettingsError, load
from registry.tls import tls_context, tls_warning
from tests.support.certificates import Pair, make, openssl
from tests.support.hasty import COMMAND, HASTY
from tests.support.images import digest_of
from tests.support.memory import open_blobs, resident
from tests.support.server import LiveServer
from tests.support.wire import assert_no_traceback, eventually

MIB = 1024 * 1024
BIG = bytes(range(256)) * 4096 * 24


def expired(folder: Path, pair: Pair) -> Pair:
    """The same key, with a certificate whose time is over."""
    asked, certificate = folder / "expired.csr", folder / "expired.crt"
    openssl("req", "-new", "-key", str(pair.key), "-subj", "/CN=localhost", "-out", str(asked))
    signing = ["-signkey", str(pair.key), "-days", "-1", "-out", str(certificate)]
    openssl("x509", "-req", "-in", str(asked), *signing)
    return Pair(certificate, pair.key)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make(tmp_path_factory.mktemp("pair"), "good")


def problem(*flags: str) -> str:
    with pytest.raises(SettingsError) as raised:
        tls_context(load(None, {}, flags).settings)
    (told,) = raised.value.problems
    return told


def test_without_settings_there_is_no_tls() -> None:
    assert tls_context(load(None, {}, ()).settings) is None


def test_a_good_pair(pair: Pair) -> None:
    settings = load(None, {}, pair.flags).settings
    context = tls_context(settings)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls_warning(context, settings) == ""
    newer = tls_context(load(None, {}, [*pair.flags, "http.tls.minimumtls=tls1.3"]).settings)
    assert newer is not None
    assert newer.minimum_version == ssl.TLSVersion.TLSv1_3


def test_both_or_none(pair: Pair) -> None:
    assert problem(pair.flags[0]).startswith("http.tls.key: TLS needs")
    assert problem(pair.flags[1]).startswith("http.tls.certificate: TLS needs")


def test_files_that_are_not_there(tmp_path: Path, pair: Pair) -> None:
    gone = tmp_path / "gone"
    assert problem(f"http.tls.certificate={gone}", pair.flags[1]) == (
        f"http.tls.certificate: {gone}: No such file or directory"
    )
    assert problem(pair.flags[0], f"http.tls.key={tmp_path}") == f"http.tls.key: {tmp_path}: Is a directory"


def test_files_that_are_no_pair(tmp_path: Path, pair: Pair) -> None:
    other, another = make(tmp_path, "other"), make(tmp_path, "rsa", kind="rsa:2048")
    for key in (other.key, another.key):
        told = f"http.tls.key: {key} is not the key of {pair.certificate}"
        assert problem(pair.flags[0], f"http.tls.key={key}") == told


def test_files_that_are_something_else(tmp_path: Path, pair: Pair) -> None:
    junk = tmp_path / "junk"
    junk.write_text("junk")
    locked = make(tmp_path, "locked", "-passout", "pass:secret")
    expected = "http.tls.certificate, http.tls.key: expected PEM files, the key without a password"
    assert problem(pair.flags[0], f"http.tls.key={junk}").startswith(expected)
    assert problem(f"http.tls.certificate={junk}", pair.flags[1]).startswith(expected)
    assert problem(*locked.flags).startswith(expected)


def test_config_check_tells(tmp_path: Path, pair: Pair) -> None:
    good = LiveServer(tmp_path, pair.variables).digestry("config", "check", "--json")
    assert (good.returncode, json.loads(good.stdout)) == (0, {"warnings": []})
    old = LiveServer(tmp_path, expired(tmp_path, pair).variables).digestry("config", "check", "--json")
    told = "http.tls.certificate: clients will refuse it: certificate has expired"
    assert (old.returncode, json.loads(old.stdout)) == (0, {"warnings": [told]})
    half = LiveServer(tmp_path, {"REGISTRY_HTTP_TLS_KEY": str(pair.key)}).digestry("config", "check")
    assert half.returncode == 2
    assert "http.tls.certificate: TLS needs" in half.stderr


# The server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[LiveServer]:
    settings = {**pair.variables, "REGISTRY_HTTP_WORKERS": "1"}
    server = LiveServer(tmp_path_factory.mktemp("tls"), settings, COMMAND).start()
    try:
        yield server
        assert_no_traceback(server)
    finally:
        assert server.stop() == 0


@pytest.fixture(scope="module")
def trusting(pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=pair.certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def call(
    server: LiveServer, context: ssl.SSLContext, method: str, target: str, body: bytes | None = None
) -> tuple[int, bytes]:
    connection = HTTPSConnection(server.host, timeout=20, context=context)
    try:
        connection.request(method, target, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def plain(server: LiveServer) -> socket.socket:
    host, _, port = server.host.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def secured(server: LiveServer, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(plain(server), server_hostname="localhost")


def test_push_and_pull(server: LiveServer, trusting: ssl.SSLContext) -> None:
    digest = digest_of(BIG)
    assert call(server, trusting, "POST", f"/v2/tls/blobs/uploads/?digest={digest}", BIG)[0] == 201
    before = resident(server)
    assert call(server, trusting, "GET", f"/v2/tls/blobs/{digest}") == (200, BIG)
    assert resident(server) - before < 16 * MIB


def test_versions_and_protocols(server: LiveServer, trusting: ssl.SSLContext) -> None:
    with secured(server, trusting) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"
        assert sock.version() == "TLSv1.3"


def test_strangers_do_not_trust_it(server: LiveServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        call(server, ssl.create_default_context(), "GET", "/v2/")


def test_plain_http_on_the_tls_port(server: LiveServer, trusting: ssl.SSLContext) -> None:
    with plain(server) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in sock.recv(4096)
    assert call(server, trusting, "GET", "/v2/") == (200, b"{}")


def test_a_head_that_does_not_come(server: LiveServer, trusting: ssl.SSLContext) -> None:
    began = time.monotonic()
    with secured(server, trusting) as sock:
        sock.sendall(b"GET /v2/")
        with suppress(ssl.SSLEOFError, ConnectionResetError):
            assert sock.recv(4096) == b""
    assert HASTY.head / 2 < time.monotonic() - began < 10


def test_a_reader_that_stalls(server: LiveServer, trusting: ssl.SSLContext) -> None:
    digest = digest_of(BIG)
    call(server, trusting, "POST", f"/v2/tls/blobs/uploads/?digest={digest}", BIG)
    before, readers = resident(server), 10
    sockets = [secured(server, trusting) for _ in range(readers)]
    try:
        for sock in sockets:
            sock.sendall(f"GET /v2/tls/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        eventually(lambda: open_blobs(server) == readers)
        assert call(server, trusting, "GET", "/v2/") == (200, b"{}")
        assert resident(server) - before < 16 * MIB + readers * 4 * MIB
        eventually(lambda: open_blobs(server) == 0)
    finally:
        for sock in sockets:
            sock.close()
    assert call(server, trusting, "GET", f"/v2/tls/blobs/{digest}") == (200, BIG)


def test_a_server_without_a_usable_certificate_does_not_start(tmp_path: Path, pair: Pair) -> None:
    server = LiveServer(tmp_path, {**pair.variables, "REGISTRY_HTTP_TLS_KEY": str(tmp_path / "gone")})
    with pytest.raises(RuntimeError, match=r"http\.tls\.key: .*No such file"):
        server.start()


def test_a_stop_while_a_client_does_not_say_goodbye(tmp_path: Path, pair: Pair, trusting: ssl.SSLContext) -> None:
    server = LiveServer(tmp_path, {**pair.variables, "REGISTRY_HTTP_WORKERS": "1"}, COMMAND).start()
    with secured(server, trusting) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert server.stop() == 0
    assert server.tracebacks() == []
