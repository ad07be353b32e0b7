"""The parent of the workers: it starts, watches, replaces, reloads and stops them, and does nothing else.

It has no thread, no event loop and no open database, so a fork copies nothing that could be half-way through.
"""

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from registry import metrics
from registry.access.windows import Windows
from registry.assembly import Seat
from registry.clock import JumpWatch
from registry.config import Settings, SettingsError
from registry.host import default_workers
from registry.metadata.instances import Instance
from registry.signals import HANDLED, received, signals
from registry.worker import DRAIN_SECONDS, READY, Post, work
from storage.failure import FailureMark

log = logging.getLogger(__name__)

# Exit codes: sysexits.h's EX_IOERR tells a supervisor from a person's stop
STORE_FAILED = 74

# A worker that drains may close its stores for this long after the last request
STOP_SECONDS = DRAIN_SECONDS + 10.0
STUCK_SECONDS = 60.0
TICK_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
# After a failed fsync, how long load balancers may see that we are not ready before connections are refused
FAILED_SECONDS = 3.0


@dataclass(slots=True)
class _Worker:
    pid: int
    slot: int
    # No other living worker's; what its predecessor counted under it goes on
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


@dataclass(slots=True)
class _Slot:
    """A worker that ought to run. One that ends before it was ready is started again later and later."""

    failures: int = 0
    start_at: float = 0.0

    def failed(self) -> None:
        self.failures += 1
        self.start_at = time.monotonic() + min(2.0**self.failures / 2, LONGEST_PAUSE_SECONDS)

    def succeeded(self) -> None:
        self.failures, self.start_at = 0, 0.0


class Supervisor:
    """Keeps the workers running that `settings.http.workers` asks for.

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
        self._slots = _slots(settings)
        self._workers: dict[int, _Worker] = {}
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
        gc.freeze()  # what is loaded now is shared by all workers: the collector must not touch it
        with signals() as arriving, selectors.DefaultSelector() as selector:
            selector.register(arriving, selectors.EVENT_READ)
            while not (self._stopping and not self._workers):
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
                _kill(self._workers.values())
        elif number == signal.SIGHUP and not self._stopping:
            self._reload()

    def _stop(self, code: int, reason: str) -> None:
        if self._stopping:
            return
        log.info(reason)
        self._stopping, self._code = True, code
        for listening in self._sockets:
            listening.close()
        for worker in self._workers.values():
            _drain(worker)

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
        self._slots = _slots(self._settings)
        log.info("settings read again: new workers take over")

    def _start_missing(self, selector: selectors.BaseSelector) -> None:
        if self._stopping:
            return
        present = {worker.slot for worker in self._workers.values() if worker.generation == self._generation}
        for slot, state in self._slots.items():
            if slot not in present and state.start_at <= time.monotonic():
                try:
                    worker = self._fork(slot)
                except OSError as error:  # no memory, processes or descriptors left: what runs goes on
                    log.error("a worker can't be started: %s", error)  # noqa: TRY400 - its text says all
                    state.failed()
                    continue
                self._workers[worker.pid] = worker
                selector.register(worker.channel, selectors.EVENT_READ)

    def _fork(self, slot: int) -> _Worker:
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
            leads=slot == 0,
        )
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        # Until the child has handlers of its own, a signal to it would arrive at the parent
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                _become_worker(number, post, [worker.channel for worker in self._workers.values()])
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        ours.setblocking(False)
        metrics.worker_started()
        return _Worker(pid, slot, number, seat.owner, ours, self._generation, time.monotonic(), post.ended)

    def _free_number(self) -> int:
        taken = {worker.number for worker in self._workers.values()}
        return next(number for number in count() if number not in taken)

    def _listen(self) -> None:
        for worker in self._workers.values():
            with contextlib.suppress(BlockingIOError, ConnectionError):
                said = worker.channel.recv(4096)
                if said:
                    worker.heard_at = time.monotonic()
                if READY in said:
                    self._welcome(worker)

    def _welcome(self, worker: _Worker) -> None:
        worker.ready = True
        self._ended = [owner for owner in self._ended if owner not in worker.relieves]
        self._slots.get(worker.slot, _Slot()).succeeded()
        if not self._served:
            self._served = True
            address = _address(self._settings, self._sockets)
            log.info(
                "listening on %s",
                address,
                extra={"address": address, "workers": len(self._slots), "pid": os.getpid()},
            )
        if worker.generation != self._generation:  # a newer one is on its way
            return
        for other in self._workers.values():
            stale = other.generation != self._generation
            if stale and (other.slot == worker.slot or other.slot not in self._slots):
                _drain(other)

    def _reap(self, selector: selectors.BaseSelector) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                continue
            del self._workers[pid]
            selector.unregister(worker.channel)
            worker.channel.close()
            self._ended.append(worker.owner)
            self._mourn(worker, os.waitstatus_to_exitcode(status))

    def _mourn(self, worker: _Worker, code: int) -> None:
        expected = worker.kill_at is not None or self._stopping
        metrics.worker_ended(worker.number, died=not expected)
        if expected:
            return
        log.error("a worker ended (%s) and is replaced", _cause(code), extra={"worker": worker.pid})
        if worker.ready:
            return
        if not self._served and code > 0:
            self._stop(1, "the registry can't start; the lines above say why")
        elif worker.slot in self._slots:
            self._slots[worker.slot].failed()

    def _watch(self) -> None:
        now = time.monotonic()
        if self._mark.reason and self._fail_at is None:
            log.critical("writing has stopped, and so does the registry; check the disk: %s", self._mark.reason)
            self._fail_at = now + FAILED_SECONDS
        if self._fail_at is not None and now > self._fail_at:
            self._stop(STORE_FAILED, "stopping: finishing the requests that run")
        late = [worker for worker in self._workers.values() if worker.kill_at is not None and now > worker.kill_at]
        stuck = [worker for worker in self._workers.values() if now - worker.heard_at > STUCK_SECONDS]
        for worker in late:
            log.error("a worker did not stop in time and is killed", extra={"worker": worker.pid})
            worker.kill_at = now + STOP_SECONDS
        for worker in stuck:
            log.error("a worker does not answer and is killed", extra={"worker": worker.pid})
            worker.heard_at = now  # a disk that hangs can delay its end
        _kill([*late, *stuck])


def _slots(settings: Settings) -> dict[int, _Slot]:
    return {slot: _Slot() for slot in range(settings.http.workers or default_workers())}


def _kill(workers: Iterable[_Worker]) -> None:
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)


def _drain(worker: _Worker) -> None:
    if worker.kill_at is None:
        worker.kill_at = time.monotonic() + STOP_SECONDS
        os.kill(worker.pid, signal.SIGTERM)


def _become_worker(number: int, post: Post, others: Sequence[socket.socket]) -> None:
    """Never returns: what the parent would do next is none of the child's business."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for handled in HANDLED:
            signal.signal(handled, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        for channel in others:  # held open here, they would hide the parent's end from their workers
            channel.close()
        metrics.enter(number)
        work(post)
        code = 0
    except BaseException:
        log.exception("a worker failed")
    finally:
        try:
            sys.stdout.flush()
        finally:  # whatever became of the log: the parent's clean-up is not ours
            os._exit(code)


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
