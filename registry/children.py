"""The processes that the parent has: how one is started, and what the parent knows of it."""

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import metrics
from registry.config import Settings
from registry.host import default_workers
from registry.keeper import keep
from registry.post import Post
from registry.signals import HANDLED
from registry.worker import work

log = logging.getLogger(__name__)

# The workers' slots count from 0
KEEPER = -1
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class Child:
    pid: int
    slot: int
    # No other living child's; what its predecessor counted under it goes on
    number: int
    owner: str
    channel: socket.socket
    generation: int
    heard_at: float
    # Owners whose leases it clears before it is ready
    relieves: Sequence[str]
    ready: bool = False
    # When it is killed, once it was told to stop
    kill_at: float | None = None

    @property
    def serves(self) -> bool:
        return self.slot != KEEPER

    @property
    def title(self) -> str:
        return "a worker" if self.serves else "the keeper"

    def drain(self, seconds: float) -> None:
        """Tell it to stop, within so many seconds."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + seconds
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@dataclass(slots=True)
class Slot:
    """A child that ought to run. One that ends before it was ready is started again later and later."""

    failures: int = 0
    start_at: float = 0.0

    def failed(self) -> None:
        self.failures += 1
        self.start_at = time.monotonic() + min(2.0**self.failures / 2, LONGEST_PAUSE_SECONDS)

    def succeeded(self) -> None:
        self.failures, self.start_at = 0, 0.0


def slots(settings: Settings) -> dict[int, Slot]:
    """For the workers that the settings ask for, and the keeper."""
    return {slot: Slot() for slot in (*range(settings.http.workers or default_workers()), KEEPER)}


def fork(slot: int, number: int, post: Post, parents: Sequence[socket.socket]) -> int:
    """Start a child; return its process id. It closes the parent's ends of all channels."""
    name, run = ("digestry-keeper", keep) if slot == KEEPER else ("digestry-worker", work)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    # Until the child has handlers of its own, a signal to it would arrive at the parent
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        pid = os.fork()
        if pid == 0:
            _become(name, run, number, post, parents)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def _become(name: str, run: Callable[[Post], None], number: int, post: Post, parents: Sequence[socket.socket]) -> None:
    """Never returns: what the parent would do next is none of the child's business."""
    code = 1
    try:
        _show(name)
        _reset_signals()
        for channel in parents:  # held open here, they would hide the parent's end from its other children
            channel.close()
        metrics.enter(number)
        run(post)
        code = 0
    except BaseException:
        log.exception("%s failed", name)
    finally:
        try:
            sys.stdout.flush()
        finally:  # whatever became of the log: the parent's clean-up is not ours
            os._exit(code)


def _show(name: str) -> None:
    """Under this name ps and top show the process, where the system lets it choose (proc(5), comm)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name, "ascii")


def _reset_signals() -> None:
    """Ctrl-C in a terminal reaches the parent too, which decides; so does it at SIGHUP."""
    signal.set_wakeup_fd(-1)
    for handled in HANDLED:
        ignored = handled in (signal.SIGINT, signal.SIGHUP)
        signal.signal(handled, signal.SIG_IGN if ignored else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
