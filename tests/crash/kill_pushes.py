"""SIGKILL `digestry serve` under pushes at seeded moments: what it acknowledged must still be there, byte for byte.

Which request a kill hits depends on the machine. `tests.crash.kill_points` chooses the place instead of the moment.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.pusher import Pusher
from tests.crash.witness import Crowd
from tests.support.server import LiveServer

PUSHERS = 6
LATEST_KILL_SECONDS = 0.4
LARGEST_BLOB = 2 * 1024 * 1024
CHECK_EVERY = 10


@dataclass
class Trial:
    """A server, its pushers, and all that went wrong so far."""

    server: LiveServer
    seed: int
    losses: list[str] = field(default_factory=list)
    kills: int = 0
    checked_deep: int = 0
    slowest_restart: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._crowd = Crowd(LARGEST_BLOB)
        self.pushers = [
            Pusher(f"crash/pusher-{number}", f"{self.seed}/{number}", self._crowd) for number in range(PUSHERS)
        ]

    def run(self, kills: int) -> None:
        self.server.start()
        try:
            while self.kills < kills and not self.losses:
                with self.pushing():
                    for _ in range(min(CHECK_EVERY, kills - self.kills)):
                        self.kill_once()
                self.check()
                self.fsck()
                print(self.progress(), flush=True)
            self.finish_uploads()
            self.fsck()
        finally:
            self.server.kill()

    @contextmanager
    def pushing(self) -> Iterator[None]:
        """Pushers work, through all kills, until the block ends."""
        self._crowd.stopping.clear()
        threads = [
            threading.Thread(target=pusher.run, args=(self.server.host,), daemon=True) for pusher in self.pushers
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._crowd.stopping.set()
            for thread in threads:
                thread.join()

    def kill_once(self) -> None:
        """Kill, then start again on the same data."""
        time.sleep(self._random.uniform(0, LATEST_KILL_SECONDS))
        self.server.kill()
        self.kills += 1
        started = time.monotonic()
        self.server.start()
        self.slowest_restart = max(self.slowest_restart, time.monotonic() - started)

    def check(self) -> None:
        for pusher in self.pushers:
            pusher.check(self.server.host, everything=True)
        self._collect()

    def finish_uploads(self) -> None:
        for pusher in self.pushers:
            pusher.finish(self.server.host)
        self._collect()

    def fsck(self) -> None:
        done = self.server.digestry("fsck", "--deep", "--json")
        self.checked_deep += 1
        problems: object = f"no report: {done.stdout[-500:]} {done.stderr[-500:]}"
        with suppress(json.JSONDecodeError):
            problems = json.loads(done.stdout)["problems"]
        if done.returncode != 0 or problems:
            self.losses.append(f"fsck after {self.kills} kills: exit {done.returncode}, {problems}")

    def _collect(self) -> None:
        for pusher in self.pushers:
            self.losses += pusher.problems
            pusher.problems.clear()

    @property
    def acknowledged(self) -> Counter[str]:
        return sum((pusher.acknowledged for pusher in self.pushers), Counter[str]())

    @property
    def resumed(self) -> int:
        return sum(pusher.resumed for pusher in self.pushers)

    def progress(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.acknowledged.items()))
        cuts = sum((pusher.cut_short for pusher in self.pushers), Counter[str]())
        cut_short = ", ".join(f"{count} {kind}" for kind, count in sorted(cuts.items()))
        return (
            f"{self.kills} kills: acknowledged {counts}; cut short {cut_short}; {self.resumed} uploads resumed; "
            f"{self.checked_deep} fsck; slowest restart {self.slowest_restart:.2f} s; {len(self.losses)} lost"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="digestry-kills-") as folder:
        trial = Trial(LiveServer(Path(folder)), chosen.seed)
        trial.run(chosen.kills)
        trial.losses += trial.server.tracebacks()
    for loss in trial.losses:
        print(f"LOST: {loss}")
    print(f"seed {chosen.seed}, {time.monotonic() - started:.0f} s; {trial.progress()}")
    return 1 if trial.losses else 0


if __name__ == "__main__":
    sys.exit(main())
