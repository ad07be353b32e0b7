"""The keeper as an operator meets it: kills, signals, reloads, long work, and a clock that is set."""

import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.server import LiveServer
from tests.support.wire import eventually, request

ROOT = Path(__file__).parents[2]
SERVE = "from registry.cli.main import main; main()"
# Work that goes on for as long as it may, that blocks a thread, and that fails
TASKS = """
import asyncio, time
import registry.background as background

async def long(turn):
    while turn.held():
        await asyncio.sleep(0.02)

async def deep(turn):
    await asyncio.to_thread(time.sleep, 60)

async def broken(turn):
    1 / 0

usual = background.periodic

def instead(name, work):
    task = background.Task(name, 1, work)
    background.periodic = lambda registry: [task, *(other for other in usual(registry) if other.name != name)]

background.POLL_SECONDS = background.RETRY_SECONDS = 0.1
"""
LONG, DEEP, BROKEN = "instead('gc', long)", "instead('snapshot', deep)", "instead('gc', broken)"
# A wall clock that is ahead by what stands in a file
SET_CLOCK = """
import time
from pathlib import Path
real = time.time_ns
time.time_ns = lambda: real() + int(Path('ahead').read_text()) * 1_000_000_000
import registry.background as background
background.POLL_SECONDS = 0.1
"""


@contextmanager
def serving(folder: Path, *program: str) -> Iterator[LiveServer]:
    source = "\n".join((*program, SERVE))
    server = LiveServer(
        folder, {"REGISTRY_HTTP_WORKERS": "2", "PYTHONPATH": str(ROOT)}, command=[sys.executable, "-c", source]
    ).start()
    try:
        eventually(lambda: bool(server.keepers))
        yield server
    finally:
        if server.running:
            server.kill()


def query(server: LiveServer, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(server.data / "registry.db")) as connection:
        return connection.execute(statement).fetchall()


def holder(server: LiveServer, task: str = "gc") -> object:
    """Who does a task now."""
    return next((owner for (owner,) in query(server, f"SELECT owner FROM task WHERE name = '{task}'")), None)


def done_at(server: LiveServer, task: str) -> object:
    return next((at for (at,) in query(server, f"SELECT done_at FROM task WHERE name = '{task}'")), None)


def stops_within(server: LiveServer, seconds: float) -> None:
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < seconds


def test_there_is_one_beside_the_workers_and_it_does_what_is_due(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert (len(server.workers), len(server.keepers)) == (2, 1)
        tasks = ("expiry", "seal", "snapshot", "gc", "sweep", "scrub")
        eventually(lambda: all(done_at(server, task) for task in tasks))
        assert list((server.data / "snapshots").glob("registry-*.db"))
        assert server.tracebacks() == []
        stops_within(server, 5)


def test_it_has_no_sockets_of_clients(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        listening = _listening()
        (keeper,) = server.keepers
        assert _sockets(server.workers[0]) & listening
        eventually(lambda: not _sockets(keeper) & listening)


def _listening() -> set[str]:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}


def _sockets(pid: int) -> set[str]:
    return {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def test_a_killed_one_is_replaced_and_its_work_taken_over_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, TASKS, LONG) as server:
        eventually(lambda: holder(server) is not None)
        workers, keepers, before = server.workers, server.keepers, holder(server)
        os.kill(keepers[0], signal.SIGKILL)
        killed = time.monotonic()
        eventually(lambda: holder(server) not in (None, before))
        assert time.monotonic() - killed < 10, "it had to wait for a lease of 60 s"
        assert server.workers == workers
        assert len(server.keepers) == 1 and server.keepers != keepers
        assert "the keeper ended (SIGKILL) and is replaced" in server.log.read_text()
        assert request(server, "GET", "/v2/").status == 200


def test_the_work_of_a_killed_server_is_taken_over_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, TASKS, LONG) as server:
        eventually(lambda: holder(server) is not None)
        before = holder(server)
        server.kill()
        started = time.monotonic()
        server.start()
        eventually(lambda: holder(server) not in (None, before))
        assert time.monotonic() - started < 10, "it had to wait for a lease of 60 s"


