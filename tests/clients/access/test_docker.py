"""Docker Engine and its CLI with credentials: login, identity tokens, refusals, mounts, robots, CI jobs."""

import base64
import json
import re
import time
from pathlib import Path

import pytest

from registry.access.directory import FRESH_SECONDS
from registry.assembly import Registry
from tests.support.access import OPERATING, PASSWORD, add_user, operate
from tests.support.images import Remote, image, write_docker_archive
from tests.support.issuer import Issuer, github_claims
from tests.support.server import LiveServer
from tests.support.tools import Program

WITH_TOKENS = pytest.mark.parametrize("live_server", ["bearer"], indirect=True)
PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64}) size: \d+")
LOG_IN = re.compile("unauthorized: log in first|no basic auth credentials")


def login(docker: Program, folder: Path, host: str, name: str, password: str = PASSWORD) -> Program:
    """The client of somebody who has logged in."""
    client = docker.at_home(folder / name)
    client("login", "--username", name, "--password-stdin", host, stdin=password.encode())
    return client


def load(docker: Program, folder: Path, name: str, seed: str = "") -> None:
    docker("load", "--input", write_docker_archive(folder / "image.tar", image(seed or name), name))


def push(docker: Program, name: str) -> str:
    """The digest docker prints for its push."""
    found = PUSHED.search(docker("push", name))
    assert found, "docker push printed no digest"
    return found[1]


def stored_login(folder: Path, host: str) -> dict[str, str]:
    """What docker keeps of a login."""
    kept: dict[str, str] = json.loads((folder / "config.json").read_text())["auths"][host]
    return kept


def test_push_and_pull_after_login(docker: Program, remote: Remote, tmp_path: Path) -> None:
    owner = login(docker, tmp_path, remote.host, "owner")
    load(owner, tmp_path, f"{remote}:v1")
    digest = push(owner, f"{remote}:v1")
    assert remote.manifest("v1").digest == digest
    owner("rmi", "--force", f"{remote}:v1")
    assert f"Digest: {digest}" in owner("pull", f"{remote}:v1")


def test_a_wrong_password_is_told(docker: Program, remote: Remote, tmp_path: Path) -> None:
    client = docker.at_home(tmp_path / "owner")
    said = client.refusal("login", "--username", "owner", "--password-stdin", remote.host, stdin=b"battery staple")
    assert "the user name or the password is wrong" in said or "401 Unauthorized" in said


def test_logout_forgets_the_login(docker: Program, remote: Remote, tmp_path: Path) -> None:
    owner = login(docker, tmp_path, remote.host, "owner")
    load(owner, tmp_path, f"{remote}:v1")
    owner("logout", remote.host)
    assert LOG_IN.search(owner.refusal("push", f"{remote}:v1"))


def test_an_outsider_may_log_in_and_is_told_that_this_is_all(docker: Program, remote: Remote, tmp_path: Path) -> None:
    owner, outsider = (login(docker, tmp_path, remote.host, name) for name in ("owner", "outsider"))
    load(owner, tmp_path, f"{remote}:v1")
    push(owner, f"{remote}:v1")
    assert "denied: user:outsider may not push here" in outsider.refusal("push", f"{remote}:v1")
    assert "denied: user:outsider may not pull here" in outsider.refusal("pull", f"{remote}:v1")


def test_a_reader_pulls_and_does_not_push(docker: Program, remote: Remote, tmp_path: Path) -> None:
    owner, reader = (login(docker, tmp_path, remote.host, name) for name in ("owner", "reader"))
    load(owner, tmp_path, f"{remote}:v1")
    digest = push(owner, f"{remote}:v1")
    assert f"Digest: {digest}" in reader("pull", f"{remote}:v1")
    reader("tag", f"{remote}:v1", f"{remote}:v2")
    assert "denied: user:reader may not push here" in reader.refusal("push", f"{remote}:v2")


def test_nobody_pulls_or_pushes_without_login(docker: Program, remote: Remote, tmp_path: Path) -> None:
    owner, nobody = login(docker, tmp_path, remote.host, "owner"), docker.at_home(tmp_path / "nobody")
    load(owner, tmp_path, f"{remote}:v1")
    push(owner, f"{remote}:v1")
    for verb in ("pull", "push"):
        assert LOG_IN.search(nobody.refusal(verb, f"{remote}:v1"))


@WITH_TOKENS
def test_what_is_public_is_pulled_without_login_and_not_pushed(docker: Program, public: Remote, tmp_path: Path) -> None:
    owner, nobody = login(docker, tmp_path, public.host, "owner"), docker.at_home(tmp_path / "nobody")
    load(owner, tmp_path, f"{public}:v1")
    digest = push(owner, f"{public}:v1")
    assert f"Digest: {digest}" in nobody("pull", f"{public}:v1")
    nobody("tag", f"{public}:v1", f"{public}:v2")
    assert LOG_IN.search(nobody.refusal("push", f"{public}:v2"))


