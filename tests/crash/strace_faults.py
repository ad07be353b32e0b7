"""Fail, or die at, the n-th system call of a registry's thread, n = 1, 2, … until a run ends untouched.

After each run: restart, nothing acknowledged is lost, fsck is clean, and the same work succeeds.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from registry.metadata.schema import upgrade
from tests.crash.driver import DATABASE, FOLDER, JOURNAL, MAIN, STORAGE, Journal
from tests.crash.forked import ended
from tests.crash.scratch import scratch_folder
from tests.crash.trap import Trap
from tests.crash.zygote import Order, Zygote

CALLS = ("write", "pwrite64", "fsync", "fdatasync", "link", "rename", "unlink", "openat", "ftruncate", "sendfile")
THREADS = (MAIN, STORAGE, DATABASE)
FAULTS = ("signal=KILL", "error=EIO", "error=ENOSPC", "error=EMFILE")
RUN_SECONDS = 30.0
POLL_SECONDS = 0.002


@dataclass(frozen=True)
class Case:
    thread: str
    call: str
    fault: str
    number: int

    def __str__(self) -> str:
        return f"{self.thread}:{self.call}:{self.fault}:{self.number}"


@dataclass
class Trial:
    """Runs cases; each on a fresh copy of a migrated registry."""

    folder: Path
    zygote: Zygote
    runs: int = 0
    injected: int = 0
    promised: int = 0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        upgrade(self.folder / "template" / "registry.db")

    def run_until_clean(self, thread: str, call: str, fault: str) -> None:
        for number in count(1):
            if not self.run(Case(thread, call, fault, number)):
                return

    def run(self, case: Case) -> bool:
        """Whether the call was reached."""
        folder = self.folder / "run"
        shutil.copytree(self.folder / "template", folder)
        try:
            return self._run(case, folder)
        finally:
            shutil.rmtree(folder)

    def _run(self, case: Case, folder: Path) -> bool:
        self.runs += 1
        path = self.folder / "journal"
        path.unlink(missing_ok=True)
        with closing(Journal(path)) as journal:
            trace = self._drive(case, folder, journal)
            events = journal.read()
        reached = "INJECTED" in trace or "killed by SIGKILL" in trace
        self.injected += reached
        self.promised += sum("promised" in event for event in events)
        found = [str(event["problem"]) for event in events if "problem" in event]
        if not reached:
            found += [str(event) for event in events if "refused" in event or "not_started" in event]
            found += [] if any("ended" in event for event in events) else ["the driver did not end"]
        found += self._judge(folder)
        self.problems += [f"{case}: {problem}" for problem in found]
        return reached

    def _drive(self, case: Case, folder: Path, journal: Journal) -> str:
        pid = self.zygote.run(self._order("drive", folder, wait=False))
        if case.thread != MAIN:
            journal.open_gate(0)
        target = self._thread(journal, case.thread)
        trace = self.folder / "trace"
        inject = ["-e", f"trace={case.call}", "-e", f"inject={case.call}:{case.fault}:when={case.number}"]
        with subprocess.Popen(
            ["strace", "-o", str(trace), *inject, "-p", str(target)], stderr=subprocess.PIPE, text=True
        ) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            if "attached" not in said:
                raise RuntimeError(f"strace did not attach: {said}")
            journal.open_gate(0)
            journal.open_gate(1)
            if not ended(pid, RUN_SECONDS):
                raise RuntimeError(f"the driver did not end within {RUN_SECONDS} s")
            strace.wait(RUN_SECONDS)
        return trace.read_text()

    def _thread(self, journal: Journal, name: str) -> int:
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            for event in journal.read():
                if name in event.get("threads", {}):
                    return int(event["threads"][name])
            time.sleep(POLL_SECONDS)
        raise RuntimeError(f"the driver has no thread {name}")

    def _judge(self, folder: Path) -> list[str]:
        verdict = self.folder / "verdict"
        verdict.unlink(missing_ok=True)
        self.zygote.run(self._order("judge", folder, wait=True, log=verdict))
        text = verdict.read_text()
        try:
            found: list[str] = json.loads(text.splitlines()[-1])
        except (json.JSONDecodeError, IndexError):
            return [f"no verdict: {text[-2000:]}"]
        return found

    def _order(self, job: str, folder: Path, *, wait: bool, log: Path | None = None) -> Order:
        environment = {FOLDER: str(folder), JOURNAL: str(self.folder / "journal")}
        return Order(job, environment, str(log or self.folder / "driver.log"), wait)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", default=",".join(THREADS))
    parser.add_argument("--calls", default=",".join(CALLS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--replay", metavar="THREAD:CALL:FAULT:N")
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    with scratch_folder() as folder, closing(Zygote(Trap())) as zygote:
        trial = Trial(folder, zygote)
        if chosen.replay:
            thread, call, fault, number = chosen.replay.split(":")
            trial.run(Case(thread, call, fault, int(number)))
        else:
            for thread in chosen.threads.split(","):
                for call in chosen.calls.split(","):
                    for fault in chosen.faults.split(","):
                        trial.run_until_clean(thread, call, fault)
                    print(f"{thread} {call}: {trial.runs} runs, {trial.injected} hit", file=sys.stderr, flush=True)
    summary = {
        "runs": trial.runs,
        "injected": trial.injected,
        "acknowledged": trial.promised,
        "seconds": round(time.monotonic() - started, 1),
        "problems": trial.problems,
    }
    print(json.dumps(summary, indent=2))
    return 1 if trial.problems else 0


if __name__ == "__main__":
    sys.exit(main())
