"""What was acknowledged survives SIGKILL; and the harness that says so would notice a loss."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.kill_pushes import Notes, Trial
from tests.support.server import LiveServer

KILLS = 15
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


def _has_settled_tag(notes: Notes) -> bool:
    """A tag whose loss nothing excuses: no request that the kill cut short would have moved or deleted it."""
    moving = notes.tag_in_flight[0] if notes.tag_in_flight else None
    return any(digest and tag != moving for tag, digest in notes.tags.items())


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    """Killed once with everything still there, and not yet checked: long enough that all kinds were pushed."""
    server = LiveServer(tmp_path)
    server.start()
    trial = Trial(server, SEED)
    try:
        for _ in range(50):
            trial.kill_once()
            tagged = any(_has_settled_tag(pusher.notes) for pusher in trial.pushers)
            unfinished = any(one.notes.session and not one.notes.session.finishing for one in trial.pushers)
            if tagged and unfinished:
                break
            trial.check(everything=False)
        assert trial.losses == []
        yield trial
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (remove_blob_files, "blob sha256:"),
        (flip_first_bytes, "that are not the pushed"),
        (forget_tags, "tag "),
        (forget_links, "HEAD blob sha256:"),
        (forget_uploads, "bytes acknowledged"),
    ],
)
def test_the_harness_notices_a_loss(trial: Trial, damage: Callable[[Trial], None], complaint: str) -> None:
    damage(trial)
    trial.check(everything=True)
    assert any(complaint in loss for loss in trial.losses), trial.losses
