"""The parent and its workers, as an operator meets them: kills, signals, reloads, a second server."""

import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.server import LiveServer
from tests.support.tools import give_up

WAIT = 20.0
TWO = {"REGISTRY_HTTP_WORKERS": "2"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path, TWO)
    server.start()
    yield server
    if server.running:
        server.kill()


def until(true: Callable[[], bool]) -> None:
    """Wait for something that a server does in its own time."""
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def ask(server: LiveServer, method: str, path: str, body: bytes = b"") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.host, timeout=WAIT)
    with closing(connection):
        connection.request(method, path, body)
        answer = connection.getresponse()
        answer.read()
        return answer


def open_upload(server: LiveServer) -> str:
    location = ask(server, "POST", "/v2/team/app/blobs/uploads/").getheader("Location")
    assert location is not None
    return location


def taken_up(server: LiveServer, location: str) -> "HeldPatch":
    """A held PATCH that a worker is receiving."""
    patch = HeldPatch(server, location)
    until(lambda: any((server.data / "blobs" / "staging").iterdir()))
    return patch


class HeldPatch:
    """A PATCH that has sent half of its body, so that it is under way as long as a test wants."""

    def __init__(self, server: LiveServer, location: str, half: int = 70_000) -> None:
        host, port = server.host.split(":")
        self.half = half
        self.socket = socket.create_connection((host, int(port)), timeout=WAIT)
        head = f"PATCH {location} HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: {2 * half}\r\n\r\n"
        self.socket.sendall(head.encode() + b"a" * half)

    def finish(self) -> bytes:
        self.socket.sendall(b"b" * self.half)
        return self.socket.recv(65536)

    def close(self) -> None:
        self.socket.close()


def worker_of(server: LiveServer, patch: HeldPatch) -> int:
    """The worker that has a client's connection: the process that holds the other end."""
    port = patch.socket.getsockname()[1]
    inodes = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
        if line.split()[2].endswith(f":{port:04X}")
    }
    for pid in server.workers:
        links = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        if links & {f"socket:[{inode}]" for inode in inodes}:
            return pid
    raise AssertionError("no worker has this connection")


def test_it_has_the_workers_that_were_asked_for(server: LiveServer) -> None:
    assert len(server.workers) == 2
    assert ask(server, "GET", "/v2/").status == 200


def test_a_killed_worker_is_replaced_while_the_others_serve(server: LiveServer) -> None:
    before = server.workers
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(server.workers) == 2 and before[0] not in server.workers)
    assert before[1] in server.workers
    assert ask(server, "GET", "/v2/").status == 200
    assert "is replaced" in server.log.read_text()


def test_what_a_killed_worker_was_writing_can_be_continued_at_once(server: LiveServer) -> None:
    location = open_upload(server)
    patch = taken_up(server, location)
    os.kill(worker_of(server, patch), signal.SIGKILL)
    patch.close()
    until(lambda: len(server.workers) == 2)
    status = ask(server, "GET", location)
    assert status.getheader("Range") == "0--1"  # nothing was acknowledged
    started = time.monotonic()
    assert ask(server, "PATCH", location, b"whole").status == 202
    assert time.monotonic() - started < 4.0, "it had to wait for a lease of 30 s"


def test_requests_that_run_are_finished_before_it_stops(server: LiveServer) -> None:
    patch = taken_up(server, open_upload(server))
    idle = socket.create_connection(patch.socket.getpeername(), timeout=WAIT)
    os.kill(server.pid, signal.SIGTERM)
    until(lambda: _refused(server))
    assert idle.recv(1) == b""
    assert patch.finish().startswith(b"HTTP/1.1 202")
    assert server.wait() == 0
    patch.close()
    idle.close()


def _refused(server: LiveServer) -> bool:
    host, port = server.host.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=WAIT).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_second_signal_stops_at_once(server: LiveServer) -> None:
    patch = taken_up(server, open_upload(server))
    os.kill(server.pid, signal.SIGTERM)
    until(lambda: "once more to stop at once" in server.log.read_text())
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait(timeout=5) == 0
    patch.close()


def test_workers_end_with_their_parent(server: LiveServer) -> None:
    workers = server.workers
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not any(_alive(pid) for pid in workers))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_reload_brings_new_settings_and_lets_old_requests_finish(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[tags]\nimmutable = []\n")
    server = LiveServer(tmp_path, {**TWO, "REGISTRY_CONFIGURATION_PATH": str(file)})
    server.start()
    try:
        patch, before = taken_up(server, open_upload(server)), server.workers
        file.write_text('[uploads]\nexpiry = "soon"\n')
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: "uploads.expiry: expected a time" in server.log.read_text())
        assert server.workers == before
        file.write_text('[log]\nlevel = "debug"\n[http]\nworkers = 1\n[tags]\nimmutable = ["v*"]\n')
        os.kill(server.pid, signal.SIGHUP)
        holder = worker_of(server, patch)
        until(lambda: len([pid for pid in server.workers if pid not in before]) == 2)
        until(lambda: [pid for pid in server.workers if pid in before] == [holder])
        assert ask(server, "GET", "/v2/").status == 200
        assert patch.finish().startswith(b"HTTP/1.1 202")
        patch.close()
        until(lambda: holder not in server.workers)
        assert server.stop() == 0
    finally:
        if server.running:
            server.kill()


