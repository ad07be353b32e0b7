"""The garbage collection of a large registry, and what pushes take beside it."""

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.figures import Figure, milliseconds, percentile
from bench.generate import add_garbage
from bench.memory import peak_rss
from bench.pushes import UnexpectedAnswerError
from bench.report import say
from bench.servers import LOG_TAIL, serving_generated
from bench.shape import Shape
from bench.steady import SteadyPushes
from tests.support.server import COMMAND, LiveServer

MIB = 1024 * 1024
MOST_SECONDS, MOST_MIB, MOST_RATIO = 600, 200, 1.5
# Bytes go in the run that dooms them, and no other run takes the garbage
SETTINGS = {"REGISTRY_GC_TRASH": "1ms", "REGISTRY_GC_INTERVAL": "365d"}


class Collection(NamedTuple):
    """A `gc run`: seconds, bytes of memory, what it says that it did, and the seconds of each push beside it."""

    seconds: float
    peak: int
    freed: Mapping[str, Any]
    pushes: Sequence[float]


def gc(folder: Path, shape: Shape, rounds: int) -> list[Figure]:
    """Each round has garbage of its own; what comes first, `gc run` or as long a time without, takes turns."""
    runs, quiet = list[Collection](), list[Sequence[float]]()
    live = shape.blobs - shape.garbage
    with serving_generated(folder, Shape(blobs=live), SETTINGS) as server, SteadyPushes(server.host) as pushes:
        for number in range(rounds):
            start = live + number * shape.garbage
            add_garbage(server.data, range(start, start + shape.garbage))
            if number % 2:
                quiet.append(_quiet(pushes, runs[-1].seconds))
            runs.append(_collect(server, pushes, shape.garbage))
            if not number % 2:
                quiet.append(_quiet(pushes, runs[-1].seconds))
            say(f"gc: round {number + 1}/{rounds}, {runs[-1].seconds:.1f} s, {len(runs[-1].pushes)} pushes beside it")
    return figures(f"gc run, {shape.garbage:,} of {shape.blobs:,} blobs", runs, quiet)


def figures(about: str, runs: Sequence[Collection], quiet: Sequence[Sequence[float]]) -> list[Figure]:
    beside = [run.pushes for run in runs]
    ratios = [percentile(one, 99) / percentile(other, 99) for one, other in zip(beside, quiet, strict=True)]
    return [
        Figure(about, " s", [run.seconds for run in runs], MOST_SECONDS),
        Figure(f"{about}: memory (RSS), peak", " MiB", [run.peak / MIB for run in runs], MOST_MIB),
        Figure(f"{about}: blobs", "", [run.freed["blobs"] for run in runs]),
        Figure(f"{about}: freed", " B", [run.freed["freed_bytes"] for run in runs]),
        *milliseconds("push every 50 ms", quiet),
        *milliseconds("push every 50 ms, beside gc run", beside),
        Figure("push every 50 ms, beside gc run / without: p99", "", ratios, MOST_RATIO),
    ]


def _quiet(pushes: SteadyPushes, seconds: float) -> list[float]:
    end = time.monotonic() + seconds
    return pushes.during(lambda: time.monotonic() < end)


def _collect(server: LiveServer, pushes: SteadyPushes, garbage: int) -> Collection:
    output, log = server.folder / "gc.json", server.folder / "gc.log"
    peak, began = 0, time.monotonic()
    with output.open("wb") as out, log.open("wb") as errors:
        command = [*COMMAND, "gc", "run", "--json"]
        run = subprocess.Popen(command, env=server.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=errors)

    def still() -> bool:
        nonlocal peak
        peak = max(peak, peak_rss(run.pid))
        return run.poll() is None

    taken = pushes.during(still)
    seconds = time.monotonic() - began
    if run.returncode:
        raise UnexpectedAnswerError(f"gc run ended with {run.returncode}: {log.read_text()[-LOG_TAIL:]}")
    freed = json.loads(output.read_bytes())
    if freed["blobs"] != garbage:
        raise UnexpectedAnswerError(f"gc run took {freed['blobs']} blobs, not {garbage}")
    return Collection(seconds, peak, freed, taken)
