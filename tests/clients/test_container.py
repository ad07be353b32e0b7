"""The Dockerfile and docker-compose.yml as a user has them: built, started, pushed to and stopped by Docker."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.base_image import write_base_image
from tests.support.images import Remote, image, write_docker_archive
from tests.support.tools import ROOT, Program, require

BASE = "digestry-base"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OVERRIDE = Path(__file__).with_name("compose.override.yml")
START_SECONDS = 60.0
LOCKED = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)


@dataclass(frozen=True)
class Service:
    """The one service of docker-compose.yml."""

    docker: Program
    options: tuple[str | Path, ...]

    def compose(self, *arguments: str) -> str:
        return self.docker(*self.options, *arguments)

    def up(self) -> None:
        """Start it, and wait until its health check is content."""
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", "60")
        except AssertionError as failed:
            failed.add_note(self.compose("logs"))
            raise

    @property
    def host(self) -> str:
        """Where it is published: another free port at each start."""
        return self.compose("port", "registry", "5000")

    def inspect(self, what: str) -> str:
        return self.docker("inspect", "--format", what, self.compose("ps", "--all", "--quiet", "registry"))

    def python(self, code: str, *, user: str = "65532") -> str:
        return self.compose("exec", "--no-TTY", "--user", user, "registry", "python3", "-c", code)


@pytest.fixture(scope="module")
def service(docker: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Built from this checkout on a base image from this machine; starts with an empty volume."""
    plugin = require("compose")["docker-compose"]
    folder = tmp_path_factory.mktemp("compose")
    docker("import", "--change", f"ENV PATH={PATH}", write_base_image(folder / "base.tar"), BASE)
    (folder / "cli-plugins").mkdir()
    (folder / "cli-plugins" / "docker-compose").symlink_to(plugin)
    variables = folder / "variables"
    variables.write_text(f"BASE_IMAGE={BASE}\nDIGESTRY_PORT=0\n")
    files = ("--file", ROOT / "docker-compose.yml", "--file", OVERRIDE)
    made = Service(docker, ("--config", folder, "compose", "--env-file", variables, *files))
    try:
        made.compose("build")
        made.up()
        yield made
    finally:
        made.compose("down", "--volumes")


def push(service: Service, folder: Path, name: str) -> str:
    """Push a small image; its digest."""
    remote = Remote(service.host, name)
    service.docker("load", "--input", write_docker_archive(folder / "image.tar", image(name), f"{remote}:v1"))
    said = service.docker("push", f"{remote}:v1")
    digest = remote.manifest("v1").digest
    assert f"digest: {digest}" in said
    service.docker("rmi", "--force", f"{remote}:v1")
    return digest


def pull(service: Service, name: str, digest: str) -> None:
    said = service.docker("pull", f"{service.host}/{name}@{digest}")
    assert f"Digest: {digest}" in said
    assert "Already exists" not in said


def test_push_and_pull(service: Service, tmp_path: Path) -> None:
    digest = push(service, tmp_path, "demo/app")
    pull(service, "demo/app", digest)


def test_it_is_published_on_loopback_only(service: Service) -> None:
    ports = json.loads(service.inspect("{{json .NetworkSettings.Ports}}"))
    assert {one["HostIp"] for published in ports.values() for one in published} == {"127.0.0.1"}


def test_the_image_itself_asks_everybody_who_they_are(service: Service) -> None:
    started = service.docker("run", "--detach", "--network", "none", "digestry")
    wait_for_log(service, started, "listening on")
    told = service.docker.run("logs", started).stderr.decode()
    assert "the user admin does now. Log in with this password" in told
    code = "import urllib.request as r\ntry: r.urlopen('http://127.0.0.1:5000/v2/')\nexcept OSError as e: print(e.code)"
    assert service.docker("exec", started, "python3", "-c", code) == "401"
    service.docker("rm", "--force", "--volumes", started)


def wait_for_log(service: Service, container: str, text: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while text not in service.docker("logs", container):
        assert time.monotonic() < deadline, f"it did not log {text!r}"
        time.sleep(0.05)


def test_health_is_asked_without_a_shell(service: Service) -> None:
    assert service.inspect("{{json .Config.Healthcheck.Test}}") == '["CMD","digestry","health"]'
    assert service.compose("exec", "--no-TTY", "registry", "digestry", "health", "--write") == "ready"


def test_the_process_has_no_rights(service: Service) -> None:
    lines = service.python("print(open('/proc/1/status').read())").splitlines()
    status = dict(line.split(":\t", 1) for line in lines)
    assert status["Uid"].split() == status["Gid"].split() == ["65532"] * 4
    assert {int(status[kind], 16) for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("folder", ["/", "/etc", "/opt/digestry", "/var/lib"])
def test_even_root_finds_the_root_file_system_read_only(service: Service, folder: str) -> None:
    code = f"import os, tempfile\ntry: tempfile.mkstemp(dir={folder!r})\nexcept OSError as e: print(e.strerror)"
    assert service.python(code, user="0") == "Read-only file system"


@pytest.mark.parametrize("folder", ["/tmp", "/var/lib/digestry"])
def test_the_process_can_write_where_it_must(service: Service, folder: str) -> None:
    service.python(f"import tempfile\nwith tempfile.TemporaryFile(dir={folder!r}) as file: file.write(b'x')")


def test_the_environment_holds_what_is_locked_and_no_build_tools(service: Service) -> None:
    code = "from importlib.metadata import distributions\nfor one in distributions(): print(one.metadata['Name'])"
    installed = {name.lower().replace("_", "-") for name in service.python(code).split()}
    locked = set(LOCKED.findall((ROOT / "requirements" / "runtime.txt").read_text()))
    assert "digestry" in installed
    assert installed - {"digestry"} <= locked


def test_a_new_container_serves_what_the_old_one_took(service: Service, tmp_path: Path) -> None:
    digest = push(service, tmp_path, "demo/kept")
    before = service.inspect("{{.Id}}")
    service.compose("down")
    service.up()
    assert service.inspect("{{.Id}}") != before
    pull(service, "demo/kept", digest)


def test_a_stop_while_it_still_starts_is_heard(service: Service) -> None:
    """It waits here for the lock that the running one holds."""
    options = ("--network", "none", "--volume", "digestry_data:/var/lib/digestry")
    second = service.docker("run", "--detach", "--env", "REGISTRY_AUTH_MODE=open-anywhere", *options, "digestry")
    wait_for_log(service, second, "open-anywhere")
    service.docker("stop", second)
    assert service.docker("inspect", "--format", "{{.State.ExitCode}}", second) == "143"


def test_stop_lets_it_finish(service: Service) -> None:
    """137 would mean that it was killed when its time was over."""
    service.compose("stop")
    assert service.inspect("{{.State.Status}} {{.State.ExitCode}}") == "exited 0"
    service.up()
