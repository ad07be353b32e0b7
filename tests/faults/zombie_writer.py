"""A writer that sleeps past its lease (U-05): its late bytes change nothing.

A worker is stopped (SIGSTOP) in the middle of a PATCH until its lease of 30 s has run out; the other worker goes on
with the upload. Then the first wakes, before the upload is finished or after, and its client sends the rest.
Takes about 40 s a case, so it is run by hand.
"""

import json
import os
import signal
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.faults.clients import Client
from tests.support.images import digest_of
from tests.support.server import LiveServer
from tests.support.wire import Wire, eventually, head, query

LEASE_SECONDS = 30.0
STALE = b"from the sleeper " * 20_000
FRESH = b"from the other " * 20_000


def run_case(server: LiveServer, name: str, *, wakes_first: bool) -> None:
    with closing(Client(server.host)) as client, Wire(server) as sleeper:
        location = client.start(name)
        upload_id = location.partition("?")[0].rpartition("/")[2]
        sleeper.send(head("PATCH", location, {"Content-Length": str(2 * len(STALE))}) + STALE)
        eventually(lambda: _owner(server, upload_id) is not None)
        stopped = worker_of(server, sleeper._socket.getsockname()[1])
        client.close()  # its connection may be the stopped worker's
        os.kill(stopped, signal.SIGSTOP)
        try:
            time.sleep(LEASE_SECONDS + 1)
            answer = client.ask("PATCH", location, (202,), FRESH)
        finally:
            if wakes_first:
                os.kill(stopped, signal.SIGCONT)
        digest = digest_of(FRESH)
        if wakes_first:
            assert sleeper.send(STALE).answer().status == 404
        client.again("PUT", f"{answer.headers['Location']}&digest={digest}", (201,))
        if not wakes_first:
            os.kill(stopped, signal.SIGCONT)
            assert sleeper.send(STALE).answer().status == 404
        assert stopped in server.workers, "it was replaced, so nobody woke"
        for _ in range(20):  # from both workers
            with closing(Client(server.host)) as fresh:
                assert fresh.ask("GET", f"/v2/{name}/blobs/{digest}", (200,)).body == FRESH


def worker_of(server: LiveServer, port: int) -> int:
    """The worker that holds the other end of a connection from this port."""
    entries = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    sockets = {f"socket:[{entry[9]}]" for entry in entries if entry[2].endswith(f":{port:04X}")}
    for pid in server.workers:
        if sockets & {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}:
            return pid
    raise AssertionError("no worker has this connection")


def _owner(server: LiveServer, upload_id: str) -> object:
    return query(server, "SELECT lease_owner FROM upload WHERE id = ?", upload_id)[0][0]


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="digestry-zombie-") as folder:
        server = LiveServer(Path(folder), {"REGISTRY_HTTP_WORKERS": "2"}).start()
        try:
            run_case(server, "zombie/before", wakes_first=True)
            run_case(server, "zombie/after", wakes_first=False)
            checked = server.digestry("fsck", "--deep", "--json")
            problems = json.loads(checked.stdout)["problems"] + server.tracebacks()
        finally:
            server.stop()
    print(json.dumps({"cases": 2, "seconds": round(time.monotonic() - started), "problems": problems}, indent=2))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
