"""A process that has imported the registry and forks servers and commands of it, which saves each a second.

It reads orders from its standard input, a line of JSON each, and answers with one line. It has no threads.
"""

import asyncio
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

import alembic.command  # noqa: F401 - for `upgrade`

from registry.assembly import open_registry
from registry.cli import database, fsck, serve
from registry.cli.options import settings
from registry.clock import wall_clock
from registry.content import intake
from storage import crashpoints
from tests.crash import driver
from tests.crash.trap import Trap

DAY = 86_400_000
# Bodies here are small, and are to be written and recorded in parts all the same
PIECE = 16 * 1024
CHECKPOINT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Order:
    """What to run, with which settings, where its output goes; `die_at` as in DIGESTRY_CRASH_POINT."""

    job: str
    environment: Mapping[str, str]
    log: str
    wait: bool
    die_at: str = ""
    trapped: bool = False


class Zygote:
    """The order giver's side."""

    def __init__(self, trap: Trap) -> None:
        self.trap = trap
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote", *map(str, trap.descriptors)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=trap.descriptors,
        )

    def run(self, order: Order) -> int:
        """The exit code (negative: killed by that signal), or with `wait` false the pid of what was started."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the zygote has ended")
        return int(answer)

    def close(self) -> None:
        self._process.communicate()


def _serve(trap: Trap) -> int:
    trap.in_parent()
    return serve.serve()


def _fsck(trap: Trap) -> int:
    return fsck.fsck(deep=True, as_json=True)


def _upgrade(trap: Trap) -> int:
    return database.upgrade(as_json=True)


def _expire(trap: Trap) -> int:
    """All uploads expire, for the clock is two days ahead."""

    async def run() -> None:
        registry = open_registry(settings(None, ()).settings, now=lambda: wall_clock() + 2 * DAY)
        try:
            await registry.uploads.expire()
        finally:
            await registry.close()

    asyncio.run(run())
    return 0


_JOBS: Mapping[str, Callable[[Trap], int]] = {
    "serve": _serve,
    "fsck": _fsck,
    "upgrade": _upgrade,
    "expire": _expire,
    "drive": lambda trap: driver.drive(),
    "judge": lambda trap: driver.judge(),
}


def _become(order: Order, trap: Trap) -> None:
    """Never returns."""
    code = 1
    try:
        os.setsid()
        log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(order.environment)
        intake.SMALLEST_PIECE = intake.LARGEST_PIECE = PIECE
        intake.CHECKPOINT_BYTES = CHECKPOINT_BYTES
        if order.die_at:
            crashpoints.arm_from(order.die_at)
        elif order.trapped:
            crashpoints.watch(trap.reach)
        code = _JOBS[order.job](trap)
    except BaseException:  # noqa: BLE001 - it must never return into the zygote's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    trap = Trap(int(sys.argv[1]), int(sys.argv[2]))
    for line in sys.stdin:
        _reap()
        order = Order(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            _become(order, trap)
        answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if order.wait else pid
        print(answer, flush=True)


if __name__ == "__main__":
    main()
