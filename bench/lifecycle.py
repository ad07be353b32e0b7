"""What deleting, restoring, listing and the garbage collection cost in a large registry (bench/generate.py).

Nothing else should run meanwhile. The data takes about 10 GB and 1,000,000 files under --root, and is removed
afterwards.
"""

import argparse
import http.client
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from bench.figures import Figure, percentile, table
from bench.generate import add_garbage, generate
from bench.memory import peak_rss
from bench.pushes import TIMEOUT_SECONDS, UnexpectedAnswerError
from bench.report import machine_now, say
from bench.servers import ROOT, Digestry, digestry, forget_settings, stopping
from bench.shape import Shape, single_name, tag_name, tagged_name
from bench.steady import SteadyPushes
from tests.support.server import COMMAND, LiveServer

MIB = 1024 * 1024
PAGE = 100
# Bytes go in the run that dooms them, and only the bench's own runs collect
GC_SETTINGS = {"REGISTRY_GC_TRASH": "1ms", "REGISTRY_GC_INTERVAL": "365d"}


@dataclass(frozen=True)
class Scale:
    """How much, how often. `asked` are the pages of a round."""

    rounds: int
    blobs: int
    garbage: int
    trashed: int
    restores: int
    tags: int
    repositories: int
    asked: int


FULL = Scale(3, 1_000_000, 100_000, 100_000, 5, 1_000_000, 100_000, 2_000)
QUICK = Scale(1, 10_000, 1_000, 1_000, 2, 10_000, 1_000, 200)


@contextmanager
def serving(folder: Path, shape: Shape, settings: Mapping[str, str]) -> Iterator[LiveServer]:
    """Digestry on generated data."""
    say(f"generating {shape}")
    generate(folder / "data", shape)
    with stopping(Digestry(folder, settings), "digestry") as server:
        yield server


# --- the garbage collection ------------------------------------------------------------------------------------


class Collection(NamedTuple):
    """A `gc run` and what pushes took beside it, in seconds."""

    seconds: float
    peak: int
    freed: Mapping[str, Any]
    pushes: Sequence[float]


def gc(folder: Path, scale: Scale) -> list[Figure]:
    """Each round makes garbage anew; who comes first, the collection or the quiet, takes turns."""
    runs, quiet = list[Collection](), list[list[float]]()
    shape = Shape(blobs=scale.blobs - scale.garbage)
    with serving(folder, shape, GC_SETTINGS) as server, SteadyPushes(server.host) as pushes:
        for number in range(scale.rounds):
            start = shape.blobs + number * scale.garbage
            add_garbage(server.data, range(start, start + scale.garbage))
            if number % 2:
                quiet.append(_quiet(pushes, runs[-1].seconds))
            runs.append(_collect(server, pushes, scale.garbage))
            if not number % 2:
                quiet.append(_quiet(pushes, runs[-1].seconds))
            say(f"gc: round {number + 1}/{scale.rounds}, {runs[-1].seconds:.1f} s, {len(runs[-1].pushes)} pushes")
    return _gc_figures(scale, runs, quiet)


def _gc_figures(scale: Scale, runs: Sequence[Collection], quiet: Sequence[Sequence[float]]) -> list[Figure]:
    busy = [run.pushes for run in runs]
    ratios = [percentile(beside, 99) / percentile(without, 99) for beside, without in zip(busy, quiet, strict=True)]
    about = f"gc run, {scale.garbage:,} of {scale.blobs:,} blobs"
    return [
        Figure(f"{about}", " s", [run.seconds for run in runs], 600),
        Figure(f"{about}: peak RSS", " MiB", [run.peak / MIB for run in runs], 200),
        Figure(f"{about}: blobs", "", [run.freed["blobs"] for run in runs]),
        Figure(f"{about}: bytes freed", " B", [run.freed["freed_bytes"] for run in runs]),
        *_milliseconds("push every 50 ms, quiet", quiet),
        *_milliseconds("push every 50 ms beside gc run", busy),
        Figure("push every 50 ms, beside gc run / quiet: p99", "", ratios, 1.5),
    ]


def _quiet(pushes: SteadyPushes, seconds: float) -> list[float]:
    end = time.monotonic() + seconds
    return pushes.during(lambda: time.monotonic() < end)