def test_a_tag_that_exists_takes_more_than_push(docker: Program, remote: Remote, tmp_path: Path) -> None:
    pusher = login(docker, tmp_path, remote.host, "pusher")
    load(pusher, tmp_path, f"{remote}:v1")
    digest = push(pusher, f"{remote}:v1")
    load(pusher, tmp_path, f"{remote}:v1", seed="another image")
    said = pusher.refusal("push", f"{remote}:v1")
    assert said.count("Pushed") == 2
    assert "denied: user:pusher may not overwrite here" in said
    assert remote.manifest("v1").digest == digest
    pusher("tag", f"{remote}:v1", f"{remote}:v2")
    said = pusher("push", f"{remote}:v2")
    assert said.count("Layer already exists") == 2
    owner = login(docker, tmp_path, remote.host, "owner")
    assert push(owner, f"{remote}:v1") == remote.manifest("v2").digest


def test_layers_of_a_readable_repository_are_mounted(docker: Program, remote: Remote, tmp_path: Path) -> None:
    pusher = login(docker, tmp_path, remote.host, "pusher")
    load(pusher, tmp_path, f"{remote}:v1")
    digest = push(pusher, f"{remote}:v1")
    pusher("tag", f"{remote}:v1", f"{remote}/copy:v1")
    assert pusher("push", f"{remote}/copy:v1").count(f"Mounted from {remote.name}") == 2
    assert remote.below("copy").manifest("v1").digest == digest


def test_layers_of_an_unreadable_repository_are_uploaded(
    docker: Program, remote: Remote, elsewhere: Remote, tmp_path: Path
) -> None:
    owner, neighbour = (login(docker, tmp_path, remote.host, name) for name in ("owner", "neighbour"))
    load(owner, tmp_path, f"{remote}:v1")
    digest = push(owner, f"{remote}:v1")
    neighbour("tag", f"{remote}:v1", f"{elsewhere}:v1")
    said = neighbour("push", f"{elsewhere}:v1")
    assert (said.count("Pushed"), said.count("Mounted")) == (2, 0)
    assert elsewhere.manifest("v1").digest == digest


def test_a_robot_pushes(docker: Program, robot: str, remote: Remote, tmp_path: Path) -> None:
    client = login(docker, tmp_path, remote.host, "robot$ci", robot)
    load(client, tmp_path, f"{remote}:v1")
    assert push(client, f"{remote}:v1") == remote.manifest("v1").digest


@WITH_TOKENS
def test_docker_keeps_an_identity_token_and_not_the_password(docker: Program, remote: Remote, tmp_path: Path) -> None:
    owner = login(docker, tmp_path, remote.host, "owner")
    kept = stored_login(tmp_path / "owner", remote.host)
    assert base64.b64decode(kept["auth"]) == b"owner:"
    assert kept["identitytoken"].startswith("rft_")
    load(owner, tmp_path, f"{remote}:v1")
    push(owner, f"{remote}:v1")
    push(owner, f"{remote}:v1")
    assert stored_login(tmp_path / "owner", remote.host) == kept


@WITH_TOKENS
def test_a_new_password_ends_the_identity_token(
    docker: Program, live_server: LiveServer, remote: Remote, tmp_path: Path
) -> None:
    async def add(registry: Registry) -> None:
        await add_user(registry, "changing", **{"clients/**": "pull,push"})

    async def change(registry: Registry) -> None:
        await registry.access.users.set_password("changing", "battery staple", OPERATING)

    operate(live_server, add)
    client = login(docker, tmp_path, remote.host, "changing")
    load(client, tmp_path, f"{remote}:v1")
    push(client, f"{remote}:v1")
    operate(live_server, change)
    for verb in ("push", "pull"):
        assert "unauthorized: this login has ended; log in again" in client.refusal(verb, f"{remote}:v1")
    time.sleep(FRESH_SECONDS)
    login(docker, tmp_path, remote.host, "changing", "battery staple")
    push(client, f"{remote}:v1")


@WITH_TOKENS
def test_a_ci_job_logs_in_once_and_then_pushes(docker: Program, issuer: Issuer, remote: Remote, tmp_path: Path) -> None:
    token = issuer.mint(**github_claims())
    job = login(docker, tmp_path, remote.host, "oidc", token)
    assert stored_login(tmp_path / "oidc", remote.host)["identitytoken"].startswith("rft_")
    load(job, tmp_path, f"{remote}:v1")
    assert push(job, f"{remote}:v1") == remote.manifest("v1").digest
    job("tag", f"{remote}:v1", f"{remote}:v2")
    push(job, f"{remote}:v2")
    replay = docker.at_home(tmp_path / "replay")
    said = replay.refusal("login", "--username", "oidc", "--password-stdin", remote.host, stdin=token.encode())
    assert "this CI token was used before" in said


@WITH_TOKENS
def test_a_ci_job_logs_in_once_where_it_might_use_its_token_again(
    docker: Program, reusable: str, remote: Remote, tmp_path: Path
) -> None:
    """What it keeps of the login is all it needs."""
    job = login(docker, tmp_path, remote.host, "oidc", reusable)
    load(job, tmp_path, f"{remote}:v1")
    assert push(job, f"{remote}:v1") == remote.manifest("v1").digest
    again = ("login", "--username", "oidc", "--password-stdin", remote.host)
    assert "this CI token was used before" in job.refusal(*again, stdin=reusable.encode())
