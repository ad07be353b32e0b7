"""Commands as an operator gives them: in this process, or at a terminal."""

import io
import json
import os
import re
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from registry.assembly import Registry
from registry.cli.main import app
from registry.domain.access import Identity, Peer
from registry.domain.errors import Unauthorized
from registry.metadata.schema import upgrade
from tests.support.registry import opened

__all__ = ["Commands", "Said", "Terminal", "at_terminal", "login"]

HERE = Peer("127.0.0.1", is_private=True)
WAIT_SECONDS = 20.0


class Said:
    """What a command said, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Commands:
    """`digestry` on a database in a folder, in a mode in which grants decide."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        upgrade(folder / "registry.db")

    @property
    def flags(self) -> list[str]:
        settings = [
            f"database.url=sqlite:///{self.folder}/registry.db",
            f"storage.filesystem.rootdirectory={self.folder}/blobs",
            "auth.mode=required",
        ]
        return [word for setting in settings for word in ("--set", setting)]

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Said:
        """Settings that a test gives itself win."""
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        self._capsys.readouterr()
        first = next((at for at, word in enumerate(arguments) if word.startswith("--")), len(arguments))
        code = app([*arguments[:first], *self.flags, *arguments[first:]], exit_on_error=False, print_error=False)
        assert isinstance(code, int)
        told = self._capsys.readouterr()
        return Said(code, told.out, told.err)

    def done(self, *arguments: str, stdin: str | bytes = "") -> Said:
        """For what must work."""
        said = self(*arguments, stdin=stdin)
        assert said.code == 0, said.err
        return said

    def fill(self, table: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert rows past all of our code."""
        with closing(sqlite3.connect(self.folder / "registry.db")) as connection:
            names = ", ".join(rows[0])
            marks = ", ".join(f":{name}" for name in rows[0])
            connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
            connection.commit()

    def refused(self, *arguments: str, stdin: str | bytes = "") -> str:
        """What the refusal says, to people and to programs."""
        told = self(*arguments, stdin=stdin)
        as_json = self(*arguments, "--json", stdin=stdin)
        assert (told.code, as_json.code, told.out, as_json.err) == (1, 1, "", "")
        error: str = as_json.json["error"]
        assert told.err == f"digestry: {error}\n"
        return error


async def login(folder: Path, name: str, password: str) -> Identity | None:
    """Who comes in with these, in a process that starts now."""

    async def ask(registry: Registry) -> Identity | None:
        try:
            return await registry.access.logins.by_password(name, password, HERE)
        except Unauthorized:
            return None

    async with opened(folder) as registry:
        return await ask(registry)


class Terminal:
    """The other end of a terminal that a process runs at."""

    def __init__(self, end: int, process: subprocess.Popen[bytes]) -> None:
        self._end = end
        self._process = process
        self.screen = ""

    def wait_for(self, text: str) -> None:
        """Wait until this is shown, after what was waited for before."""
        seen = len(self.screen) if text not in self.screen else -1
        deadline = time.monotonic() + WAIT_SECONDS
        while seen >= 0 and text not in self.screen[seen:]:
            assert time.monotonic() < deadline, f"waited for {text!r} in {self.screen!r}"
            self._read()

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def end(self) -> int:
        """The exit code; the screen is complete then."""
        code = self._process.wait(WAIT_SECONDS)
        while self._read():
            pass
        return code

    def _read(self) -> bool:
        ready, _, _ = select.select([self._end], [], [], 0.2)
        if not ready:
            return False
        try:
            found = os.read(self._end, 65_536)
        except OSError:  # everybody has closed it
            return False
        self.screen += re.sub(r"\r\n", "\n", found.decode())
        return bool(found)


@contextmanager
def at_terminal(arguments: Sequence[str]) -> Iterator[Terminal]:
    """Run the command at a terminal of its own."""
    ours, theirs = os.openpty()
    tty = os.ttyname(theirs)
    # The leader of a new session gets the first terminal that it opens
    command = ["sh", "-c", f'exec "$@" <{tty} >{tty} 2>&1', "sh", sys.executable, "-m", "registry", *arguments]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            yield Terminal(ours, process)
        finally:
            process.kill()
            os.close(theirs)
            os.close(ours)