def replace_workers(server: LiveServer) -> None:
    before = set(server.workers)
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: len(server.workers) == 2 and not before & set(server.workers))


def test_a_reload_switches_read_only_mode(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("")
    server = LiveServer(tmp_path, {**TWO, "REGISTRY_CONFIGURATION_PATH": str(file)})
    server.start()
    try:
        for enabled, push, ready in (("true", 405, 503), ("false", 202, 200)):
            file.write_text(f"[storage.maintenance.readonly]\nenabled = {enabled}\n")
            replace_workers(server)
            assert ask(server, "POST", "/v2/team/app/blobs/uploads/").status == push
            assert ask(server, "GET", "/readyz?write=1").status == ready
            assert ask(server, "GET", "/readyz").status == 200
        assert server.stop() == 0
    finally:
        if server.running:
            server.kill()


def test_a_stuck_worker_is_killed_and_replaced(tmp_path: Path) -> None:
    program = "import registry.supervisor as s; s.STUCK_SECONDS = 2.5; from registry.cli.main import main; main()"
    server = LiveServer(tmp_path, TWO, command=[sys.executable, "-c", program])
    server.start()
    try:
        stuck = server.workers[0]
        os.kill(stuck, signal.SIGSTOP)
        until(lambda: stuck not in server.workers and len(server.workers) == 2)
        assert "does not answer" in server.log.read_text()
    finally:
        server.kill()


def test_workers_that_can_t_start_end_the_server(tmp_path: Path) -> None:
    broken = "import registry.post as p; p.open_registry = lambda *a, **k: 1 / 0"
    program = f"{broken}; from registry.cli.main import main; main()"
    server = LiveServer(tmp_path, TWO, command=[sys.executable, "-c", program])
    with pytest.raises(RuntimeError, match="can't start"):
        server.start()
    assert server.stop() == 1


def test_s14_one_server_at_a_time(server: LiveServer, tmp_path: Path) -> None:
    second = LiveServer(tmp_path, {**TWO, "REGISTRY_HTTP_ADDR": "127.0.0.1:0"})
    with pytest.raises(RuntimeError, match=rf"used by another server \(process {server.pid}\)"):
        second.start()
    assert second.stop() == 1
    shared = {"REGISTRY_DATABASE_URL": f"sqlite:///{tmp_path}/other/registry.db", "REGISTRY_HTTP_ADDR": "127.0.0.1:0"}
    with pytest.raises(RuntimeError, match=rf"blobs is used by another server \(process {server.pid}\)"):
        LiveServer(tmp_path, {**TWO, **shared}).start()


def test_s14_the_next_server_waits_for_one_that_stops(server: LiveServer, tmp_path: Path) -> None:
    patch = taken_up(server, open_upload(server))
    os.kill(server.pid, signal.SIGTERM)
    until(lambda: _refused(server))
    second = LiveServer(tmp_path, TWO)
    second.log = tmp_path / "second.log"
    os.kill(server.pid, signal.SIGKILL)
    second.start()
    assert ask(second, "GET", "/v2/").status == 200
    assert second.stop() == 0
    patch.close()


def test_a_socket_file_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "registry.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = LiveServer(tmp_path, {**TWO, "REGISTRY_HTTP_ADDR": f"unix:{path}"})
    server.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("given", ["registry.db", "blobs"])
def test_data_of_another_user_is_refused(tmp_path: Path, given: str) -> None:
    if os.geteuid() != 0:
        give_up("only root can give files away; run the tests as root")
    server = LiveServer(tmp_path, TWO)
    server.start()
    assert server.stop() == 0
    os.chown(server.data / given, 65534, -1)
    with pytest.raises(RuntimeError, match=rf"{given} belongs to nobody, and this process runs as root"):
        server.start()


def test_a_taken_port_is_told(server: LiveServer, tmp_path: Path) -> None:
    second = LiveServer(tmp_path / "second", TWO)
    second.host = server.host
    with pytest.raises(RuntimeError, match=r"can't listen on .*: Address already in use"):
        second.start()
    assert second.stop() == 1


def test_descriptors_are_raised_to_what_is_allowed(server: LiveServer) -> None:
    for pid in (server.pid, *server.workers):
        limits = Path(f"/proc/{pid}/limits").read_text("ascii")
        _, _, _, soft, hard, _ = next(line for line in limits.splitlines() if "open files" in line).split()
        assert soft == hard
