"""The registries that are compared: how each is built, set up, started and stopped."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bench.generate import generate
from bench.pushes import NO_HEADERS
from bench.shape import Shape
from registry.assembly import Registry
from tests.support import access
from tests.support.server import LiveServer

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "bench"
TOOLS = ROOT / ".tools" / "bench"
# Where Go is found beside PATH
GO_FOLDER = "/usr/local/go/bin"
START_SECONDS = 30.0
STOP_SECONDS = 60.0
LOG_TAIL = 2000
WORKERS = 2


class PeerMissingError(Exception):
    """A peer that can't be built here, and why."""


class Running(Protocol):
    """A started registry. `headers` let a client in."""

    @property
    def host(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def log(self) -> Path: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def stop(self, timeout: float = ...) -> int: ...


Started = TypeVar("Started", bound=Running)


@dataclass(frozen=True)
class Contender:
    """A registry to compare; `settings` says what a reader must know to judge its figures."""

    name: str
    version: str
    settings: str
    start: Callable[[Path], Running]


def forget_settings() -> None:
    """The caller's settings of a registry are no part of what is measured."""
    for name in [name for name in os.environ if name.startswith("REGISTRY_")]:
        del os.environ[name]


@contextmanager
def serving(contender: Contender, folder: Path) -> Iterator[Running]:
    """Start on an empty data folder; afterwards nothing of it is left, neither running nor on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    server = contender.start(folder)
    try:
        with stopping(server, contender.name):
            yield server
    finally:
        shutil.rmtree(folder)
        # What this run left to write must not slow the next one
        os.sync()


@contextmanager
def serving_generated(folder: Path, shape: Shape, settings: Mapping[str, str] = NO_HEADERS) -> Iterator[LiveServer]:
    """Digestry on generated data; its folder is left to the caller."""
    generate(folder / "data", shape)
    with stopping(Digestry(folder, settings), "digestry") as server:
        yield server


@contextmanager
def stopping(server: Started, name: str) -> Iterator[Started]:
    """Stop it in the end; what goes wrong is told with the end of its log."""
    try:
        yield server
    except Exception as error:
        error.add_note(f"the log of {name} ends:\n{server.log.read_text(errors='replace')[-LOG_TAIL:]}")
        raise
    finally:
        server.stop(STOP_SECONDS)


# --- Digestry --------------------------------------------------------------------------------------------------


def digestry() -> Contender:
    revision = (
        _output(["git", "--no-optional-locks", "-C", str(ROOT), "describe", "--always", "--dirty"]) or "no revision"
    )
    settings = (
        f"SQLite (WAL, synchronous=FULL) and a folder, fsync before every 201; {WORKERS} workers; "
        "log at info to a file: one JSON line a request"
    )
    return Contender("digestry", f"{importlib.metadata.version('digestry')} ({revision})", settings, Digestry)


def digestry_with_grants() -> Contender:
    """The same, where everybody logs in: to say what access costs."""
    plain = digestry()
    settings = "the same with auth.mode=required: a bearer token with each request, 50 grants"
    return Contender("with-grants", plain.version, settings, _DigestryWithGrants)


class Digestry(LiveServer):
    headers = NO_HEADERS

    def __init__(self, folder: Path, settings: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(folder, {"REGISTRY_HTTP_WORKERS": str(WORKERS), **settings})
        self.start()


class _DigestryWithGrants(Digestry):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, access.required(REGISTRY_AUTH_TOKEN_EXPIRY="1h"))  # noqa: S106 - a time
        access.operate(self, _add_member)
        self.headers = access.bearer(access.token(self, access.basic("member"), "repository:bench:pull,push"))


async def _add_member(registry: Registry) -> None:
    others = {f"team-{number}/**": "pull" for number in range(49)}
    await access.add_user(registry, "member", bench="pull,push,overwrite", **others)


# --- CNCF Distribution -----------------------------------------------------------------------------------------

_DISTRIBUTION = "github.com/distribution/distribution/v3"

_DISTRIBUTION_CONFIG = """\
version: 0.1
log:
  level: info
  formatter: json
  accesslog:
    disabled: true  # its info log has a line a request already
storage:
  filesystem:
    rootdirectory: {root}
  cache:
    blobdescriptor: inmemory
http:
  addr: 127.0.0.1:0
"""


def distribution() -> Contender:
    """Build it from the Go module. Raises PeerMissingError."""
    program = build("registry")
    version = _output(["go", "list", "-m", "-f", "{{.Version}}", _DISTRIBUTION], cwd=MODULE)
    settings = (
        "filesystem driver, fsync of each file, of a blob's folder never; blob descriptors cached in memory; "
        "log at info to a file: one JSON line a request"
    )

    def start(folder: Path) -> Running:
        folder.mkdir(parents=True)
        config = folder / "config.yml"
        config.write_text(_DISTRIBUTION_CONFIG.format(root=folder / "data"))
        command = [str(program), "serve", str(config)]
        # Without a collector its traces would only fail in the background
        return Daemon(command, folder / "server.log", {"OTEL_TRACES_EXPORTER": "none"}, r"listening on ([0-9.]+:\d+)")

    return Contender("distribution", f"{version}, {_output(['go', 'env', 'GOVERSION'], cwd=MODULE)}", settings, start)


class Daemon:
    """A server that says in its log where it listens."""

    headers = NO_HEADERS

    def __init__(self, command: list[str], log: Path, env: Mapping[str, str], listening: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.host = self._wait_for(re.compile(listening))

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        self._process.terminate()
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _wait_for(self, listening: re.Pattern[str]) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := listening.search(self.log.read_text(errors="replace")):
                return found[1]
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"did not listen:\n{self.log.read_text(errors='replace')[-LOG_TAIL:]}")


# --- building --------------------------------------------------------------------------------------------------


def build(program: str) -> Path:
    """A program of bench/go.mod, built at its pinned version. Raises PeerMissingError."""
    path = os.pathsep.join((os.environ.get("PATH", ""), GO_FOLDER))
    go = shutil.which("go", path=path)
    if go is None:
        raise PeerMissingError("no go on this machine")
    os.environ["PATH"] = path
    env = {**os.environ, "GOBIN": str(TOOLS), "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    done = subprocess.run([go, "install", "tool"], cwd=MODULE, env=env, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise PeerMissingError(f"go install failed: {done.stderr.strip()[-300:]}")
    return TOOLS / program


def _output(command: list[str], cwd: Path | None = None) -> str:
    """What a command prints; nothing when it can't run."""
    try:
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
