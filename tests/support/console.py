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
    said: tuple[str, ...]


def steps(document: str) -> list[Step]:
    """All commands, in order."""
    return [step for first, block in _blocks(document) for step in _steps(first, block)]


def run(command: str, folder: Path, variables: Mapping[str, str]) -> list[str]:
    """The lines that a command leaves on a terminal."""
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(
            ["bash", "-c", command], cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        ):
            os.close(theirs)
            written = b"".join(_read(ours)).decode()
    finally:
        os.close(ours)
    shown = _OVERWRITTEN.sub("", _MOVES.sub("", written).replace("\r\n", "\n"))
    return [line.rstrip() for line in shown.strip().split("\n")] if shown.strip() else []


def agree(expected: Iterator[str] | tuple[str, ...], said: list[str]) -> bool:
    pattern = "".join(r"(?:.*\n)*" if line == "…" else _pattern(line) for line in expected)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in said)) is not None


def _pattern(line: str) -> str:
    columns = re.split(" {2,}", line)
    return " {2,}".join(".*".join(map(re.escape, column.split("…"))) for column in columns) + r"\n"


def _read(terminal: int) -> Iterator[bytes]:
    with suppress(OSError):  # everybody has closed the other end
        while piece := os.read(terminal, 65_536):
            yield piece


def _blocks(document: str) -> Iterator[tuple[int, list[str]]]:
    """Each block, after the number of its first line."""
    lines = document.split("\n")
    fences = [number for number, line in enumerate(lines) if line.startswith(_FENCE)]
    for begin, end in zip(fences[::2], fences[1::2], strict=True):
        assert lines[begin] == f"{_FENCE}console", f"line {begin + 1}: a block that would not run"
        yield begin + 2, lines[begin + 1 : end]


def _steps(first: int, block: list[str]) -> Iterator[Step]:
    prompts = [number for number, line in enumerate(block) if _PROMPT.fullmatch(line)]
    assert prompts[:1] == [0], f"line {first}: a block begins with a command"
    for begin, end in zip(prompts, [*prompts[1:], len(block)], strict=True):
        typed = _PROMPT.fullmatch(block[begin])
        assert typed is not None
        yield Step(first + begin, typed["who"], typed["command"], tuple(block[begin + 1 : end]))
