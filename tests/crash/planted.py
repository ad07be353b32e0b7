"""Plant one fault in a copy of the source, and see that the harness that must catch it does.

`--only NAME` plants one. A fault counts as caught only if the same harness passes on the unchanged copy.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("registry", "storage", "migrations", "tests", "pyproject.toml", "config.example.toml")
LONGEST_SECONDS = 900
SHOWN = 3


@dataclass(frozen=True)
class Outcome:
    code: int
    said: str
    seconds: float


class Copy:
    """The source in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)

    def plant(self, mutation: Mutation) -> None:
        """Change each text, which must be there exactly once."""
        for change in mutation.changes:
            path = self._folder / change.file
            text = path.read_text()
            if (found := text.count(change.old)) != 1:
                raise ValueError(f"{mutation.name}: {change.file} has the text {found} times, not once: {change.old!r}")
            path.write_text(text.replace(change.old, change.new))

    def run(self, command: Sequence[str]) -> Outcome:
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
        )
        return Outcome(done.returncode, done.stdout + done.stderr, time.monotonic() - started)


def _evidence(said: str) -> list[str]:
    lines = [line.strip()[:300] for line in said.splitlines()]
    return [line for line in lines if line.startswith(("LOST", "FAILED", "E  "))][:SHOWN] or lines[-SHOWN:]


def _check_baseline(commands: Sequence[Sequence[str]]) -> None:
    with tempfile.TemporaryDirectory(prefix="digestry-planted-") as folder:
        copy = Copy(Path(folder))
        for command in commands:
            outcome = copy.run(command)
            print(f"unchanged: {' '.join(command)}: {outcome.seconds:.0f} s", flush=True)
            if outcome.code:
                raise RuntimeError(f"the harness fails without a fault: {outcome.said[-3000:]}")


def plant(mutation: Mutation) -> bool:
    """Whether the harness caught it: it ran, and it failed."""
    with tempfile.TemporaryDirectory(prefix="digestry-planted-") as folder:
        copy = Copy(Path(folder))
        copy.plant(mutation)
        starts = copy.run(["registry", "--version"])
        if starts.code:
            raise RuntimeError(f"{mutation.name}: the changed source does not even start: {starts.said}")
        outcome = copy.run(mutation.command)
    caught = outcome.code != 0
    print(f"{'caught' if caught else 'NOT CAUGHT'}: {mutation.name} ({outcome.seconds:.0f} s)")
    for line in _evidence(outcome.said) if caught else ():
        print(f"    {line}")
    sys.stdout.flush()
    return caught


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[mutation.name for mutation in MUTATIONS])
    parser.add_argument("--list", action="store_true", help="print the table and stop")
    chosen = parser.parse_args(arguments)
    wanted = [mutation for mutation in MUTATIONS if not chosen.only or mutation.name in chosen.only]
    if chosen.list:
        for mutation in wanted:
            print(f"{mutation.name}: {' '.join(mutation.command)}")
        return 0
    _check_baseline(list(dict.fromkeys(mutation.command for mutation in wanted)))
    missed = [mutation.name for mutation in wanted if not plant(mutation)]
    print(f"{len(wanted) - len(missed)} of {len(wanted)} caught" + (f"; not: {', '.join(missed)}" if missed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
