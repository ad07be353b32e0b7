"""Copies of the database while it is written."""

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from registry.metadata import schema, snapshots

DAY = 86_400_000
START = 1_700_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    schema.upgrade(tmp_path / "registry.db")
    return tmp_path / "registry.db"


def test_seven_daily_copies_are_kept(path: Path) -> None:
    assert snapshots.newest(path, START) is None
    taken = [snapshots.take_daily(path, START + day * DAY) for day in range(9)]
    before = snapshots.take_before(path, "0002", START)
    assert sorted(snapshots.folder_of(path).iterdir()) == sorted([*taken[2:], before])
    assert snapshots.newest(path, START + 9 * DAY) == START + 8 * DAY
    assert snapshots.newest(path, START + 7 * DAY) == START + 7 * DAY, "a later one is of a clock that was ahead"
    assert taken[0].name == "registry-20231114T221320Z.db"
    assert before.name == "registry-20231114T221320Z-before-0002.db"


def test_a_copy_is_whole_and_from_one_moment_while_writes_go_on(path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute("CREATE TABLE pair (a INTEGER, b INTEGER, filling BLOB)")
            number = 0
            while not stop.is_set():
                connection.execute("INSERT INTO pair VALUES (?, ?, zeroblob(5000))", (number, number))
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = [snapshots.take_daily(path, START + day * DAY) for day in range(5)]
    finally:
        stop.set()
        writer.join()
    for copy in copies:
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert schema.current_revision(copies[-1]) == schema.HEAD


def test_a_copy_that_would_fill_the_disk_is_not_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(path.parent)._replace(free=snapshots.MARGIN)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(snapshots.NoSpaceError, match=r"needs 64 MiB, and .* has 64 MiB left"):
        snapshots.take_daily(path, START)
    assert list(snapshots.folder_of(path).iterdir()) == []


def test_a_broken_copy_is_replaced(path: Path) -> None:
    first = snapshots.take_daily(path, START)
    leftover = first.with_name(f"registry-20231115T221320Z{first.suffix}.partial")
    leftover.write_bytes(b"half of a copy")
    second = snapshots.take_daily(path, START + DAY)
    assert sorted(snapshots.folder_of(path).iterdir()) == [first, second]
    assert schema.current_revision(second) == schema.HEAD
