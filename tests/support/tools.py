"""The real programs the tests drive: found here, or the test is skipped by name (in CI it fails)."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GO_TOOLS = ROOT / ".tools"
SYSTEM_FOLDERS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
REMEDY = "run `sudo make test-deps`"


@dataclass(frozen=True)
class Part:
    """One real part: the programs it is made of, and whether it runs as root only."""

    programs: tuple[str, ...]
    needs_root: bool = False


PARTS: Mapping[str, Part] = {
    "docker": Part(("docker", "dockerd", "containerd", "runc"), needs_root=True),
    "compose": Part(("docker-compose",)),
    "podman": Part(("podman",), needs_root=True),
    "buildah": Part(("buildah",), needs_root=True),
    "ctr": Part(("ctr", "containerd"), needs_root=True),
    "skopeo": Part(("skopeo",)),
    "crane": Part(("crane",)),
    "regctl": Part(("regctl",)),
    "oras": Part(("oras",)),
    "conformance": Part(("conformance",)),
    "wrk": Part(("wrk",)),
    "strace": Part(("strace",)),
    "nginx": Part(("nginx",)),
    "htpasswd": Part(("htpasswd",)),
    "chromium": Part(("chromium",)),
    "ext4": Part(("mkfs.ext4",), needs_root=True),
    "xfs": Part(("mkfs.xfs",), needs_root=True),
}
BUILT_WITH_GO = frozenset({"crane", "regctl", "oras", "conformance", "docker-compose"})


def find(program: str) -> str | None:
    """The path of a program, or None. Go tools count in their pinned version only: from `.tools/`."""
    if program in BUILT_WITH_GO:
        return shutil.which(program, path=str(GO_TOOLS))
    # the distribution's own first: a docker CLI elsewhere on PATH may be too new for the engine beside it
    folders = os.pathsep.join((*SYSTEM_FOLDERS, os.environ.get("PATH", "")))
    return shutil.which(program, path=folders)


def missing(name: str) -> str | None:
    """Why a part cannot be used, or None when it can."""
    part = PARTS[name]
    absent = [program for program in part.programs if find(program) is None]
    if absent:
        return f"{name}: no {', '.join(absent)} on this machine; {REMEDY}"
    if part.needs_root and os.geteuid() != 0:
        return f"{name}: runs as root only; {REMEDY} and run the tests as root"
    return None


def require(*names: str) -> dict[str, str]:
    """The path of each program of these parts, by its name; skips the test when one cannot be used."""
    reasons = [reason for reason in map(missing, names) if reason is not None]
    if reasons:
        give_up("; ".join(reasons))
    programs = (program for name in names for program in PARTS[name].programs)
    return {program: path for program in programs if (path := find(program)) is not None}


def give_up(reason: str) -> None:
    """Skip the test that runs; in CI it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"nothing may be skipped in CI: {reason}", pytrace=False)
    pytest.skip(reason)


class Program:
    """A program with the arguments and the environment all its calls share."""

    def __init__(
        self,
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 120.0,
    ) -> None:
        self._command = [str(part) for part in command]
        self._env = dict(env or {})
        self._cwd = cwd
        self._timeout = timeout

    def at_home(self, home: Path) -> "Program":
        """The same program of somebody else, who keeps their logins in this folder."""
        home.mkdir(exist_ok=True)
        logins = home / "auth.json"
        if not logins.exists():
            logins.write_text("{}")
        homes = {
            "DOCKER_CONFIG": str(home),
            "REGISTRY_AUTH_FILE": str(logins),
            "REGCTL_CONFIG": str(home / "regctl.json"),
        }
        return Program(*self._command, env={**self._env, **homes}, cwd=self._cwd, timeout=self._timeout)

    def run(self, *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run to the end, whatever it answers."""
        return subprocess.run(
            [*self._command, *map(str, arguments)],
            input=stdin,
            env={**os.environ, **self._env},
            cwd=self._cwd,
            capture_output=True,
            check=False,
            timeout=self._timeout,
        )

    def read(self, *arguments: object, stdin: bytes = b"") -> bytes:
        """Run; its standard output as it is. A failure of the program fails the test with all it said."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, _story(done)
        return done.stdout

    def __call__(self, *arguments: object, stdin: bytes = b"") -> str:
        """Run; its standard output as stripped text."""
        return self.read(*arguments, stdin=stdin).decode().strip()

    def refusal(self, *arguments: object, stdin: bytes = b"") -> str:
        """Run what must fail; all it said."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode != 0, f"should have failed: {_story(done)}"
        return (done.stdout + done.stderr).decode(errors="replace")


def _story(done: subprocess.CompletedProcess[bytes]) -> str:
    said = (done.stdout + b"\n" + done.stderr).decode(errors="replace").strip()
    return f"{' '.join(done.args)}: exit code {done.returncode}\n{said}"


def command_path(program: str) -> str:
    """Our command, and a program where the tests have found it, before what else there may be."""
    folders = (Path(sys.executable).parent, Path(require(program)[program]).parent, "/usr/bin", "/bin")
    return ":".join(map(str, folders))
