"""How long a killed server takes until it serves again, on a database of many blobs.

The rows are made by SQL, without their bytes: a start must not depend on either.
"""

import argparse
import http.client
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path

from registry.metadata import schema
from tests.support.server import LiveServer

BATCH = 10_000
PUSHERS = 4
KILL_AFTER_SECONDS = 0.5
TIMEOUT_SECONDS = 30.0


def fill(path: Path, blobs: int) -> None:
    """A database with so many blobs in one repository."""
    schema.upgrade(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("INSERT INTO repository (id, name, created_at) VALUES (1, 'many', 0)")
        for start in range(0, blobs, BATCH):
            digests = [sha256(str(number).encode()).hexdigest() for number in range(start, min(start + BATCH, blobs))]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO blob (digest, key, size, state, created_at) VALUES (?, ?, 1, 'ok', 0)",
                ((f"sha256:{digest}", f"sha256/{digest[:2]}/{digest}.{digest[:32]}") for digest in digests),
            )
            connection.executemany(
                "INSERT INTO link (repository_id, digest, linked_at, keep_until) VALUES (1, ?, 0, 0)",
                ((f"sha256:{digest}",) for digest in digests),
            )
            connection.execute("COMMIT")


def restarts(server: LiveServer, number: int) -> Iterator[float]:
    """Kill under pushes; yield the seconds from the start of the process to its first answer."""
    for done in range(number):
        stop = threading.Event()
        pushers = [threading.Thread(target=_push, args=(server.host, stop)) for _ in range(PUSHERS)]
        for pusher in pushers:
            pusher.start()
        time.sleep(KILL_AFTER_SECONDS)
        server.kill()
        stop.set()
        for pusher in pushers:
            pusher.join()
        started = time.monotonic()
        server.start()
        with closing(http.client.HTTPConnection(server.host, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request("GET", "/v2/")
            assert connection.getresponse().status == 200
        yield time.monotonic() - started
        print(f"\r{done + 1} of {number} restarts", end="", file=sys.stderr, flush=True)


def _push(host: str, stop: threading.Event) -> None:
    with closing(http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)) as connection:
        while not stop.is_set():
            content = os.urandom(20_000)
            with suppress(OSError, http.client.HTTPException):
                digest = sha256(content).hexdigest()
                connection.request("POST", f"/v2/many/blobs/uploads/?digest=sha256:{digest}", content)
                connection.getresponse().read()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blobs", type=int, default=1_000_000)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        server = LiveServer(Path(scratch), {"REGISTRY_HTTP_WORKERS": str(asked.workers)})
        fill(server.data / "registry.db", asked.blobs)
        size = (server.data / "registry.db").stat().st_size
        server.start()
        try:
            seconds = sorted(restarts(server, asked.restarts))
        finally:
            server.kill()
    print(file=sys.stderr)
    figures = {
        "blobs": asked.blobs,
        "database MiB": size >> 20,
        "restarts": len(seconds),
        "median seconds": round(statistics.median(seconds), 2),
        "slowest seconds": round(seconds[-1], 2),
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
