"""How far a long command is: a bar on a terminal, else now and then a JSON object on a line."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

from registry.values import rounded_size

TERMINAL_SECONDS = 0.1
LINES_SECONDS = 10.0
BAR_WIDTH = 24
CLEAR = "\r\x1b[K"


class Progress:
    """`total`: how much there is to do, 0 when nobody knows. `in_bytes`: it counts bytes and not things.

    `lines`: write JSON lines there, also on a terminal.
    """

    def __init__(
        self,
        total: int = 0,
        *,
        in_bytes: bool = False,
        lines: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._in_bytes = in_bytes
        self._out = lines or sys.stderr
        self._is_bar = lines is None and sys.stderr.isatty()
        self._clock = clock
        self._began = self._shown_at = clock()
        self._is_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError):
            self.clear()

    def show(self, phase: str, done: int) -> None:
        """How much of it is done; shown when it is time to."""
        now = self._clock()
        if now - self._shown_at < (TERMINAL_SECONDS if self._is_bar else LINES_SECONDS):
            return
        self._shown_at = now
        if self._is_bar:
            self._out.write(CLEAR + self._bar(phase, done, now - self._began))
            self._is_shown = True
        else:
            self._out.write(f"{json.dumps(self._told(phase, done, now - self._began))}\n")
        self._out.flush()

    def clear(self) -> None:
        """Make room for other output."""
        if self._is_shown:
            self._out.write(CLEAR)
            self._out.flush()
            self._is_shown = False

    def _told(self, phase: str, done: int, seconds: float) -> dict[str, object]:
        total = {"total": self._total} if self._total else {}
        return {"progress": phase, "done": done, **total, "seconds": round(seconds, 1)}

    def _bar(self, phase: str, done: int, seconds: float) -> str:
        rate = done / seconds
        speed = f"{self._amount(int(rate))}/s"
        if not self._total:
            return f"{phase}: {self._amount(done)}, {speed}"
        part = min(done / self._total, 1.0)
        filled = int(part * BAR_WIDTH)
        left = f", {_clock_time((self._total - done) / rate)} left" if 0 < done <= self._total else ""
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        return f"{phase} [{bar}] {self._amount(done)} of {self._amount(self._total)}, {speed}{left}"

    def _amount(self, number: int) -> str:
        return rounded_size(number) if self._in_bytes else str(number)


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
