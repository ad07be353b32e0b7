"""What was acknowledged survives SIGKILL; and the harness that says so would notice a loss."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.kill_pushes import Trial
from tests.support.server import LiveServer

KILLS = 10
SEED = 1


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    trial = Trial(LiveServer(tmp_path), SEED)
    trial.run(KILLS)
    assert trial.losses == []
    assert trial.server.tracebacks() == []
    assert trial.kills == KILLS
    assert trial.resumed > 0
    assert all(trial.acknowledged.values()), trial.acknowledged


def _blob_files(trial: Trial) -> list[Path]:
    return [path for path in (trial.server.data / "blobs").rglob("*") if path.is_file() and path.stat().st_size]


def _change(trial: Trial, statement: str) -> None:
    with closing(sqlite3.connect(trial.server.data / "registry.db")) as database, database:
        assert database.execute(statement).rowcount > 0


def remove_blob_files(trial: Trial) -> None:
    for path in _blob_files(trial):
        path.unlink()


def flip_first_bytes(trial: Trial) -> None:
    for path in _blob_files(trial):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def forget_tags(trial: Trial) -> None:
    _change(trial, "DELETE FROM tag")


def forget_links(trial: Trial) -> None:
    _change(trial, "DELETE FROM link")


def forget_uploads(trial: Trial) -> None:
    _change(trial, "DELETE FROM upload")


def _is_ready(trial: Trial) -> bool:
    """Each kind of loss could show."""
    ledgers = [pusher.ledger for pusher in trial.pushers]
    tagged = any(ledger.paths("tags") for ledger in ledgers)
    return tagged and any(ledger.session for ledger in ledgers)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    """Everything is still there, and nothing is in flight."""
    server = LiveServer(tmp_path)
    server.start()
    trial = Trial(server, SEED)
    try:
        deadline = time.monotonic() + 60
        while not _is_ready(trial) and time.monotonic() < deadline:
            with trial.pushing():
                time.sleep(0.2)
        trial.check()
        assert trial.losses == []
        yield trial
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (remove_blob_files, r"blobs/sha256:\w+: nothing, acknowledged was"),
        (flip_first_bytes, r"blobs/sha256:\w+: sha256:\w+ \(\d+ bytes\), acknowledged was"),
        (forget_tags, r"manifests/\w+: nothing, acknowledged was"),
        (forget_links, r"blobs/sha256:\w+: nothing, acknowledged was"),
        (forget_uploads, "bytes acknowledged"),
    ],
)
def test_the_harness_notices_a_loss(trial: Trial, damage: Callable[[Trial], None], complaint: str) -> None:
    damage(trial)
    trial.check()
    assert any(re.search(complaint, loss) for loss in trial.losses), trial.losses
