"""What was acknowledged survives a power cut; and the harness that says so loses what was not synced."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.metadata import database
from storage import filesystem as blobs
from tests.crash.power_cuts import FILESYSTEMS, LAYOUTS, Round, Trial, rounds
from tests.support import loop_images
from tests.support.loop_images import DiskStore, disk_store

CUTS = 50
SEED = 1


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiskStore]:
    loop_images.require(*FILESYSTEMS)
    with disk_store(tmp_path_factory.mktemp("disks")) as opened:
        yield opened


def test_nothing_acknowledged_is_lost(store: DiskStore, tmp_path: Path) -> None:
    trial = Trial(store, tmp_path)
    for one, cuts in rounds(CUTS, FILESYSTEMS, SEED):
        trial.run(one, cuts)
    assert trial.tally.losses == []
    assert trial.tally.cuts.total() == CUTS
    assert len(trial.tally.cuts) == len(FILESYSTEMS) * len(LAYOUTS)


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_the_disk_forgets_what_was_not_synced(store: DiskStore, tmp_path: Path, filesystem: str) -> None:
    """The control: else no cut would show anything."""
    disk, point = store.new("control", filesystem, 1), tmp_path / "control"
    with disk.mounted([point]):
        _write(point / "synced", sync=True)
        _sync(point)
        _write(point / "unsynced", sync=False)
        after = disk.cut("control.cut")
    with after.mounted([point]):
        found = {path.name: path.read_bytes() for path in point.iterdir() if path.is_file()}
    assert found["synced"] == b"x" * 100_000
    assert found.get("unsynced", b"") == b""
    for one in (disk, after):
        one.remove()


def _write(path: Path, *, sync: bool) -> None:
    with path.open("wb") as file:
        file.write(b"x" * 100_000)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def forget_staged_bytes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(blobs, "sync_data", lambda descriptor: None)


def forget_folders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(blobs, "sync_folder", lambda folder: None)


def forget_commits(patch: pytest.MonkeyPatch) -> None:
    """`synchronous=NORMAL` on the writing connection, as many guides have it."""
    connect = database.Database._connect

    def careless(self: database.Database, begin: str, busy_seconds: float, *, query_only: bool) -> object:
        connection = connect(self, begin, busy_seconds, query_only=query_only)
        database._driver(connection).execute("PRAGMA synchronous = NORMAL")
        return connection

    patch.setattr(database.Database, "_connect", careless)


@pytest.mark.parametrize(
    ("carelessness", "where"),
    [
        (forget_staged_bytes, "ext4/one"),
        (forget_staged_bytes, "xfs/two"),
        # With the database on the same disk, its commits carry the folders' entries
        (forget_folders, "ext4/two"),
        (forget_folders, "xfs/two"),
        (forget_commits, "ext4/one"),
        (forget_commits, "xfs/two"),
    ],
)
def test_the_harness_notices_what_was_not_synced(
    store: DiskStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    carelessness: Callable[[pytest.MonkeyPatch], None],
    where: str,
) -> None:
    carelessness(monkeypatch)
    trial = Trial(store, tmp_path)
    filesystem, layout = where.split("/")
    for number in range(4):
        trial.run(Round(filesystem, layout, SEED, number))
        if trial.tally.losses:
            return
    pytest.fail(f"{trial.tally.cuts.total()} cuts lost nothing")
