"""Memory of a server with all its processes: PSS, in which shared pages count once."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

PROC = Path("/proc")
SAMPLE_SECONDS = 0.05
SETTLED_SECONDS = 1.0
SETTLE_LIMIT_SECONDS = 15.0
SETTLED_BYTES = 256 * 1024


def family(pid: int, proc: Path = PROC) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in proc.glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except OSError:  # it has ended
            continue
        # The name before may hold anything, also brackets
        parent = stat.rpartition(")")[2].split()[1]
        children[int(parent)].append(int(entry.name))
    found = [pid]
    for member in found:
        found += sorted(children[member])
    return found


def pss(pid: int, proc: Path = PROC) -> int:
    """Bytes of a process and its descendants."""
    return sum(_pss_of(member, proc) for member in family(pid, proc))


def settled_pss(pid: int) -> int:
    """The memory of a server that has nothing to do, once it no longer changes."""
    deadline = time.monotonic() + SETTLE_LIMIT_SECONDS
    before = pss(pid)
    while time.monotonic() < deadline:
        time.sleep(SETTLED_SECONDS)
        now = pss(pid)
        if abs(now - before) < SETTLED_BYTES:
            return now
        before = now
    raise TimeoutError(f"the memory of process {pid} did not settle in {SETTLE_LIMIT_SECONDS} s")


class Peak:
    """The most that was seen."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def peak_pss(pid: int) -> Iterator[Peak]:
    """Watch a server while the block runs."""
    peak, ended = Peak(), threading.Event()

    def watch() -> None:
        while True:
            peak.bytes = max(peak.bytes, pss(pid))
            if ended.wait(SAMPLE_SECONDS):
                return

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield peak
        finally:
            ended.set()
        watching.result()


def peak_rss(pid: int, proc: Path = PROC) -> int:
    """The most bytes that one process ever had resident; 0 when it has ended."""
    return _field(proc / str(pid) / "status", "VmHWM:")


def _pss_of(pid: int, proc: Path) -> int:
    return _field(proc / str(pid) / "smaps_rollup", "Pss:")


def _field(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