def _collect(server: LiveServer, pushes: SteadyPushes, garbage: int) -> Collection:
    output, peak = server.folder / "gc.json", 0
    began = time.monotonic()
    with output.open("wb") as out, (server.folder / "gc.log").open("wb") as log:
        command = [*COMMAND, "gc", "run", "--json"]
        process = subprocess.Popen(command, env=server.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=log)

    def still() -> bool:
        nonlocal peak
        peak = max(peak, peak_rss(process.pid))
        return process.poll() is None

    taken = pushes.during(still)
    seconds = time.monotonic() - began
    if process.returncode:
        raise UnexpectedAnswerError(f"gc run: {(server.folder / 'gc.log').read_text()[-2000:]}")
    freed = last_document(output.read_text())
    if freed["blobs"] != garbage:
        raise UnexpectedAnswerError(f"gc run took {freed['blobs']} blobs, not {garbage}")
    return Collection(seconds, peak, freed, taken)


def last_document(output: str) -> dict[str, Any]:
    """What was done in the end: before it stand lines of progress."""
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


# --- the trash -------------------------------------------------------------------------------------------------


def trash(folder: Path, scale: Scale) -> list[Figure]:
    deleting, restoring = list[float](), list[float]()
    name = tagged_name(scale.trashed)
    with (
        serving(folder, Shape(tags=[scale.trashed]), {}) as server,
        closing(http.client.HTTPConnection(server.host, timeout=TIMEOUT_SECONDS)) as connection,
    ):
        for _ in range(scale.restores):
            deleting.append(_timed(connection, "DELETE", f"/api/v1/repositories/{quote(name, safe='')}").seconds)
            entry = json.loads(_timed(connection, "GET", "/api/v1/trash?limit=1").body)["items"][0]
            restoring.append(_timed(connection, "POST", f"/api/v1/trash/{entry['id']}/restore").seconds)
        _timed(connection, "GET", f"/v2/{name}/manifests/{tag_name(scale.trashed - 1)}")
    about = f"a repository of {scale.trashed:,} tags"
    return [Figure(f"delete {about}", " s", deleting, 1), Figure(f"restore {about}", " s", restoring, 1)]


class Answer(NamedTuple):
    seconds: float
    body: bytes


def _timed(connection: http.client.HTTPConnection, method: str, target: str) -> Answer:
    """Raise UnexpectedAnswerError for anything but a success."""
    began = time.perf_counter()
    connection.request(method, target, headers={} if method == "GET" else {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read()
    seconds = time.perf_counter() - began
    if response.status >= 300:
        raise UnexpectedAnswerError(f"{method} {target}: {response.status} {body[:300]!r}")
    return Answer(seconds, body)


# --- lists -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """Pages of a long list: `target` is the one after the entry of this number, `key` what its entries stand under."""

    about: str
    entries: int
    target: Callable[[int], str]
    key: str

    def page(self, connection: http.client.HTTPConnection) -> float:
        """Ask for a full page at a random place, and return the seconds."""
        number = random.randrange(self.entries - PAGE)  # noqa: S311 - nothing is kept secret
        seconds, body = _timed(connection, "GET", self.target(number))
        found = len(json.loads(body)[self.key])
        if found != PAGE:
            raise UnexpectedAnswerError(f"{self.target(number)}: {found} entries")
        return seconds


def listings(shape: Shape) -> list[Listing]:
    tags, repositories = shape.tags[0], shape.repositories
    name = tagged_name(tags)
    return [
        Listing(
            f"tags/list?n={PAGE} in {tags:,} tags",
            tags,
            lambda number: f"/v2/{name}/tags/list?n={PAGE}&last={tag_name(number)}",
            "tags",
        ),
        Listing(
            f"_catalog?n={PAGE} in {repositories:,} repositories",
            repositories,
            lambda number: f"/v2/_catalog?n={PAGE}&last={quote(single_name(number), safe='')}",
            "repositories",
        ),
    ]


def lists(folder: Path, scale: Scale) -> list[Figure]:
    """The large registry and one of 1 % take turns; the other one is idle."""
    large = Shape(repositories=scale.repositories, tags=[scale.tags])
    small = Shape(repositories=scale.repositories // 100, tags=[scale.tags // 100])
    if small.tags[0] <= PAGE or small.repositories <= PAGE:
        small = large
    with ExitStack() as stack:
        servers = {
            shape: stack.enter_context(serving(folder / name, shape, {}))
            for name, shape in (("large", large), ("small", small))
        }
        raise NotImplementedError(servers)
