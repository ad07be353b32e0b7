"""S-17: a server is stopped under a thousand uploads, and the next one goes on with each of them."""

import hashlib
import http.client
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.server import LiveServer

UPLOADS = 1000
# They are finished while the server drains
QUICK = 200
SIZE = 4096
WAIT = 60.0
DRAIN_SECONDS = 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    shorter = f"import registry.worker as w; w.DRAIN_SECONDS = {DRAIN_SECONDS}"
    program = f"{shorter}; from registry.cli.main import main; main()"
    server = LiveServer(tmp_path, {"REGISTRY_HTTP_WORKERS": "2"}, command=[sys.executable, "-c", program])
    server.start()
    yield server
    if server.running:
        server.kill()


def content(number: int) -> bytes:
    return f"{number:015} ".encode() * (SIZE // 16)


class Upload:
    """One PATCH with its whole head and half its body."""

    def __init__(self, server: LiveServer, location: str, data: bytes) -> None:
        self.location, self.data = location, data
        host, port = server.host.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=WAIT)
        head = f"PATCH {location} HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: {len(data)}\r\n\r\n"
        self.socket.sendall(head.encode() + data[: len(data) // 2])

    def finish(self) -> bytes:
        self.socket.sendall(self.data[len(self.data) // 2 :])
        return self.socket.recv(4096)


def test_s17_sigterm_during_a_thousand_uploads(server: LiveServer) -> None:
    with closing(http.client.HTTPConnection(server.host, timeout=WAIT)) as connection:
        uploads = [Upload(server, _start(connection), content(number)) for number in range(UPLOADS)]
    _until_taken_up(server)
    os.kill(server.pid, signal.SIGTERM)
    _until_logged(server, "stopping")
    finished: list[bytes] = []
    thread = threading.Thread(target=lambda: finished.extend(upload.finish() for upload in uploads[:QUICK]))
    thread.start()
    assert server.wait(DRAIN_SECONDS + 20) == 0
    thread.join(WAIT)
    assert [answer[:12] for answer in finished] == [b"HTTP/1.1 202"] * QUICK
    for upload in uploads:
        upload.socket.close()
    server.start()
    with closing(http.client.HTTPConnection(server.host, timeout=WAIT)) as connection:
        kept = [_resume(connection, upload) for upload in uploads]
    assert kept == [SIZE] * QUICK + [SIZE // 2] * (UPLOADS - QUICK)
    assert server.stop() == 0
    report = server.digestry("fsck", "--deep")
    assert report.returncode == 0, report.stdout
    assert server.tracebacks() == []


def _start(connection: http.client.HTTPConnection) -> str:
    connection.request("POST", "/v2/team/app/blobs/uploads/")
    answer = connection.getresponse()
    answer.read()
    location = answer.getheader("Location")
    assert answer.status == 202 and location is not None
    return location


def _resume(connection: http.client.HTTPConnection, upload: Upload) -> int:
    """Go on where the status says, and finish; return that offset."""
    connection.request("GET", upload.location)
    status = connection.getresponse()
    status.read()
    assert status.status == 204
    offset = int((status.getheader("Range") or "").removeprefix("0-")) + 1
    digest = hashlib.sha256(upload.data).hexdigest()
    location = status.getheader("Location")
    connection.request("PUT", f"{location}&digest=sha256:{digest}", upload.data[offset:])
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (201, b"")
    return offset


def _until_taken_up(server: LiveServer) -> None:
    deadline = time.monotonic() + WAIT
    staging = server.data / "blobs" / "staging"
    while len(list(staging.iterdir())) < UPLOADS:
        assert time.monotonic() < deadline, "not all uploads were taken up"
        time.sleep(0.05)


def _until_logged(server: LiveServer, event: str) -> None:
    deadline = time.monotonic() + WAIT
    while event not in server.log.read_text():
        assert time.monotonic() < deadline, f"{event} was not logged"
        time.sleep(0.02)