@pytest.mark.parametrize(("task", "program"), [("gc", LONG), ("snapshot", DEEP)])
def test_it_stops_at_once_in_the_middle_of_its_work(tmp_path: Path, task: str, program: str) -> None:
    with serving(tmp_path, TASKS, program) as server:
        eventually(lambda: holder(server, task) is not None)
        stops_within(server, 5)
        assert (holder(server, task), done_at(server, task)) == (None, None)
        assert server.tracebacks() == []


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    with serving(tmp_path, TASKS, DEEP) as server:
        eventually(lambda: holder(server, "snapshot") is not None)
        (keeper,) = server.keepers
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: not _lives(keeper))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_reload_brings_a_new_one_that_takes_the_work_over(tmp_path: Path) -> None:
    with serving(tmp_path, TASKS, LONG) as server:
        eventually(lambda: holder(server) is not None)
        keepers, before = server.keepers, holder(server)
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: len(server.keepers) == 1 and server.keepers != keepers)
        eventually(lambda: holder(server) not in (None, before))
        stops_within(server, 5)


def test_a_long_task_delays_no_other(tmp_path: Path) -> None:
    with serving(tmp_path, TASKS, LONG) as server:
        eventually(lambda: holder(server) is not None)
        before = done_at(server, "seal")
        _want(server, "seal")
        eventually(lambda: done_at(server, "seal") != before)
        assert holder(server) is not None


def test_a_task_that_fails_stops_no_other_and_is_tried_again(tmp_path: Path) -> None:
    with serving(tmp_path, TASKS, BROKEN) as server:
        eventually(lambda: done_at(server, "seal") is not None)
        eventually(lambda: server.log.read_text().count("gc failed and will be tried again") > 1)
        assert (holder(server), done_at(server, "gc")) == (None, None)
        assert len(server.keepers) == 1


def test_what_was_done_is_in_the_metrics_also_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        eventually(lambda: _successes(server) >= {"heartbeat", "expiry", "seal", "snapshot", "gc", "sweep", "scrub"})
        taken = done_at(server, "snapshot")
        assert server.stop() == 0
        server.start()
        eventually(lambda: "snapshot" in _successes(server))
        assert done_at(server, "snapshot") == taken


def _successes(server: LiveServer) -> set[str]:
    name = "digestry_background_success_timestamp_seconds{"
    lines = request(server, "GET", "/metrics").body.decode().splitlines()
    return {line.split('"')[1] for line in lines if line.startswith(name)}


@pytest.mark.parametrize("days", [1, -1])
@pytest.mark.parametrize("serves", [True, False])
def test_s16_a_clock_that_is_set_is_noticed_while_it_serves_and_after(
    tmp_path: Path, days: int, *, serves: bool
) -> None:
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    with serving(tmp_path, SET_CLOCK) as server:
        eventually(lambda: done_at(server, "expiry") is not None)
        if not serves:
            assert server.stop() == 0
        _put(ahead, str(days * 86_400))
        if not serves:
            server.start()
        eventually(lambda: len(_jumps(server)) == 1)
        assert abs(_jumps(server)[0] - days * 86_400) <= 5
        last = done_at(server, "expiry")
        _want(server, "expiry", "seal")
        eventually(lambda: _wanted(server) == {"expiry"})
        assert done_at(server, "expiry") == last


def _put(path: Path, text: str) -> None:
    """In one step: it is read all the time."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


def _jumps(server: LiveServer) -> list[int]:
    """In seconds, as they were told."""
    return [int(found) for found in re.findall(r"the clock jumped by (-?\d+) s", server.log.read_text())]


def _want(server: LiveServer, *tasks: str) -> None:
    with closing(sqlite3.connect(server.data / "registry.db", isolation_level=None)) as connection:
        for task in tasks:
            connection.execute("UPDATE task SET wanted_at = 0 WHERE name = ?", (task,))


def _wanted(server: LiveServer) -> set[object]:
    return {name for (name,) in query(server, "SELECT name FROM task WHERE wanted_at IS NOT NULL")}
