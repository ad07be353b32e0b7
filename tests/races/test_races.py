"""The short form of the storm; `python -m tests.races.run` is the long one."""

from pathlib import Path

from tests.races.run import storm

MANIFESTS = 10_000


def test_nothing_that_can_be_read_breaks(tmp_path: Path) -> None:
    summary = storm(tmp_path, MANIFESTS, seed=1)
    assert summary["problems"] == [], summary
    done = summary["done"]
    assert isinstance(done, dict)
    for act in (
        "blobs collected",
        "trash expired",
        "restore",
        "blob mounted",
        "manifest deleted",
        "roll back",
        "checked",
    ):
        assert done.get(act, 0) > 10, (act, summary)
