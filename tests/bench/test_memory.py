"""Memory of a family of processes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.memory import family, peak_pss, peak_rss, pss

# Fills memory, has a child fill as much, and says so; then a line of input each to take more and to give it back
PARENT = """\
import subprocess, sys
mine = bytearray(b"1") * (32 << 20)
child = subprocess.Popen(
    [sys.executable, "-c", "mine = bytearray(b'1') * (32 << 20); print('full', flush=True); input()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
child.stdout.readline()
print(child.pid, flush=True)
input()
more = bytearray(b"1") * (64 << 20)
input()
del more
print("less", flush=True)
input()
child.communicate(b"\\n")
"""
MIB = 1024 * 1024


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as it:
        yield it
        it.communicate("\n\n\n")


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_family_counts_as_one(parent: subprocess.Popen[str]) -> None:
    child = int(_line(parent))
    assert family(parent.pid) == [parent.pid, child]
    assert pss(child) > 32 * MIB
    assert 64 * MIB < pss(parent.pid) < 128 * MIB


def test_peak(parent: subprocess.Popen[str]) -> None:
    _line(parent)
    before = pss(parent.pid)
    with peak_pss(parent.pid) as peak:
        _go_on(parent)
        deadline = time.monotonic() + 10
        while peak.bytes < before + 60 * MIB and time.monotonic() < deadline:
            time.sleep(0.01)
        _go_on(parent)
        _line(parent)
    assert peak.bytes > before + 60 * MIB
    assert pss(parent.pid) < before + 30 * MIB
    assert 90 * MIB < peak_rss(parent.pid) < 160 * MIB


def test_names_with_brackets_and_grandchildren(tmp_path: Path) -> None:
    for pid, name, ppid in ((10, "server", 1), (11, "a) b (c", 10), (12, "d", 11), (13, "other", 1)):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} ({name}) S {ppid} {pid} 0\n")
        (folder / "smaps_rollup").write_text(f"head [rollup]\nRss: 900 kB\nPss:    {pid} kB\nPss_Dirty: 1 kB\n")
    (tmp_path / "14").mkdir()
    assert family(10, tmp_path) == [10, 11, 12]
    assert pss(10, tmp_path) == (10 + 11 + 12) * 1024


def test_who_has_ended_has_no_memory(tmp_path: Path) -> None:
    assert pss(1, tmp_path) == peak_rss(1, tmp_path) == 0
