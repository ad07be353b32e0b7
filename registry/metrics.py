"""What an operator watches, for Prometheus: summed over all processes of a server once `share` was called.

No label ever holds what a client chose: no repository, tag, digest, user or made-up method.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

UploadEvent = Literal["started", "finished", "cancelled", "failed", "expired"]
StorageError = Literal["full", "failed", "missing"]
BlobFinding = Literal["missing", "corrupt", "unreadable"]
Task = Literal["heartbeat", "expiry", "seal", "snapshot", "gc", "sweep", "scrub"]

_REQUEST_SECONDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10, 60)
_COMMIT_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# What one process keeps, by the library's file names. The full size at once: a page that a full disk refuses
# later would kill the process that touches it
_FILES = {"counter": 128 * 1024, "histogram": 128 * 1024, "gauge_livesum": 4096, "gauge_max": 4096}

# Start times of each series: twice the lines, read by nobody
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class State:
    """What is looked up at each scrape; `free` in bytes, by volume."""

    version: str
    store_failed: bool
    free: Mapping[str, int]
    # None where the database can't say
    quarantined: int | None
    # How many candidates the garbage collection has, and for how many seconds the first has been late
    garbage: tuple[int, float] | None


class _Metrics:
    """All metrics of this process; `folder` is where it shares them, None when it serves alone."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.registry = own = CollectorRegistry()
        self._requests = Counter(
            "digestry_http_requests", "Requests answered.", ("method", "route", "status"), registry=own
        )
        self._durations = Histogram(
            "digestry_http_request_duration_seconds",
            "From the request's head to the end of its answer.",
            ("method", "route"),
            buckets=_REQUEST_SECONDS,
            registry=own,
        )
        self._served: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.in_flight = Gauge(
            "digestry_http_requests_in_flight",
            "Requests to the API that are being answered.",
            multiprocess_mode="livesum",
            registry=own,
        )
        self.received = Counter("digestry_http_received_bytes", "Content received in requests.", registry=own)
        self.sent = Counter("digestry_http_sent_bytes", "Content sent in answers.", registry=own)
        uploads = Counter(
            "digestry_uploads",
            "Uploads that started, or ended: finished, cancelled by the client, failed, expired.",
            ("event",),
            registry=own,
        )
        self.uploads = {event: uploads.labels(event) for event in get_args(UploadEvent)}
        self.failed_logins = Counter("digestry_logins_failed", "Logins that failed.", registry=own)
        self.blobs = Counter("digestry_blobs_stored", "Blobs stored; not those that were there already.", registry=own)
        self.manifests = Counter("digestry_manifests_pushed", "Manifest pushes that succeeded.", registry=own)
        self.commits = Histogram(
            "digestry_database_commit_duration_seconds",
            "Time of one transaction, also one that failed, with the wait for other processes and for the disk.",
            buckets=_COMMIT_SECONDS,
            registry=own,
        )
        self.writes = Counter(
            "digestry_database_writes", "Writes; divided by the number of commits: how many share one.", registry=own
        )
        self.database_errors = Counter(
            "digestry_database_errors", "Reads and transactions that the database failed.", registry=own
        )
        storage_errors = Counter(
            "digestry_storage_errors", "Operations that the blob store failed.", ("kind",), registry=own
        )
        self.storage_errors = {kind: storage_errors.labels(kind) for kind in get_args(StorageError)}
        self.verified_blobs = Counter(
            "digestry_blobs_verified", "Blobs whose stored bytes were hashed again.", registry=own
        )
        self.verified_bytes = Counter("digestry_blobs_verified_bytes", "Stored bytes hashed again.", registry=own)
        findings = Counter(
            "digestry_blobs_found_wrong", "Blobs that had to be quarantined, by what is wrong.", ("kind",), registry=own
        )
        self.findings = {kind: findings.labels(kind) for kind in get_args(BlobFinding)}
        self.collected_blobs = Counter("digestry_gc_blobs", "Blobs that nothing needed any more.", registry=own)
        self.freed_bytes = Counter("digestry_gc_freed_bytes", "Bytes removed from the store.", registry=own)
        self.starts = Counter("digestry_worker_starts", "Workers and keepers started.", registry=own)
        self.deaths = Counter(
            "digestry_worker_deaths", "Workers and keepers that ended without being told to.", registry=own
        )
        self.successes = Gauge(
            "digestry_background_success_timestamp_seconds",
            "When a periodic task last succeeded; absent before the first time.",
            ("task",),
            multiprocess_mode="max",
            registry=own,
        )

    def served(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        """The counter and the durations of such requests; the library's own look-up costs 2 µs each."""
        key = (method, route, status)
        found = self._served.get(key)
        if found is None:
            known = method if method in _METHODS else "other"
            counter = self._requests.labels(known, route, str(status))
            found = counter, self._durations.labels(known, route)
            if known == method:  # made-up methods must not fill the memory
                self._served[key] = found
        return found


_metrics = _Metrics()
# The names in the shared folder of processes that have one; every other process has its id
_names: dict[int, str] = {}


# --- processes ---------------------------------------------------------------------------------------------------


def share(folder: Path) -> None:
    """Keep all values under `folder` from now on. Call it once, in the parent, before it forks."""
    global _metrics  # noqa: PLW0603 - one process, one set of metrics
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(_name)  # type: ignore[no-untyped-call]
    _make_files(folder, _name())
    _metrics = _Metrics(folder)


def enter(number: int) -> None:
    """First thing in a child. `number` is no other living child's; what dead ones counted under it goes on."""
    if _metrics.folder is not None:
        _names[os.getpid()] = name = f"worker{number}"
        _make_files(_metrics.folder, name)


def worker_started() -> None:
    _metrics.starts.inc()


def worker_ended(number: int, *, died: bool) -> None:
    """Forget what only a living worker has. `died`: nobody had told it to end."""
    if _metrics.folder is not None:
        mark_process_dead(f"worker{number}", str(_metrics.folder))  # type: ignore[no-untyped-call]
    if died:
        _metrics.deaths.inc()


def _name() -> str:
    pid = os.getpid()
    return _names.get(pid) or str(pid)


def _make_files(folder: Path, name: str) -> None:
    """Whole at once, since a scrape may come at any time."""
    for kind, size in _FILES.items():
        path = folder / f"{kind}_{name}.db"
        if not path.exists():
            making = path.with_suffix(".new")
            with making.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
            making.rename(path)


# --- events ------------------------------------------------------------------------------------------------------


def request_began() -> None:
    _metrics.in_flight.inc()


def request_ended() -> None:
    _metrics.in_flight.dec()


def request_answered(method: str, route: str, status: int, seconds: float, received: int, sent: int) -> None:
    counter, durations = _metrics.served(method, route, status)
    counter.inc()
    durations.observe(seconds)
    if received:
        _metrics.received.inc(received)
    if sent:
        _metrics.sent.inc(sent)


def upload(event: UploadEvent, count: int = 1) -> None:
    _metrics.uploads[event].inc(count)


def login_failed() -> None:
    _metrics.failed_logins.inc()


def blob_stored() -> None:
    _metrics.blobs.inc()


def manifest_pushed() -> None:
    _metrics.manifests.inc()


def committed(writes: int, seconds: float) -> None:
    _metrics.writes.inc(writes)
    _metrics.commits.observe(seconds)


def database_error() -> None:
    _metrics.database_errors.inc()


def storage_error(kind: StorageError) -> None:
    _metrics.storage_errors[kind].inc()


def blob_verified(size: int) -> None:
    _metrics.verified_blobs.inc()
    _metrics.verified_bytes.inc(size)


def blob_found(kind: BlobFinding) -> None:
    _metrics.findings[kind].inc()


def collected(blobs: int, freed: int) -> None:
    _metrics.collected_blobs.inc(blobs)
    _metrics.freed_bytes.inc(freed)


def task_succeeded(task: Task, at: int) -> None:
    """`at` in milliseconds since the epoch."""
    _metrics.successes.labels(task).set(at / 1000)


# --- the scrape --------------------------------------------------------------------------------------------------


def render(state: State) -> bytes:
    """All of it in Prometheus' text format. Reads the files of all processes: run it in a thread."""
    if _metrics.folder is None:
        counted = _metrics.registry
    else:
        counted = CollectorRegistry()
        MultiProcessCollector(counted, str(_metrics.folder))  # type: ignore[no-untyped-call]
    looked_up = CollectorRegistry()
    looked_up.register(_Looked(state))
    return generate_latest(counted) + generate_latest(looked_up)


class _Looked(Collector):
    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        state = self._state
        yield _gauge("digestry_build_info", "The version that serves.", ["version"], {state.version: 1})
        yield _gauge(
            "digestry_store_failed",
            "1 after an fsync or a commit failed: nothing is written until a restart.",
            [],
            {"": state.store_failed},
        )
        yield _gauge("digestry_free_bytes", "Space left for data.", ["volume"], state.free)
        if state.quarantined is not None:
            quarantined = {"": state.quarantined}
            yield _gauge("digestry_blobs_quarantined", "Blobs hidden until they are pushed again.", [], quarantined)
        if state.garbage is not None:
            candidates, late = state.garbage
            about = "What the garbage collection has to look at now."
            yield _gauge("digestry_gc_candidates", about, [], {"": candidates})
            about = "Since when the first of it could have gone; more than a few intervals: nothing collects."
            yield _gauge("digestry_gc_oldest_garbage_seconds", about, [], {"": late})


def _gauge(name: str, about: str, labels: Sequence[str], samples: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for label, value in samples.items():
        family.add_metric([label] if labels else [], value)
    return family
