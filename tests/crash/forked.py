"""A registry whose server is forked by the zygote: it starts in a tenth of the time, and dies at crash points."""

import json
import os
import secrets
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.client import Connection, UnexpectedAnswerError
from tests.crash.trap import Victim
from tests.crash.zygote import Order, Zygote

PATIENCE_SECONDS = 15.0
PORTS = range(20_000, 32_000)
POLL_SECONDS = 0.001


class StuckError(Exception):
    """What should have happened did not, within a time that is generous."""


@dataclass
class Forked:
    """One registry: its folder, its address, and its server if one runs."""

    folder: Path
    zygote: Zygote
    workers: int
    host: str = field(default_factory=lambda: f"127.0.0.1:{_free_port()}")
    pid: int = 0
    restarts: list[float] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> None:
        """Start the server; it need not serve yet."""
        self.pid = self.zygote.run(self._order("serve", wait=False, trapped=True))

    def await_serving(self) -> None:
        """Wait for the first answer; how long that took from now on is kept."""
        started = time.monotonic()
        with closing(Connection(self.host)) as connection:
            try:
                connection.wait()
            except UnexpectedAnswerError as error:
                raise StuckError(str(error)) from error
        self.restarts.append(time.monotonic() - started)

    def stop(self) -> bool:
        """SIGTERM; whether it ended in time."""
        os.kill(self.pid, signal.SIGTERM)
        return self.ended(PATIENCE_SECONDS)

    def kill(self) -> None:
        """Whatever still runs, workers without a parent too."""
        for pid in self.group() if self.pid else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await_true(lambda: not self.group(), "a killed server lives")

    def ended(self, patience: float) -> bool:
        """Whether the parent is gone."""
        return ended(self.pid, patience)

    def group(self) -> set[int]:
        """The living processes of the server: each has the parent's pid as its process group."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(group) == self.pid and state != "Z":
                found.add(int(folder.name))
        return found

    def await_workers(self) -> None:
        """Wait until the parent has all of its workers again, and the keeper."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        await_true(lambda: sum(map(_lives, children.read_text().split())) > self.workers, "a process was not replaced")

    def await_death(self, victim: Victim) -> None:
        """Wait until the parent, and without it the workers, are gone."""
        if not self.ended(PATIENCE_SECONDS):
            raise StuckError(f"the parent lives, victim was {victim.name}")
        await_true(lambda: not self.group(), "workers live without their parent")

    def upgrade(self, die_at: str = "") -> int:
        return self.zygote.run(self._order("upgrade", die_at=die_at))

    def expire(self, die_at: str = "") -> int:
        return self.zygote.run(self._order("expire", die_at=die_at))

    def fsck(self) -> tuple[list[str], dict[str, int]]:
        """Problems that `digestry fsck --deep` finds, and what it counted."""
        report = self.folder / "fsck.json"
        report.unlink(missing_ok=True)
        code = self.zygote.run(self._order("fsck", log=report))
        text = report.read_text()
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            return [f"fsck: exit {code}, {text[-500:]}"], {}
        return [f"fsck: {problem}" for problem in found["problems"]], found["counts"]

    def tracebacks(self) -> list[str]:
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return [f"log: {line[:2000]}" for line in text.splitlines() if "Traceback" in line]

    def last_words(self) -> list[str]:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return [f"log: {line[:1000]}" for line in lines[-5:]]

    def _order(
        self, job: str, *, wait: bool = True, trapped: bool = False, die_at: str = "", log: Path | None = None
    ) -> Order:
        environment = {
            "REGISTRY_HTTP_ADDR": self.host,
            "REGISTRY_HTTP_WORKERS": str(self.workers),
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(self.data / "blobs"),
            "REGISTRY_DATABASE_URL": f"sqlite:///{self.data / 'registry.db'}",
            "REGISTRY_LOG_FORMATTER": "json",
        }
        return Order(job, environment, str(log or self.log), wait, die_at, trapped)


def ended(pid: int, patience: float) -> bool:
    """Whether a process ends within so many seconds; it need not be a child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], patience)[0])
    finally:
        os.close(descriptor)


def await_true(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise StuckError(f"{complaint} within {PATIENCE_SECONDS} s")
        time.sleep(POLL_SECONDS)


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _free_port() -> int:
    """Below the ports that the system gives to clients: one that tries to connect to a dead server's port may be
    given that very port, is then connected with itself, and the next server finds its address taken.
    """
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
