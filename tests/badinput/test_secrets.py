"""What a client says in confidence stays out of the log and out of /metrics, however its request ends."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.images import digest_of, image_manifest
from tests.support.server import LiveServer
from tests.support.wire import Wire, eventually, head, push_blob, put_manifest, raw, request, start_upload

CANARY = "canary"
# Shows that the log would have told: what follows it in the same request is there
SEEN = "agent-was-here"

HEADERS = {
    "User-Agent": SEEN,
    "Authorization": "Basic dXNlcjpjYW5hcnk canary-basic",
    "Proxy-Authorization": "Bearer canary-proxy",
    "Cookie": "session=canary-cookie; other=canary-cookie",
    "X-Auth-Token": "canary-token-header",
    "Referer": "http://localhost/?token=canary-referer",
    "X-Request-Id": "canary-id canary-is-no-id",
}
QUERY = (
    "_state=canary-state&token=canary-token&access_token=canary-access&X-Amz-Credential=canary-credential"
    "&X-Amz-Signature=canary-signature&sig=canary-sas&password=canary-password&ns=canary-ns"
)
LATE = f"Authorization: Bearer {CANARY}-unparsed\r\nCookie: {CANARY}\r\n".encode()


@pytest.fixture(scope="module", params=["json", "text"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One that logs all it can, and has a setting from a file."""
    folder = tmp_path_factory.mktemp("secrets")
    secret = folder / "host"
    secret.write_text("http://canary-file.example\n")
    settings = {
        "REGISTRY_LOG_LEVEL": "debug",
        "REGISTRY_AUTH_MODE": "open-anywhere",
        "REGISTRY_HTTP_HOST_FILE": str(secret),
        "REGISTRY_LOG_FORMATTER": request.param,
    }
    server = LiveServer(folder, settings).start()
    yield server
    server.stop()


def log_of(server: LiveServer) -> str:
    return server.log.read_text(encoding="utf-8", errors="replace")


def assert_kept(server: LiveServer) -> None:
    """No canary in the log or in the metrics."""
    told = [line for line in log_of(server).splitlines() if CANARY in line.lower()]
    assert told == []
    metrics = request(server, "GET", f"/metrics?{QUERY}", headers=HEADERS)
    assert metrics.status == 200
    assert CANARY.encode() not in metrics.body.lower()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v2/", 200),
        ("GET", "http://user:canary-userinfo@localhost/v2/", 200),
        ("GET", "http://user:canary-userinfo@localhost/v2/_catalog", 200),
        ("POST", "/v2/a/b/blobs/uploads/", 202),
        ("GET", "/metrics", 200),
        ("GET", "/readyz", 200),
        ("GET", "http://user:canary-userinfo@localhost/nothing", 404),
        ("GET", "/nothing", 404),
        ("GET", "/v2/a/b/manifests/none", 404),
        ("HEAD", "/v2/a/b/blobs/" + digest_of(b"none"), 404),
        ("PUT", "/v2/a/b/manifests/v1", 400),
        ("GET", "/v2/A/b/tags/list", 400),
        ("PATCH", "/v2/a/b/blobs/uploads/" + "0" * 32, 404),
        ("POST", "/v2/", 405),
        ("DELETE", "/readyz", 405),
        ("PROPFIND", "/v2/", 405),
    ],
)
def test_answered(server: LiveServer, method: str, target: str, status: int) -> None:
    before = log_of(server).count(SEEN)
    answer = request(server, method, f"{target}?{QUERY}", headers=HEADERS)
    assert answer.status == status, answer.story
    if target not in ("/metrics", "/readyz"):
        eventually(lambda: log_of(server).count(SEEN) > before)
    assert_kept(server)


