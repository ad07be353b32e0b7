"""Named places where a test lets the process die, as if by `kill -9`. Off, each costs one check.

Armed by `arm`, or by DIGESTRY_CRASH_POINT=<name>:<hit>[:group] when the process starts.
"""

import os
import signal
from collections.abc import Callable, Mapping
from itertools import count

VARIABLE = "DIGESTRY_CRASH_POINT"
ANY = "any"
# Each with its number in the list of reliability d-2
POINTS: Mapping[str, int] = {
    "upload.opened": 1,
    "upload.leased": 2,
    "segment.written": 3,
    "segment.synced": 4,
    "upload.checkpointed": 5,
    "upload.released": 5,
    "upload.received": 6,
    "blob.synced": 7,
    "blob.linked": 8,
    "blob.published": 9,
    "database.beginning": 9,
    "database.statement": 10,
    "database.committing": 10,
    "database.committed": 11,
    "blob.recorded": 12,
    "blob.tidied": 12,
    "manifest.stored": 16,
    "manifest.tagged": 16,
    "manifest.committed": 17,
    "manifest.hidden": 16,
    "manifest.revived": 16,
    "repository.hidden": 16,
    "repository.merged": 16,
    "gc.expired": 18,
    "gc.emptied": 18,
    "gc.unlinked": 19,
    "gc.deleted": 20,
    "gc.forgotten": 20,
    "gc.orphans": 21,
    "upload.expired": 22,
    "migration.statement": 23,
    "migration.committing": 23,
    "recovery.registered": 25,
    "recovery.swept": 25,
    "recovery.relieving": 25,
}

_watcher: Callable[[str], None] | None = None


def crash_point(name: str) -> None:
    """Die here, if a test wants that."""
    if _watcher is not None:
        _watcher(name)


def watch(watcher: Callable[[str], None] | None) -> None:
    """Let `watcher` decide at each point; None for nobody."""
    global _watcher  # noqa: PLW0603 - one check when off
    _watcher = watcher


def arm(name: str, hit: int, *, group: bool = False) -> None:
    """Die at the `hit`-th time that this process gets to the point, or to ANY; `group`: with all of its group."""
    if name != ANY and name not in POINTS:
        raise ValueError(f"no crash point is called {name}")
    hits = count(1)

    def trap(reached: str) -> None:
        if name in (reached, ANY) and next(hits) == hit:
            die(group=group)

    watch(trap)


def die(*, group: bool) -> None:
    """SIGKILL: nothing is flushed, nothing is tidied."""
    if group:
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def arm_from(text: str) -> None:
    """`arm` as the variable spells it."""
    name, hit, *group = text.split(":")
    arm(name, int(hit), group=group == ["group"])


if VARIABLE in os.environ:
    arm_from(os.environ[VARIABLE])
