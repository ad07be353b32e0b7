"""podman and buildah with credentials: they send the password with each command."""

import base64
import json
from pathlib import Path

import pytest

from tests.support.access import PASSWORD
from tests.support.images import Remote, image, write_docker_archive
from tests.support.issuer import Issuer, github_claims
from tests.support.tools import Program

WITH_TOKENS = pytest.mark.parametrize("live_server", ["bearer"], indirect=True)
PLAIN = "--tls-verify=false"
# What podman says of an answer to HEAD, which has no text
FORBIDDEN = "403 (Forbidden)"


def login(podman: Program, folder: Path, host: str, name: str, password: str = PASSWORD) -> Program:
    """The client of somebody who has logged in."""
    client = podman.at_home(folder / name)
    client("login", PLAIN, "--username", name, "--password-stdin", host, stdin=password.encode())
    return client


def load(podman: Program, folder: Path, name: str, layers: int = 2) -> None:
    podman("load", "--input", write_docker_archive(folder / "image.tar", image(name, layers=layers), name))


def push(podman: Program, folder: Path, name: str) -> str:
    """The digest podman reports for its push."""
    report = folder / "digest"
    podman("push", PLAIN, "--digestfile", report, name)
    return report.read_text()


def test_push_and_pull_after_login(podman: Program, remote: Remote, tmp_path: Path) -> None:
    owner = login(podman, tmp_path, remote.host, "owner")
    load(owner, tmp_path, f"{remote}:v1")
    digest = push(owner, tmp_path, f"{remote}:v1")
    assert remote.manifest("v1").digest == digest
    owner("rmi", "--force", f"{remote}:v1")
    owner("pull", PLAIN, f"{remote}:v1")
    assert owner("image", "inspect", "--format", "{{.Digest}}", f"{remote}:v1") == digest


def test_podman_keeps_the_password(podman: Program, remote: Remote, tmp_path: Path) -> None:
    """It knows no identity tokens, so the password must stay good for the next command."""
    login(podman, tmp_path, remote.host, "owner")
    kept = json.loads((tmp_path / "owner" / "auth.json").read_text())["auths"][remote.host]
    assert base64.b64decode(kept["auth"]) == f"owner:{PASSWORD}".encode()


def test_a_wrong_password_is_told(podman: Program, remote: Remote, tmp_path: Path) -> None:
    client = podman.at_home(tmp_path / "owner")
    options = ("--username", "owner", "--password-stdin", remote.host)
    assert "invalid username/password" in client.refusal("login", PLAIN, *options, stdin=b"battery staple")


def test_logout_forgets_the_login(podman: Program, remote: Remote, tmp_path: Path) -> None:
    owner = login(podman, tmp_path, remote.host, "owner")
    load(owner, tmp_path, f"{remote}:v1")
    owner("logout", remote.host)
    assert "unauthorized" in owner.refusal("push", PLAIN, f"{remote}:v1")


def test_an_outsider_may_log_in_and_is_told_that_this_is_all(podman: Program, remote: Remote, tmp_path: Path) -> None:
    owner, outsider = (login(podman, tmp_path, remote.host, name) for name in ("owner", "outsider"))
    load(owner, tmp_path, f"{remote}:v1")
    push(owner, tmp_path, f"{remote}:v1")
    assert FORBIDDEN in outsider.refusal("push", PLAIN, f"{remote}:v1")
    assert "denied: user:outsider may not pull here" in outsider.refusal("pull", PLAIN, f"{remote}:v1")


def test_a_reader_pulls_and_does_not_push(podman: Program, remote: Remote, tmp_path: Path) -> None:
    owner, reader = (login(podman, tmp_path, remote.host, name) for name in ("owner", "reader"))
    load(owner, tmp_path, f"{remote}:v1")
    push(owner, tmp_path, f"{remote}:v1")
    reader("pull", PLAIN, f"{remote}:v1")
    assert "denied: user:reader may not push here" in reader.refusal("push", PLAIN, f"{remote}:v1")


def test_a_robot_pushes(podman: Program, robot: str, remote: Remote, tmp_path: Path) -> None:
    client = login(podman, tmp_path, remote.host, "robot$ci", robot)
    load(client, tmp_path, f"{remote}:v1")
    assert push(client, tmp_path, f"{remote}:v1") == remote.manifest("v1").digest


@WITH_TOKENS
def test_what_is_public_is_pulled_without_login_and_not_pushed(podman: Program, public: Remote, tmp_path: Path) -> None:
    owner, nobody = login(podman, tmp_path, public.host, "owner"), podman.at_home(tmp_path / "nobody")
    load(owner, tmp_path, f"{public}:v1")
    push(owner, tmp_path, f"{public}:v1")
    nobody("pull", PLAIN, f"{public}:v1")
    assert "unauthorized: log in first" in nobody.refusal("push", PLAIN, f"{public}:v1")


@WITH_TOKENS
def test_a_ci_job_pushes_once_after_login(podman: Program, issuer: Issuer, remote: Remote, tmp_path: Path) -> None:
    """The login only tries the password, and does not when it is used up."""
    token = issuer.mint(**github_claims())
    job = login(podman, tmp_path, remote.host, "oidc", token)
    load(job, tmp_path, f"{remote}:v1", layers=1)
    assert push(job, tmp_path, f"{remote}:v1") == remote.manifest("v1").digest
    assert "this CI token was used before" in job.refusal("push", PLAIN, f"{remote}:v1")
    options = ("--username", "oidc", "--password-stdin", remote.host)
    assert "invalid username/password" in job.refusal("login", PLAIN, *options, stdin=token.encode())


@WITH_TOKENS
def test_a_ci_job_pushes_several_layers_where_it_may_use_its_token_again(
    podman: Program, reusable: str, remote: Remote, tmp_path: Path
) -> None:
    """It asks for a token for each layer, at the same time."""
    job = login(podman, tmp_path, remote.host, "oidc", reusable)
    load(job, tmp_path, f"{remote}:v1", layers=6)
    assert push(job, tmp_path, f"{remote}:v1") == remote.manifest("v1").digest


@WITH_TOKENS
def test_a_ci_job_that_cannot_push_several_layers_is_told_how(
    podman: Program, issuer: Issuer, remote: Remote, tmp_path: Path
) -> None:
    job = login(podman, tmp_path, remote.host, "oidc", issuer.mint(**github_claims()))
    load(job, tmp_path, f"{remote}:v1", layers=6)
    assert "`digestry ci add --reuse 10s`" in job.refusal("push", PLAIN, f"{remote}:v1")


def test_buildah_pushes_with_credentials_of_one_command(buildah: Program, remote: Remote, tmp_path: Path) -> None:
    client, report = buildah.at_home(tmp_path / "nobody"), tmp_path / "digest"
    container = client("from", "scratch")
    client("commit", "--rm", container, f"{remote}:v1")

    def push_as(name: str) -> tuple[str | Path, ...]:
        options = (PLAIN, "--digestfile", report, "--creds", f"{name}:{PASSWORD}")
        return ("push", *options, f"{remote}:v1", f"docker://{remote}:v1")

    assert FORBIDDEN in client.refusal(*push_as("outsider"))
    assert "denied: user:reader may not push here" in client.refusal(*push_as("reader"))
    client(*push_as("pusher"))
    assert remote.manifest("v1").digest == report.read_text()
