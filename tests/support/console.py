"""Documents whose commands are run: blocks of `console` with lines `NAME$ command`, each with what it says below.

In what is said `…` is anything, alone on a line also many lines or none; columns may be wider or narrower.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_FENCE = "```"
_PROMPT = re.compile(r"(?P<who>[a-z]+)\$ (?P<command>.+)")
# What moves the cursor or colours, and what was written over
_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")


@dataclass(frozen=True, slots=True)
class Step:
    """One command: in which line, who types it, and what it says."""

    line: int
    who: str
    command: str
    said: str


def steps(document: str) -> list[Step]:
    """All commands, in order; raise AssertionError or ValueError for a block that is none."""
    return [step for first, block in _blocks(document) for step in _steps(first, block)]


def run(command: str, folder: Path, variables: Mapping[str, str]) -> str:
    """What a command leaves on a terminal."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        said = b"".join(_read(ours)).decode()
    os.close(ours)
    return _OVERWRITTEN.sub("", _MOVES.sub("", said).replace("\r\n", "\n"))


def agree(expected: str, said: str) -> bool:
    lines = [line.rstrip() for line in said.strip().splitlines()]
    pattern = "".join(map(_pattern, expected.splitlines()))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*"
    columns = [".*".join(map(re.escape, column.split("…"))) for column in re.split(" {2,}", line)]
    return " {2,}".join(columns) + r"\n"


def _read(terminal: int) -> Iterator[bytes]:
    with suppress(OSError):  # everybody has closed the other end
        while piece := os.read(terminal, 65_536):
            yield piece


def _blocks(document: str) -> Iterator[tuple[int, list[str]]]:
    """Each block, after the number of its first line."""
    lines = document.splitlines()
    fences = [at for at, line in enumerate(lines) if line.startswith(_FENCE)]
    for begin, end in zip(fences[::2], fences[1::2], strict=True):
        assert lines[begin] == f"{_FENCE}console", f"line {begin + 1}: a block that is not run"
        yield begin + 2, lines[begin + 1 : end]


def _steps(first: int, block: list[str]) -> Iterator[Step]:
    typed = [(at, found) for at, line in enumerate(block) if (found := _PROMPT.fullmatch(line))]
    assert typed and typed[0][0] == 0, f"line {first}: a block begins with a command"
    ends = [at for at, _ in typed[1:]] + [len(block)]
    for (at, found), end in zip(typed, ends, strict=True):
        yield Step(first + at, found["who"], found["command"], "\n".join(block[at + 1 : end]))
