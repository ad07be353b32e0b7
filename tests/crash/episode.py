"""One run of the kill harness on fresh data: migrate, push under kills, check, expire; all of it killed on the way."""

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from storage.crashpoints import ANY, POINTS
from tests.crash.forked import POLL_SECONDS, Forked, StuckError
from tests.crash.pusher import Pusher
from tests.crash.trap import Victim
from tests.crash.witness import Crowd

LARGEST_BLOB = 256 * 1024
# A point that nobody reaches within this time is given up for the next one that anybody reaches
REACHED_SECONDS = 2.0
KILLED = -9
# Milliseconds
DWELLS = (0, 0, 20)
# Workers, whole servers, parents
WEIGHTS = (8, 4, 1)
LAST_WORKERS = 10

# Pushers never pass these; tests/crash/lifecycle_kills.py does
LIFECYCLE = ("gc.", "repository.", "manifest.revived")
_ELSEWHERE = ("migration.", "recovery.", "upload.expired", *LIFECYCLE)
SERVING = tuple(name for name in POINTS if not name.startswith(_ELSEWHERE))
STARTING = ("recovery.registered", "recovery.swept", "database.statement", "database.committed")
MIGRATING = ("migration.statement", "migration.committing")


@dataclass
class Tally:
    """What was done, over all episodes."""

    points: Counter[str] = field(default_factory=Counter)
    victims: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    cut_short: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    fsck: int = 0
    restarts: list[float] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.points.total()


class Episode:
    """Its schedule comes from `seed`."""

    def __init__(self, server: Forked, seed: str, tally: Tally, pushers: int) -> None:
        self._server = server
        self._trap = server.zygote.trap
        self._tally = tally
        self._random = random.Random(seed)
        self._crowd = Crowd(LARGEST_BLOB)
        self._pushers = [Pusher(f"crash/pusher-{number}", f"{seed}/{number}", self._crowd) for number in range(pushers)]
        self._problems: list[str] = []
        self._plan = self._points()

    def run(self, kills: int) -> list[str]:
        """What was found wrong."""
        try:
            self._migrate()
            self._server.start()
            self._server.await_serving()
            self._push_under(kills)
            self._check()
            self._stop()
            self._expire()
        except StuckError as error:
            self._problems += [str(error), *self._server.last_words()]
        finally:
            self._crowd.stopping.set()
            self._server.kill()
        self._problems += self._server.tracebacks()
        self._count()
        return self._problems

    def _count(self) -> None:
        self._tally.restarts += self._server.restarts
        for pusher in self._pushers:
            self._tally.acknowledged += pusher.acknowledged
            self._tally.cut_short += pusher.cut_short
            self._tally.resumed += pusher.resumed

    def _points(self) -> Iterator[tuple[str, int]]:
        """Each point as often as any other, and some kills wherever the server is by then."""
        while True:
            for name in self._random.sample([*SERVING, ANY, ANY], len(SERVING) + 2):
                often = name == ANY or name.startswith("database.")
                yield name, self._random.randint(1, 20 if often else 2)

    # --- commands, killed and then run to their end ---------------------------------------------------------------

    def _migrate(self) -> None:
        name, hit = self._random.choice(MIGRATING), self._random.randint(1, 30)
        self._killed(name, self._server.upgrade(f"{name}:{hit if name == MIGRATING[0] else 1}"))
        if code := self._server.upgrade():
            raise StuckError(f"migration after a kill at {name}: exit {code}")

    def _expire(self) -> None:
        """Uploads are gone with their bytes; nothing else is."""
        kept = self._fsck()
        self._killed("upload.expired", self._server.expire("upload.expired:1"))
        if code := self._server.expire():
            raise StuckError(f"expiry after a kill: exit {code}")
        counts = self._fsck()
        if {**kept, "upload": 0} != {**counts, "upload": counts.get("upload", 0)}:
            self._problems.append(f"expiry: {kept} became {counts}")

    def _killed(self, name: str, code: int) -> None:
        if code == KILLED:
            self._tally.points[name] += 1
            self._tally.victims["COMMAND"] += 1

    # --- serving ------------------------------------------------------------------------------------------------

    def _push_under(self, kills: int) -> None:
        """The last to die are workers, so that nothing but their replacements frees what they held."""
        before = self._tally.kills
        threads = [
            threading.Thread(target=pusher.run, args=(self._server.host,), daemon=True) for pusher in self._pushers
        ]
        for thread in threads:
            thread.start()
        try:
            while (left := kills - (self._tally.kills - before)) > 0 and not self._found():
                victims = (Victim.WORKER,) if left <= LAST_WORKERS else tuple(Victim)
                self._kill_once(self._random.choices(victims, WEIGHTS[: len(victims)])[0])
        finally:
            self._trap.disarm()
            self._crowd.stopping.set()
            for thread in threads:
                thread.join()

    def _kill_once(self, victim: Victim) -> None:
        name, hit = next(self._plan)
        self._trap.set(name, hit, victim, self._random.choice(DWELLS))
        self._await_sprung(victim)
        self._tally.victims[victim.name] += 1
        if victim == Victim.WORKER and not self._server.ended(0):
            if self._random.random() < 0.03:
                self._kill_replacement()
            self._server.await_workers()
            return
        self._server.await_death(victim)
        if self._random.random() < 0.2:
            self._kill_start()
        self._server.start()
        self._server.await_serving()

    def _await_sprung(self, victim: Victim) -> None:
        deadline = time.monotonic() + REACHED_SECONDS
        while (name := self._trap.sprung) is None:
            if self._server.ended(0) and self._trap.sprung is None:
                raise StuckError("the server ended by itself")
            if time.monotonic() > deadline:
                self._trap.set(ANY, 1, victim)
                deadline += REACHED_SECONDS
            time.sleep(POLL_SECONDS)
        self._tally.points[name] += 1

    def _kill_replacement(self) -> None:
        """The next worker takes over the leases of the dead one, and dies before it has."""
        self._trap.set("recovery.relieving", 1, Victim.WORKER)
        self._await_sprung(Victim.WORKER)
        self._tally.victims["REPLACEMENT"] += 1

    def _kill_start(self) -> None:
        """The next start finds bytes that nobody knows, and is itself killed on the way."""
        staging = self._server.data / "blobs" / "staging"
        for _ in range(2):
            (staging / f"{secrets.token_hex(16)}.1").write_bytes(b"left behind")
        name = self._random.choice(STARTING)
        self._trap.set(name, self._random.randint(1, 2), Victim.GROUP)
        self._server.start()
        self._await_sprung(Victim.GROUP)
        self._tally.victims["START"] += 1
        self._server.await_death(Victim.GROUP)

    def _found(self) -> list[str]:
        return [problem for pusher in self._pushers for problem in pusher.problems]

    def _check(self) -> None:
        """All that was acknowledged, then what was left unfinished, then all of it again by fsck."""
        for pusher in self._pushers:
            pusher.check(self._server.host, everything=True)
            pusher.finish(self._server.host)
        self._problems += self._found()

    def _stop(self) -> None:
        if not self._server.stop():
            raise StuckError("the server does not stop on SIGTERM")

    def _fsck(self) -> dict[str, int]:
        problems, counts = self._server.fsck()
        self._problems += problems
        self._tally.fsck += 1
        return counts
