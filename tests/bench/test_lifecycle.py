"""The bench of the lifecycle: its figures and their marks, steady pushes, and each work in small."""

import json
import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bench import lifecycle
from bench.asking import Asker
from bench.collecting import Collection, figures
from bench.figures import Figure, milliseconds, percentile, table
from bench.lifecycle import Scale, main
from bench.listing import catalog, tag_list
from bench.pushes import UnexpectedAnswerError
from bench.servers import serving_generated
from bench.shape import Shape
from bench.steady import EVERY_SECONDS, SteadyPushes
from tests.support.server import LiveServer

TINY = Scale(
    rounds=2,
    collected=Shape(blobs=120, garbage=20),
    trashed=30,
    restores=2,
    listed=Shape(repositories=10_200, tags=[10_200]),
    pages=10,
)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([5.0], 99, 5.0),
        ([2.0, 1.0], 50, 1.0),
        ([float(number) for number in range(1, 101)], 99, 99.0),
        ([float(number) for number in range(1, 101)], 50, 50.0),
        ([float(number) for number in range(1000)], 99, 989.0),
    ],
)
def test_percentile(values: list[float], percent: int, expected: float) -> None:
    assert percentile(values, percent) == expected


@pytest.mark.parametrize(
    ("values", "most", "mark"),
    [
        ([1.0, 9.0, 2.0], 2.0, "2 s"),
        ([1.0, 9.0, 2.01], 2.0, "2 s, MISSED"),
        ([1.0], None, ""),
        ([1234.0], 1500, "1,500 s"),
    ],
)
def test_the_median_must_hold_the_mark(values: list[float], most: float | None, mark: str) -> None:
    figure = Figure("work", " s", values, most)
    assert figure.row()[2] == mark
    assert figure.holds is figure.document()["holds"] is ("MISSED" not in mark)


def test_table() -> None:
    assert table([Figure("work", " s", [1234.0, 0.123, 20.0]), Figure("longer", "", [0.5], 1.5)]) == [
        "figure  median (lowest-highest)  at most",
        "work    20.00 s (0.12-1,234)",
        "longer  0.50 (0.50-0.50)         1.5",
    ]


def test_milliseconds_of_each_round() -> None:
    middle, end = milliseconds("push", [[0.001, 0.002, 0.003], [0.004, 0.004, 0.005]], 10)
    assert (middle.about, list(middle.values), middle.most) == ("push: p50", [2.0, 4.0], None)
    assert (end.about, list(end.values), end.most) == ("push: p99", [3.0, 5.0], 10)


def test_the_ratio_is_of_each_round() -> None:
    done = {"blobs": 20, "freed_bytes": 1000}
    runs = [Collection(1.0, 2**20, done, [0.03]), Collection(3.0, 2**21, done, [0.02])]
    found = {figure.about: figure for figure in figures("gc run", runs, [[0.01], [0.02]])}
    assert list(found["push every 50 ms, beside gc run / without: p99"].values) == [3.0, 1.0]
    assert list(found["gc run: memory (RSS), peak"].values) == [1.0, 2.0]


def test_who_is_late_makes_no_push_late(tmp_path: Path) -> None:
    """Pushes go on being due while the server stands still, and each is timed from then."""
    server, still = LiveServer(tmp_path).start(), 10 * EVERY_SECONDS
    with SteadyPushes(server.host) as pushes:
        os.killpg(server.pid, signal.SIGSTOP)
        threading.Timer(still, os.killpg, (server.pid, signal.SIGCONT)).start()
        end = time.monotonic() + still
        taken = pushes.during(lambda: time.monotonic() < end)
    assert len(taken) >= 5
    assert max(taken) >= 0.9 * still
    assert server.stop() == 0


def test_a_push_that_fails_is_no_figure(tmp_path: Path) -> None:
    server = LiveServer(tmp_path).start()
    with SteadyPushes(server.host) as pushes:
        server.kill()
        again = iter([True, False])
        with pytest.raises(OSError):
            pushes.during(lambda: next(again))


def test_pages_are_full_and_anywhere(tmp_path: Path) -> None:
    shape = Shape(repositories=150, tags=[101])
    with serving_generated(tmp_path, shape) as server, closing(Asker(server.host)) as asker:
        for listing in (tag_list(shape), catalog(shape)):
            for _ in range(5):
                assert listing.page(asker) > 0
        with pytest.raises(UnexpectedAnswerError, match="404"):
            tag_list(Shape(tags=[102])).page(asker)
        names = catalog(shape)
        short = replace(names, entries=101, target=lambda _: names.target(shape.repositories - 50))
        with pytest.raises(UnexpectedAnswerError, match="has 50 entries"):
            short.page(asker)


def test_each_work_in_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lifecycle, "QUICK", TINY)
    output = tmp_path / "figures.json"
    main(["--quick", "--root", str(tmp_path / "root"), "--json", str(output)])
    document = json.loads(output.read_text())
    assert list(document["figures"]) == ["gc", "trash", "lists"]
    told = {figure["about"]: figure for work in document["figures"].values() for figure in work}
    assert told["gc run, 20 of 120 blobs: blobs"]["values"] == [20, 20]
    assert len(told["delete a repository of 30 tags"]["values"]) == 2
    assert len(told["tags/list?n=100 in 102 tags: p99"]["values"]) == 2
    assert all(value > 0 for figure in told.values() for value in figure["values"])
    assert "gc run, 20 of 120 blobs" in capsys.readouterr().out
    assert list((tmp_path / "root").iterdir()) == []
