"""The htpasswd file, as the official registry image takes it: `NAME:HASH`, bcrypt only, followed while we serve."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from registry.domain.grants import parse_account
from registry.domain.problems import Invalid

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
LINES_TOLD = 20
# The salt's last character holds two bits; the library refuses more
_BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")


class Htpasswd:
    """Users and their hashes. A file that goes away later counts as it last was; one that stays empty holds nobody.

    The file is small and local, so that it is looked at on the event loop, once a second at most.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raise Invalid when it can't be read."""
        self._path = path
        self._clock = clock
        self._hashes: dict[str, str] = {}
        self._state: tuple[int, int, int] | None = None
        self._is_gone = self._was_empty = False
        self._looked_at = clock()
        try:
            self._read()
        except OSError as error:
            raise Invalid(
                f"the htpasswd file {path} can't be read ({error.strerror}); "
                f"`htpasswd -Bbn USER PASSWORD >> {path}` adds a user"
            ) from error

    def find(self, name: str) -> str | None:
        """The bcrypt hash of a user."""
        self._follow()
        return self._hashes.get(name)

    def hashes(self) -> dict[str, str]:
        """All users with their hashes."""
        self._follow()
        return dict(self._hashes)

    def names(self) -> list[str]:
        """All users."""
        return sorted(self.hashes())

    @property
    def costliest(self) -> str | None:
        """A hash of the highest cost, for what takes as long as the file's users do."""
        return max(self._hashes.values(), key=lambda hashed: hashed[4:6], default=None)

    def _follow(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            if _state_of(self._path.stat()) != self._state:
                self._read()
            self._is_gone = False
        except OSError as error:
            if not self._is_gone:
                log.warning("the htpasswd file %s is not there (%s): it counts as it was", self._path, error.strerror)
            self._is_gone = True

    def _read(self) -> None:
        with self._path.open("rb") as file:
            # Before its content: what is written meanwhile is found at the next look
            self._state = _state_of(os.fstat(file.fileno()))
            text = file.read().decode(errors="replace")
        hashes, ignored = _parse(text.splitlines())
        if self._hashes and not hashes and not self._was_empty:
            # Tools write it in place: empty for a moment is no reason to end everybody's pushes
            self._was_empty, self._state = True, None
            return
        self._hashes, self._was_empty = hashes, False
        if ignored:
            told = ", ".join(map(str, ignored[:LINES_TOLD])) + (", …" if len(ignored) > LINES_TOLD else "")
            log.warning(
                "the htpasswd file %s: ignored line %s: a line is NAME:HASH, with a name that grants can tell "
                "and a bcrypt hash, as `htpasswd -B` makes it",
                self._path,
                told,
            )


def _state_of(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _parse(lines: Iterable[str]) -> tuple[dict[str, str], list[int]]:
    """The hash of each name, and the numbers of lines that hold none. The last line of a name counts."""
    hashes: dict[str, str] = {}
    ignored: list[int] = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        name, _, hashed = line.partition(":")
        if _BCRYPT.fullmatch(hashed) and _is_account(name):
            hashes[name] = hashed
        else:
            ignored.append(number)
    return hashes, ignored


def _is_account(name: str) -> bool:
    try:
        parse_account(name)
    except Invalid:
        return False
    return True
