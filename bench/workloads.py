"""What is measured. Each measurement has a freshly started registry with no data."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from bench.memory import peak_pss, settled_pss
from bench.pulls import pull
from bench.pushes import REPOSITORY, Client, Content, Source, push_at_once
from bench.servers import Running
from bench.wrk import requests_a_second
from tests.support.images import ALL_MANIFESTS, image

CONNECTIONS = 32
LAYERS = 4
SMALL = 1000
PUSHES = 32
MIB = 1024 * 1024
WARM_UP_SECONDS = 1
WARM_UP_BYTES = MIB


@dataclass(frozen=True)
class Scale:
    """How long and how big."""

    rounds: int
    seconds: int
    large: int
    pushed: int


FULL = Scale(rounds=5, seconds=10, large=1024 * MIB, pushed=64 * MIB)
QUICK = Scale(rounds=1, seconds=2, large=128 * MIB, pushed=8 * MIB)


@dataclass(frozen=True)
class Load:
    """What a measurement works with."""

    scale: Scale
    source: Source


@dataclass(frozen=True)
class Workload:
    about: Callable[[Scale], str]
    unit: str
    measure: Callable[[Running, Load], float]
    higher_is_better: bool = True


def get_manifest(server: Running, load: Load) -> float:
    pushed = image("bench", layers=LAYERS)
    with closing(Client(server.host, server.headers)) as client:
        for blob in pushed.blobs:
            client.push_small(blob.data)
        client.push_manifest("latest", pushed.media_type, pushed.manifest)
    return _wrk(server, load, "/manifests/latest")


def get_small_blob(server: Running, load: Load) -> float:
    with closing(Client(server.host, server.headers)) as client:
        digest = client.push_small(bytes(SMALL))
    return _wrk(server, load, f"/blobs/{digest}")


def put_large_blob(server: Running, load: Load) -> float:
    return _push(server, load, Client.push)


def stream_large_blob(server: Running, load: Load) -> float:
    return _push(server, load, Client.push_as_stream)


def get_large_blob(server: Running, load: Load) -> float:
    content = load.source.fresh(load.scale.large)
    with closing(Client(server.host, server.headers)) as client:
        client.push(content)
    pull(server.host, content, server.headers)
    started = time.perf_counter()
    pull(server.host, content, server.headers)
    return content.size / MIB / (time.perf_counter() - started)


def memory_idle(server: Running, load: Load) -> float:
    return settled_pss(server.pid) / MIB


def memory_pushing(server: Running, load: Load) -> float:
    contents = [load.source.fresh(load.scale.pushed) for _ in range(PUSHES)]
    with peak_pss(server.pid) as peak:
        push_at_once(server.host, contents, server.headers)
    return peak.bytes / MIB


WORKLOADS: Mapping[str, Workload] = {
    "get-manifest": Workload(lambda scale: f"GET manifest by tag, {CONNECTIONS} connections", "/s", get_manifest),
    "get-small-blob": Workload(lambda scale: f"GET {SMALL} B blob, {CONNECTIONS} connections", "/s", get_small_blob),
    "put-blob": Workload(lambda scale: f"PUT {scale.large // MIB} MiB blob, 1 connection", " MiB/s", put_large_blob),
    "patch-blob": Workload(
        lambda scale: f"PATCH {scale.large // MIB} MiB blob as Docker, 1 connection", " MiB/s", stream_large_blob
    ),
    "get-blob": Workload(lambda scale: f"GET {scale.large // MIB} MiB blob, 1 connection", " MiB/s", get_large_blob),
    "memory-idle": Workload(lambda scale: "memory (PSS), idle", " MiB", memory_idle, higher_is_better=False),
    "memory-pushing": Workload(
        lambda scale: f"memory (PSS), peak of {PUSHES} pushes of {scale.pushed // MIB} MiB",
        " MiB",
        memory_pushing,
        higher_is_better=False,
    ),
}


def _wrk(server: Running, load: Load, path: str) -> float:
    url = f"http://{server.host}{REPOSITORY}{path}"
    headers = {"Accept": ALL_MANIFESTS, **server.headers}
    requests_a_second(url, WARM_UP_SECONDS, CONNECTIONS, headers)
    return requests_a_second(url, load.scale.seconds, CONNECTIONS, headers)


def _push(server: Running, load: Load, push: Callable[[Client, Content], None]) -> float:
    content = load.source.fresh(load.scale.large)
    with closing(Client(server.host, server.headers)) as client:
        push(client, load.source.fresh(WARM_UP_BYTES))
        started = time.perf_counter()
        push(client, content)
        return content.size / MIB / (time.perf_counter() - started)
