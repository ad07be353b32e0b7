"""Starting, stopping and building what is compared."""

import os
import sys
from pathlib import Path

import pytest

from bench import servers
from bench.pushes import Client
from bench.servers import Contender, Daemon, PeerMissingError, Running, build, digestry, serving

SERVER = """\
import http.server
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


def _daemon(folder: Path, program: str = SERVER) -> Daemon:
    folder.mkdir()
    return Daemon([sys.executable, "-c", program], folder / "server.log", {}, r"listening on ([0-9.]+:\d+)")


def test_nothing_is_left_of_a_run(tmp_path: Path) -> None:
    contender = Contender("stub", "1", "", _daemon)
    with serving(contender, tmp_path / "data") as server:
        assert server.host.startswith("127.0.0.1:")
        pid = server.pid
        os.kill(pid, 0)
    assert not (tmp_path / "data").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(KeyError) as raised, serving(Contender("stub", "1", "", _daemon), tmp_path / "data"):
        raise KeyError("x")
    assert "the log of stub ends:\nlistening on" in raised.value.__notes__[0]
    assert not (tmp_path / "data").exists()


def test_a_server_that_ends_at_start(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such port"):
        _daemon(tmp_path / "data", "raise SystemExit('no such port')")


def test_digestry_itself(tmp_path: Path) -> None:
    def check(server: Running) -> None:
        client = Client(server.host)
        assert client.push_small(b"content").startswith("sha256:")
        client.close()

    contender = digestry()
    with serving(contender, tmp_path / "data") as server:
        check(server)
    assert contender.version.startswith("0.")


def test_without_go_a_peer_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(servers, "GO_FOLDER", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PeerMissingError, match="no go"):
        build("registry")


def test_a_peer_that_does_not_build_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(PeerMissingError, match="go install failed: no space left"):
        build("registry")
