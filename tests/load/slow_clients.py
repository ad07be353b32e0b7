"""Thousands of clients that keep a server waiting, and one that must not notice.

    python -m tests.load.slow_clients --slow 2000 --stalled 500 --seed 1

Half of the slow ones send a head byte by byte, half a body; the stalled ones ask for a large blob and read nothing.
Whoever is cut off comes again. Prints one JSON object; fails when pulls fail, or when descriptors or memory do not
come back within 30 s after the slow ones are gone.
"""

import argparse
import asyncio
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.support import hasty
from tests.support.memory import descriptors, resident
from tests.support.server import COMMAND, LiveServer
from tests.support.wire import ALIVE_NAME, ALIVE_TAG, assert_sound, head, prepare, push_blob, start_upload

MIB = 1024 * 1024
TARGET = f"/v2/{ALIVE_NAME}/manifests/{ALIVE_TAG}"
BLOB = bytes(range(256)) * 4096 * 64
BACK_SECONDS = 30.0
# What allocators keep for the next time, a process
MEMORY_KEPT = 16 * MIB
# The good client's own connections, which the server may still hold
DESCRIPTORS_KEPT = 4
BYTE_SECONDS = (1.0, 10.0)


@dataclass(frozen=True)
class Plan:
    """`hasty`: deadlines of a second or two, so that a short run sees them."""

    slow: int = 2000
    stalled: int = 500
    seconds: float = 30.0
    workers: int = 2
    seed: int = 1
    hasty: bool = False


class Attack:
    """All bad clients, on this loop."""

    def __init__(self, server: LiveServer, blob: str, uploads: Sequence[str], plan: Plan) -> None:
        self._host, _, port = server.host.rpartition(":")
        self._port = int(port)
        self._blob = blob
        self._uploads = uploads
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._tasks: list[asyncio.Task[None]] = []
        self.ended: Counter[str] = Counter()

    async def start(self) -> None:
        heads = self._plan.slow - len(self._uploads)
        kinds = [("head", b"GET /v2/ HTTP/1.1\r\nX: ")] * heads
        kinds += [("body", head("PATCH", location, {"Content-Length": str(MIB)})) for location in self._uploads]
        kinds += [("reader", head("GET", self._blob))] * self._plan.stalled
        self._random.shuffle(kinds)
        for kind, start in kinds:
            self._tasks.append(asyncio.create_task(self._again_and_again(kind, start)))
            if len(self._tasks) % 50 == 0:
                await asyncio.sleep(0.05)  # a kernel queues only so many new connections
        _say(f"{len(self._tasks)} bad clients are there")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _again_and_again(self, kind: str, start: bytes) -> None:
        while True:
            with suppress(OSError):
                await self._once(kind, start)
            self.ended[kind] += 1
            await asyncio.sleep(self._random.uniform(0.1, 1.0))

    async def _once(self, kind: str, start: bytes) -> None:
        """Until the server has had enough of us."""
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            if kind == "reader":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(sock, (self._host, self._port))
            await loop.sock_sendall(sock, start)
            while not _ended(sock, kind):
                await asyncio.sleep(self._random.uniform(*BYTE_SECONDS))
                if kind != "reader":
                    await loop.sock_sendall(sock, b"a")


def _ended(sock: socket.socket, kind: str) -> bool:
    """Whether the server has answered or closed; a reader may not look at what came."""
    if kind == "reader":
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b"\x01"
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


async def _good_client(server: LiveServer, seconds: float) -> dict[str, float]:
    arguments = ["-m", "tests.load.good_client", server.host, TARGET, str(seconds)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    measured: dict[str, float] = json.loads(output)
    return measured


async def _back(server: LiveServer, descriptors_before: int, memory_before: int) -> float | None:
    """Seconds until everything is given back, None when that takes too long."""
    began = time.monotonic()
    kept = MEMORY_KEPT * (1 + len(server.workers))
    while time.monotonic() - began < BACK_SECONDS:
        if descriptors(server) <= descriptors_before + DESCRIPTORS_KEPT and resident(server) <= memory_before + kept:
            return round(time.monotonic() - began, 1)
        await asyncio.sleep(0.1)
    return None


async def attack(server: LiveServer, plan: Plan) -> dict[str, Any]:
    """Run the plan against a server that has started."""
    prepare(server)
    blob = f"/v2/load/big/blobs/{push_blob(server, 'load/big', BLOB)}"
    uploads = [await asyncio.to_thread(start_upload, server, "load/slow") for _ in range(plan.slow // 2)]
    _say("measuring without bad clients")
    before = await _good_client(server, plan.seconds)
    idle_descriptors, idle_memory = descriptors(server), resident(server)
    bad = Attack(server, blob, uploads, plan)
    await bad.start()
    _say("measuring with bad clients")
    during = await _good_client(server, plan.seconds)
    held_descriptors, held_memory = descriptors(server), resident(server)
    await bad.stop()
    _say("the bad clients are gone")
    back = await _back(server, idle_descriptors, idle_memory)
    return {
        **asdict(plan),
        "before": before,
        "during": during,
        "p50_ratio": round(during["p50"] / before["p50"], 2),
        "p99_ratio": round(during["p99"] / before["p99"], 2),
        "cut_off": dict(bad.ended),
        "descriptors": {"idle": idle_descriptors, "held": held_descriptors, "after": descriptors(server)},
        "memory_mib": {
            "idle": round(idle_memory / MIB, 1),
            "held": round(held_memory / MIB, 1),
            "after": round(resident(server) / MIB, 1),
        },
        "back_after_seconds": back,
        "good": before["failed"] == during["failed"] == 0 and back is not None and server.tracebacks() == [],
    }


def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """The whole run, on a server of its own."""
    command = hasty.COMMAND if plan.hasty else COMMAND
    server = LiveServer(folder, {"REGISTRY_HTTP_WORKERS": str(plan.workers)}, command).start()
    try:
        summary = asyncio.run(attack(server, plan))
        assert_sound(server)
        return summary
    finally:
        server.stop(60.0)


def _say(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in asdict(Plan()).items():
        if isinstance(default, bool):
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=type(default), default=default)
    plan = Plan(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory(prefix="digestry-slow-") as folder:
        summary = run(plan, Path(folder))
    print(json.dumps(summary))
    return 0 if summary["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