def test_pushed(server: LiveServer) -> None:
    data = b"pushed"
    location = start_upload(server, "a/b").removeprefix("http://canary-file.example")
    assert location.startswith("/"), location
    appended = request(server, "PATCH", f"{location}&{QUERY}", data, headers=HEADERS)
    assert appended.status == 202, appended.story
    location = appended.location.removeprefix("http://canary-file.example")
    wrong = digest_of(b"another")
    assert request(server, "PUT", f"{location}&digest={wrong}&{QUERY}", headers=HEADERS).status == 400
    assert_kept(server)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v2/?token=canary-line HTTP/1.1\r\nHost: x\r\n" + LATE + b"no colon canary\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer canary\x00\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer canary\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"canary" * 20_000 + b"\r\n\r\n",
        b"GET /v2/?token=" + b"canary" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/?token=canary HTTP/9.9\r\nHost: x\r\n" + LATE + b"\r\n",
        b"CONNECT user:canary@localhost:443 HTTP/1.1\r\nHost: x\r\n" + LATE + b"\r\n",
        b"GET //user:canary@[::1/?token=canary HTTP/1.1\r\nHost: x\r\n" + LATE + b"\r\n",
        b"GET http://user:canary@[::1/v2/ HTTP/1.1\r\nHost: x\r\n" + LATE + b"\r\n",
        b"PUT /v2/a/b/manifests/v1?token=canary HTTP/1.1\r\nHost: x\r\nContent-Length: canary\r\n" + LATE + b"\r\n",
        b"POST /v2/a/b/blobs/uploads/?digest=sha256:" + b"0" * 64 + b"&token=canary HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n" + LATE + b"\r\ncanary\r\ncanary\r\n",
        b"canary\r\n\r\n",
        b"\x16\x03\x01canary\r\n\r\n",
    ],
    ids=[
        "header without colon",
        "control byte",
        "space before colon",
        "long header",
        "long target",
        "version",
        "authority form",
        "broken host",
        "broken absolute form",
        "length",
        "chunk size",
        "no request",
        "TLS",
    ],
)
def test_not_understood(server: LiveServer, data: bytes) -> None:
    answer = raw(server, data)
    assert answer.status >= 400, answer.story
    assert_kept(server)


def test_cut_off(server: LiveServer) -> None:
    """In the middle of a head, and in the middle of a body."""
    whole = head("POST", f"/v2/a/b/blobs/uploads/?digest={digest_of(b'x')}&{QUERY}", {"Content-Length": "9", **HEADERS})
    for cut in (len(whole) // 2, len(whole)):
        with Wire(server) as wire:
            wire.send(whole[:cut])
            wire.reset()
    assert_kept(server)


def test_failed_in_the_database(server: LiveServer) -> None:
    """A traceback is logged, but not the values of its statement. From here on the server is broken."""
    before = len(server.tracebacks())
    parts = b"{}", b"layer"
    manifest = image_manifest(parts[0], parts[1:], annotations={"token": "canary-annotation"})
    with closing(sqlite3.connect(server.data / "registry.db")) as database:
        database.execute("CREATE TRIGGER broken BEFORE INSERT ON manifest BEGIN SELECT RAISE(ABORT, 'broken'); END")
    for part in parts:
        push_blob(server, "a/b", part)
    answer = put_manifest(server, "a/b", "v1", manifest)
    assert answer.status >= 500, answer.story
    eventually(lambda: len(server.tracebacks()) > before)
    assert_kept(server)


def test_failed_in_the_store(server: LiveServer) -> None:
    before = len(server.tracebacks())
    staging = server.data / "blobs" / "staging"
    staging.rename(staging.with_name("gone"))
    target = f"/v2/a/b/blobs/uploads/?digest={digest_of(b'canary')}&{QUERY}"
    answer = request(server, "POST", target, b"canary", headers=HEADERS)
    assert answer.status >= 500, answer.story
    eventually(lambda: len(server.tracebacks()) > before)
    assert_kept(server)


@pytest.mark.parametrize("content", [b"canary-text", b"canary\nof = lines", b"canary \xff"])
def test_a_wrong_setting_from_a_file_is_not_repeated(tmp_path: Path, content: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    environment = {**LiveServer(tmp_path).environment(), "REGISTRY_AUTH_MODE_FILE": str(secret)}
    done = subprocess.run(
        [sys.executable, "-m", "registry", "serve"], env=environment, capture_output=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    told = done.stdout + done.stderr
    assert b"REGISTRY_AUTH_MODE_FILE" in told
    assert b"canary" not in told
