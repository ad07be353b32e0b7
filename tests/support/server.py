"""A registry in a process of its own, as users run it: for real clients, raw sockets and kills."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LISTENING = re.compile(r"""\baddress\W+(https?://|unix:)(?P<host>[^"']+)""")
START_SECONDS = 30.0
COMMAND = (sys.executable, "-m", "registry")


class LiveServer:
    """`digestry serve` on a free loopback port, with its data and its log under `folder`."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str] | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self.data = folder / "data"
        self._settings = dict(settings or {})
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.host = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that live now."""
        return self._children("digestry-worker")

    @property
    def keepers(self) -> list[int]:
        """The process id of the keeper; during a reload there are two."""
        return self._children("digestry-keeper")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def environment(self) -> dict[str, str]:
        own = {
            "REGISTRY_HTTP_ADDR": self.host or "127.0.0.1:0",
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(self.data / "blobs"),
            "REGISTRY_DATABASE_URL": f"sqlite:///{self.data / 'registry.db'}",
            "REGISTRY_LOG_FORMATTER": "json",
        }
        return {**os.environ, **own, **self._settings}

    def start(self) -> "LiveServer":
        """Start and wait until it listens. A second start takes the same port again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "serve"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with self.log.open(encoding="utf-8", errors="replace") as log_text:
                log_text.seek(offset)
                written = log_text.read()
            if found := LISTENING.search(written):
                self.host = found["host"]
                return self
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended at start:\n{written}")
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"the server did not listen within {START_SECONDS} s:\n{written}")

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, then the exit code."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = 30.0) -> int:
        """The exit code, once it ends by itself."""
        assert self._process is not None, "not started"
        return self._process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL for the parent and all workers: nothing is flushed, nothing is tidied."""
        assert self._process is not None, "not started"
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def digestry(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours on this server's data."""
        return subprocess.run(
            [sys.executable, "-m", "registry", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            timeout=120,
        )

    def _children(self, name: str) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii")
        return [int(pid) for pid in children.split() if _name(pid) == name]

    def tracebacks(self) -> list[str]:
        """Lines of the log that belong to a traceback: must stay empty whatever clients send."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if "Traceback" in line]


def _name(pid: str) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text("ascii").strip()
    return ""
