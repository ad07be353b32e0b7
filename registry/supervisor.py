"""The parent of workers and keeper: it starts, watches, replaces, reloads and stops them, and does nothing else.

It has no thread, no event loop and no open database, so a fork copies nothing that could be half-way through.
"""

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from itertools import count

from registry import metrics
from registry.access.windows import Windows
from registry.assembly import Seat
from registry.children import Child, Slot, fork, slots
from registry.clock import JumpWatch
from registry.config import Settings, SettingsError
from registry.metadata.instances import Instance
from registry.post import READY, Post
from registry.signals import received, signals
from registry.worker import DRAIN_SECONDS
from storage.failure import FailureMark

log = logging.getLogger(__name__)

# Exit codes: sysexits.h's EX_IOERR tells a supervisor from a person's stop
STORE_FAILED = 74

# A worker that drains may close its stores for this long after the last request
STOP_SECONDS = DRAIN_SECONDS + 10.0
STUCK_SECONDS = 60.0
TICK_SECONDS = 1.0
# After a failed fsync, how long load balancers may see that we are not ready before connections are refused
FAILED_SECONDS = 3.0


class Supervisor:
    """Keeps the keeper running, and the workers that `settings.http.workers` asks for.

    `reload` is given the settings that are in force, reads them anew and raises SettingsError when they are wrong.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: Sequence[socket.socket],
        instance: Instance,
        reload: Callable[[Settings], Settings],
        mark: FailureMark,
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._instance = instance
        self._read_again = reload
        self._mark = mark
        # Made before the first fork: all workers count in it
        self._windows = Windows()
        self._clock = JumpWatch(settings.gc.lease)
        self._slots = slots(settings)
        self._children: dict[int, Child] = {}
        self._ended: list[str] = []
        self._generation = 0
        self._started = 0
        self._served = False
        self._stopping = False
        self._fail_at: float | None = None
        self._code = 0

    def run(self) -> int:
        """Serve until a signal or a failure ends it; return the exit code."""
        gc.collect()
        gc.freeze()  # what is loaded now is shared by all children: the collector must not touch it
        with signals() as arriving, selectors.DefaultSelector() as selector:
            selector.register(arriving, selectors.EVENT_READ)
            while not (self._stopping and not self._children):
                self._start_missing(selector)
                selector.select(TICK_SECONDS)
                self._listen()
                self._reap(selector)
                for number in received(arriving):
                    self._handle(number)
                self._watch()
        return STORE_FAILED if self._mark.reason else self._code

    def _handle(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            again = self._stopping
            self._stop(0, "stopping: finishing the requests that run; once more to stop at once")
            if again:
                for child in self._children.values():
                    child.kill()
        elif number == signal.SIGHUP and not self._stopping:
            self._reload()

    def _stop(self, code: int, reason: str) -> None:
        if self._stopping:
            return
        log.info(reason)
        self._stopping, self._code = True, code
        for listening in self._sockets:
            listening.close()
        for child in self._children.values():
            child.drain(STOP_SECONDS)

    def _reload(self) -> None:
        """A new generation takes over slot by slot; the old one goes on until then."""
        try:
            fresh = self._read_again(self._settings)
        except SettingsError as error:
            log.error("the settings are wrong and stay as they were: %s", error)  # noqa: TRY400 - its text says all
            return
        except Exception:
            log.exception("the settings can't be read and stay as they were")
            return
        self._settings = fresh
        self._generation += 1
        self._slots = slots(fresh)
        self._clock.patience = fresh.gc.lease
        log.info("settings read again: new workers take over")

    def _start_missing(self, selector: selectors.BaseSelector) -> None:
        if self._stopping:
            return
        present = {child.slot for child in self._children.values() if child.generation == self._generation}
        for slot, state in self._slots.items():
            if slot not in present and state.start_at <= time.monotonic():
                try:
                    child = self._start(slot)
                except OSError as error:  # no memory, processes or descriptors left: what runs goes on
                    log.error("a process can't be started: %s", error)  # noqa: TRY400 - its text says all
                    state.failed()
                    continue
                self._children[child.pid] = child
                selector.register(child.channel, selectors.EVENT_READ)

    def _start(self, slot: int) -> Child:
        self._started += 1
        seat = Seat(self._instance, f"{self._instance.id}.{self._started}")
        number = self._free_number()
        ours, theirs = socket.socketpair()
        post = Post(
            settings=self._settings,
            sockets=self._sockets,
            channel=theirs,
            seat=seat,
            mark=self._mark,
            windows=self._windows,
            clock=self._clock,
            ended=tuple(self._ended),
        )
        try:
            pid = fork(slot, number, post, [ours, *(child.channel for child in self._children.values())])
        finally:
            theirs.close()
        ours.setblocking(False)
        metrics.worker_started()
        return Child(pid, slot, number, seat.owner, ours, self._generation, time.monotonic(), post.ended)

    def _free_number(self) -> int:
        taken = {child.number for child in self._children.values()}
        return next(number for number in count() if number not in taken)

    def _listen(self) -> None:
        for child in self._children.values():
            with contextlib.suppress(BlockingIOError, ConnectionError):
                said = child.channel.recv(4096)
                if said:
                    child.heard_at = time.monotonic()
                if READY in said:
                    self._welcome(child)

    def _welcome(self, child: Child) -> None:
        child.ready = True
        self._ended = [owner for owner in self._ended if owner not in child.relieves]
        self._slots.get(child.slot, Slot()).succeeded()
        if child.serves and not self._served:
            self._served = True
            address = _address(self._settings, self._sockets)
            workers = len(self._slots) - 1  # without the keeper
            log.info("listening on %s", address, extra={"address": address, "workers": workers, "pid": os.getpid()})
        if child.generation != self._generation:  # a newer one is on its way
            return
        for other in self._children.values():
            stale = other.generation != self._generation
            if stale and (other.slot == child.slot or other.slot not in self._slots):
                other.drain(STOP_SECONDS)

    def _reap(self, selector: selectors.BaseSelector) -> None:
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            del self._children[pid]
            selector.unregister(child.channel)
            child.channel.close()
            self._ended.append(child.owner)
            self._mourn(child, os.waitstatus_to_exitcode(status))

    def _mourn(self, child: Child, code: int) -> None:
        expected = child.kill_at is not None or self._stopping
        metrics.worker_ended(child.number, died=not expected)
        if expected:
            return
        log.error("%s ended (%s) and is replaced", child.title, _cause(code), extra={"child": child.pid})
        if child.ready:
            return
        if child.serves and not self._served and code > 0:
            self._stop(1, "the registry can't start; the lines above say why")
        elif child.slot in self._slots:
            self._slots[child.slot].failed()

    def _watch(self) -> None:
        now = time.monotonic()
        if self._mark.reason and self._fail_at is None:
            log.critical("writing has stopped, and so does the registry; check the disk: %s", self._mark.reason)
            self._fail_at = now + FAILED_SECONDS
        if self._fail_at is not None and now > self._fail_at:
            self._stop(STORE_FAILED, "stopping: finishing the requests that run")
        for child in self._children.values():
            late = child.kill_at is not None and now > child.kill_at
            if late or now - child.heard_at > STUCK_SECONDS:
                self._give_up(child, "did not stop in time" if late else "does not answer")

    def _give_up(self, child: Child, why: str) -> None:
        log.error("%s %s and is killed", child.title, why, extra={"child": child.pid})
        # A disk that hangs can delay its end
        child.heard_at = time.monotonic()
        if child.kill_at is not None:
            child.kill_at = child.heard_at + STOP_SECONDS
        child.kill()


def _cause(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _address(settings: Settings, sockets: Sequence[socket.socket]) -> str:
    """Where clients find us, with the port that was really taken."""
    addr = settings.http.addr
    if addr.startswith("unix:"):
        return addr
    host = addr.rpartition(":")[0] or socket.gethostname()
    scheme = "https" if settings.http.tls.certificate else "http"
    return f"{scheme}://{host}:{sockets[0].getsockname()[1]}"
