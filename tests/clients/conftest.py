"""The real clients, each with its own home, sockets and storage, against one live registry."""

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.images import Remote
from tests.support.server import LiveServer
from tests.support.tools import Program, require

START_SECONDS = 60.0
STOP_SECONDS = 30.0


@pytest.fixture(scope="module", autouse=True)
def no_traceback(live_server: LiveServer) -> Iterator[None]:
    """Whatever a client sent, the registry stayed in control of it."""
    yield
    assert live_server.tracebacks() == []


@pytest.fixture
def remote(live_server: LiveServer, request: pytest.FixtureRequest) -> Remote:
    """A repository of this test's own; also the seed of its images, so nothing is shared by accident."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return Remote(live_server.host, f"clients/{name}")


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A short path for an engine: its unix sockets may not exceed 108 characters."""
    with tempfile.TemporaryDirectory(prefix=f"digestry-{name}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def engine(command: Sequence[str | Path], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """Run a daemon until the block ends; it ends too when the test process is killed."""
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *map(str, command)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            _wait_until_ready(process, log, ready)
            yield
        finally:
            _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def docker() -> Iterator[Program]:
    """The docker CLI on an engine of its own, with the classic builder."""
    paths = require("docker")
    with scratch("docker") as folder:
        address = f"unix://{folder}/docker.sock"
        settings = {"DOCKER_HOST": address, "DOCKER_CONFIG": str(folder / "config"), "DOCKER_BUILDKIT": "0"}
        client = Program(paths["docker"], env=settings)
        command: list[str | Path] = [
            *(
                paths["dockerd"],
                "--iptables=false",
                "--bridge=none",
                "--host",
                address,
                "--pidfile",
                folder / "pid",
            ),
            *("--data-root", folder / "data", "--exec-root", folder / "exec"),
        ]
        with engine(command, folder / "log", lambda: client.run("version").returncode == 0):
            yield client
        # once a container had this machine's network, dockerd leaves a mount, and the folder could not be removed
        subprocess.run(["umount", folder / "exec" / "netns" / "default"], capture_output=True, check=False)


@pytest.fixture(scope="session")
def ctr() -> Iterator[Program]:
    """The ctr CLI on a containerd of its own."""
    paths = require("ctr")
    with scratch("ctr") as folder:
        settings = folder / "config.toml"
        settings.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        address = folder / "containerd.sock"
        client = Program(paths["ctr"], "--address", address)
        command: list[str | Path] = [
            *(paths["containerd"], "--config", settings, "--address", address),
            *("--root", folder / "root", "--state", folder / "state"),
        ]
        with engine(command, folder / "log", lambda: client.run("version").returncode == 0):
            yield client


@pytest.fixture(scope="session")
def podman() -> Iterator[Program]:
    path = require("podman")["podman"]
    with scratch("podman") as folder:
        storage = ("--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs")
        yield Program(path, *storage, "--tmpdir", folder / "tmp", "--cgroup-manager", "cgroupfs")


@pytest.fixture(scope="session")
def buildah() -> Iterator[Program]:
    path = require("buildah")["buildah"]
    with scratch("buildah") as folder:
        storage = ("--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs")
        yield Program(path, *storage, env={"BUILDAH_ISOLATION": "chroot"})


@pytest.fixture(scope="session")
def skopeo() -> Program:
    return Program(require("skopeo")["skopeo"])


@pytest.fixture(scope="session")
def crane(tmp_path_factory: pytest.TempPathFactory) -> Program:
    home = tmp_path_factory.mktemp("crane")
    return Program(require("crane")["crane"], env={"DOCKER_CONFIG": str(home)})


@pytest.fixture
def oras(tmp_path: Path) -> Program:
    """The client oras in the test's own folder: it takes and writes files by relative names."""
    return Program(require("oras")["oras"], env={"DOCKER_CONFIG": str(tmp_path)}, cwd=tmp_path)


def _regctl(home: Path, host: str, *options: str) -> Program:
    """The client regctl that knows the registry as one without TLS."""
    path = require("regctl")["regctl"]
    client = Program(path, env={"REGCTL_CONFIG": str(home / "config.json"), "DOCKER_CONFIG": str(home)})
    client("registry", "set", "--tls", "disabled", "--skip-check", *options, host)
    return client


@pytest.fixture
def regctl(live_server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return _regctl(tmp_path_factory.mktemp("regctl"), live_server.host)


@pytest.fixture
def chunking_regctl(live_server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The client regctl that uploads every blob in chunks of 64 KiB."""
    sizes = ("--blob-max", "1", "--blob-chunk", str(64 * 1024))
    return _regctl(tmp_path_factory.mktemp("regctl"), live_server.host, *sizes)
