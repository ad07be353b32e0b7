"""crane, oras and regctl with credentials."""

import json
from pathlib import Path

import pytest

from tests.support.access import PASSWORD, answered
from tests.support.images import Image, Remote, image, write_layout
from tests.support.issuer import Issuer, github_claims
from tests.support.server import LiveServer
from tests.support.tools import Program

WITH_TOKENS = pytest.mark.parametrize("live_server", ["bearer"], indirect=True)
ARTIFACT_TYPE = "application/vnd.example.note"
PLAIN = "--plain-http"
STDIN = PASSWORD.encode()


def crane_of(crane: Program, folder: Path, host: str, name: str, password: str = PASSWORD) -> Program:
    """The client of somebody who has logged in; crane believes any password."""
    client = crane.at_home(folder / name)
    client("auth", "login", host, "--username", name, "--password", password)
    return client


def oras_of(oras: Program, folder: Path, host: str, name: str, password: str = PASSWORD) -> Program:
    client = oras.at_home(folder / name)
    client("login", PLAIN, "--username", name, "--password-stdin", host, stdin=password.encode())
    return client


def regctl_at(regctl: Program, folder: Path, host: str, name: str) -> Program:
    """The client of somebody who has not logged in."""
    client = regctl.at_home(folder / name)
    client("registry", "set", "--tls", "disabled", "--skip-check", host)
    return client


def regctl_of(regctl: Program, folder: Path, host: str, name: str) -> Program:
    client = regctl_at(regctl, folder, host, name)
    client("registry", "login", "--user", name, "--pass-stdin", host, stdin=STDIN)
    return client


def crane_push(crane: Program, folder: Path, remote: Remote) -> Image:
    pushed = image(str(remote))
    crane("push", write_layout(folder / "layout", pushed), f"{remote}:v1")
    return pushed


def attach(oras: Program, folder: Path, name: str) -> str:
    (folder / "note.txt").write_text(name)
    options = (PLAIN, "--format", "json", "--artifact-type", ARTIFACT_TYPE)
    digest: str = json.loads(oras("attach", *options, name, "note.txt"))["digest"]
    return digest


def discover(oras: Program, name: str) -> list[str]:
    found = json.loads(oras("discover", PLAIN, "--format", "json", name))
    return [one["digest"] for one in found["referrers"]]


# --- crane -----------------------------------------------------------------------------------------------------------


def test_crane_pushes_copies_and_pulls(crane: Program, remote: Remote, tmp_path: Path) -> None:
    pusher = crane_of(crane, tmp_path, remote.host, "pusher")
    pushed = crane_push(pusher, tmp_path, remote)
    pusher("copy", f"{remote}:v1", f"{remote}/copy:v1")
    assert remote.below("copy").manifest("v1").digest == pushed.digest
    reader = crane_of(crane, tmp_path, remote.host, "reader")
    assert reader("digest", f"{remote}:v1") == pushed.digest
    assert reader("validate", "--remote", f"{remote}:v1").startswith("PASS")


def test_crane_copies_from_where_only_the_source_may_be_read(
    crane: Program, remote: Remote, elsewhere: Remote, tmp_path: Path
) -> None:
    """The neighbour can't mount what it can't read, also when the layers are here."""
    pushed = crane_push(crane_of(crane, tmp_path, remote.host, "owner"), tmp_path, remote)
    neighbour = crane_of(crane, tmp_path, remote.host, "neighbour")
    assert "DENIED" in neighbour.refusal("copy", f"{remote}:v1", f"{elsewhere}:v1")
    neighbour("push", tmp_path / "layout", f"{elsewhere}:v1")
    assert elsewhere.manifest("v1").digest == pushed.digest


def test_crane_tells_refusals(crane: Program, remote: Remote, tmp_path: Path) -> None:
    crane_push(crane_of(crane, tmp_path, remote.host, "owner"), tmp_path, remote)
    outsider = crane_of(crane, tmp_path, remote.host, "outsider")
    assert "DENIED: user:outsider may not pull here" in outsider.refusal("manifest", f"{remote}:v1")
    assert "403 Forbidden" in outsider.refusal("push", tmp_path / "layout", f"{remote}:v2")
    wrong = crane_of(crane, tmp_path, remote.host, "owner", "battery staple")
    assert "the user name or the password is wrong" in wrong.refusal("manifest", f"{remote}:v1")
    assert "UNAUTHORIZED" in crane.at_home(tmp_path / "nobody").refusal("manifest", f"{remote}:v1")


def test_crane_lists_what_each_may_read(crane: Program, remote: Remote, public: Remote, tmp_path: Path) -> None:
    owner = crane_of(crane, tmp_path, remote.host, "owner")
    crane_push(owner, tmp_path, remote)
    crane_push(owner, tmp_path, public)
    both, anybodys = {remote.name, public.name}, {public.name}
    readers = {name: crane_of(crane, tmp_path, remote.host, name) for name in ("reader", "outsider")}
    listed = {name: set(client("catalog", remote.host).split()) for name, client in readers.items()}
    assert {name: names & both for name, names in listed.items()} == {"reader": both, "outsider": anybodys}


def test_crane_lists_what_everybody_may_read(
    live_server: LiveServer, crane: Program, remote: Remote, public: Remote, tmp_path: Path
) -> None:
    """By an anonymous token; where there are none, a list takes a login."""
    owner = crane_of(crane, tmp_path, remote.host, "owner")
    crane_push(owner, tmp_path, remote)
    crane_push(owner, tmp_path, public)
    nobody = crane.at_home(tmp_path / "nobody")
    if "REGISTRY_HTTP_HOST" in live_server.environment():
        assert set(nobody("catalog", remote.host).split()) & {remote.name, public.name} == {public.name}
    else:
        assert "UNAUTHORIZED" in nobody.refusal("catalog", remote.host)


def test_crane_deletes_with_the_right_to(crane: Program, remote: Remote, tmp_path: Path) -> None:
    owner, pusher = (crane_of(crane, tmp_path, remote.host, name) for name in ("owner", "pusher"))
    pushed = crane_push(owner, tmp_path, remote)
    assert "may not delete here" in pusher.refusal("delete", f"{remote}@{pushed.digest}")
    owner("delete", f"{remote}@{pushed.digest}")
    assert owner("ls", remote) == ""


@WITH_TOKENS
def test_a_ci_job_pushes_once_with_crane(crane: Program, issuer: Issuer, remote: Remote, tmp_path: Path) -> None:
    job = crane_of(crane, tmp_path, remote.host, "oidc", issuer.mint(**github_claims()))
    pushed = crane_push(job, tmp_path, remote)
    assert remote.manifest("v1").digest == pushed.digest
    assert "this CI token was used before" in job.refusal("push", tmp_path / "layout", f"{remote}:v1")


@WITH_TOKENS
def test_a_ci_job_copies_with_crane(crane: Program, reusable: str, remote: Remote, tmp_path: Path) -> None:
    """With three tokens: to read, to write, to mount."""
    pushed = crane_push(crane_of(crane, tmp_path, remote.host, "owner"), tmp_path, remote)
    job = crane_of(crane, tmp_path, remote.host, "oidc", reusable)
    job("copy", f"{remote}:v1", f"{remote}/copy:v1")
    assert remote.below("copy").manifest("v1").digest == pushed.digest


# --- oras ------------------------------------------------------------------------------------------------------------


def test_oras_attaches_and_discovers(oras: Program, crane: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = crane_push(crane_of(crane, tmp_path, remote.host, "owner"), tmp_path, remote)
    pusher, reader = (oras_of(oras, tmp_path, remote.host, name) for name in ("pusher", "reader"))
    digest = attach(pusher, tmp_path, f"{remote}:v1")
    assert discover(reader, f"{remote}:v1") == [digest]
    assert remote.referrers(pushed.digest) == [digest]
    reader("pull", PLAIN, "--output", "pulled", f"{remote}@{digest}")
    assert (tmp_path / "pulled" / "note.txt").read_text() == f"{remote}:v1"


def test_oras_tells_refusals(oras: Program, crane: Program, remote: Remote, tmp_path: Path) -> None:
    crane_push(crane_of(crane, tmp_path, remote.host, "owner"), tmp_path, remote)
    nobody, outsider = oras.at_home(tmp_path / "nobody"), oras_of(oras, tmp_path, remote.host, "outsider")
    options = (PLAIN, "--username", "owner", "--password-stdin", remote.host)
    said = nobody.refusal("login", *options, stdin=b"battery staple")
    assert "unauthorized: the user name or the password is wrong" in said
    assert "403: Forbidden" in outsider.refusal("discover", PLAIN, f"{remote}:v1")
    assert "denied: user:outsider may not pull here" in outsider.refusal("manifest", "fetch", PLAIN, f"{remote}:v1")
    said = nobody.refusal("manifest", "fetch", PLAIN, f"{remote}:v1")
    assert "unauthorized: log in first" in said or "basic credential not found" in said
    reader = oras_of(oras, tmp_path, remote.host, "reader")
    (tmp_path / "note.txt").write_text("new")
    said = reader.refusal("attach", PLAIN, "--artifact-type", ARTIFACT_TYPE, f"{remote}:v1", "note.txt")
    assert "denied: user:reader may not push here" in said


@WITH_TOKENS
def test_a_ci_job_attaches_once_with_oras(
    oras: Program, crane: Program, issuer: Issuer, remote: Remote, tmp_path: Path
) -> None:
    crane_push(crane_of(crane, tmp_path, remote.host, "owner"), tmp_path, remote)
    job = oras_of(oras, tmp_path, remote.host, "oidc", issuer.mint(**github_claims()))
    digest = attach(job, tmp_path, f"{remote}:v1")
    said = job.refusal("attach", PLAIN, "--artifact-type", ARTIFACT_TYPE, f"{remote}:v1", "note.txt")
    assert "this CI token was used before" in said
    assert remote.referrers(remote.manifest("v1").digest) == [digest]


# --- regctl ----------------------------------------------------------------------------------------------------------


def test_regctl_copies_there_and_mounts(
    regctl: Program, live_server: LiveServer, remote: Remote, tmp_path: Path
) -> None:
    pusher, pushed = regctl_of(regctl, tmp_path, remote.host, "pusher"), image(str(remote))
    pusher("image", "copy", f"ocidir://{write_layout(tmp_path / 'layout', pushed)}:v1", f"{remote}:v1")
    pusher("image", "copy", f"{remote}:v1", f"{remote}/copy:v1")
    copy = remote.below("copy")
    assert copy.manifest("v1").digest == pushed.digest
    assert answered(live_server, "POST", f"/v2/{copy.name}/blobs/uploads/") == [201] * 3
    reader = regctl_of(regctl, tmp_path, remote.host, "reader")
    assert reader("image", "digest", f"{remote}:v1") == pushed.digest
    assert reader("tag", "ls", remote) == "v1"


def test_regctl_mounts_nothing_that_it_may_not_read(
    regctl: Program, live_server: LiveServer, remote: Remote, elsewhere: Remote, tmp_path: Path
) -> None:
    """It tries to mount from anywhere before it uploads."""
    owner, neighbour = (regctl_of(regctl, tmp_path, remote.host, name) for name in ("owner", "neighbour"))
    pushed = image(str(remote))
    layout = f"ocidir://{write_layout(tmp_path / 'layout', pushed)}:v1"
    owner("image", "copy", layout, f"{remote}:v1")
    neighbour("image", "copy", layout, f"{elsewhere}:v1")
    assert elsewhere.manifest("v1").digest == pushed.digest
    statuses = answered(live_server, "POST", f"/v2/{elsewhere.name}/blobs/uploads/")
    assert statuses.count(202) == 3
    assert 201 not in statuses


def test_regctl_tells_refusals(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    owner, pusher = (regctl_of(regctl, tmp_path, remote.host, name) for name in ("owner", "pusher"))
    layout = f"ocidir://{write_layout(tmp_path / 'layout', image(str(remote)))}:v1"
    owner("image", "copy", layout, f"{remote}:v1")
    outsider = regctl_of(regctl, tmp_path, remote.host, "outsider")
    assert "user:outsider may not pull here" in outsider.refusal("manifest", "get", f"{remote}:v1")
    # what it may not delete it tries to overwrite
    assert "user:pusher may not overwrite here" in pusher.refusal("tag", "delete", f"{remote}:v1")
    owner("tag", "delete", f"{remote}:v1")
    nobody = regctl_at(regctl, tmp_path, remote.host, "nobody")
    options = ("--user", "owner", "--pass-stdin", remote.host)
    assert "unauthorized" in nobody.refusal("registry", "login", *options, stdin=b"battery staple")


@WITH_TOKENS
def test_a_ci_job_copies_with_regctl(regctl: Program, reusable: str, remote: Remote, tmp_path: Path) -> None:
    """With two tokens: to look, and to write."""
    job, pushed = regctl_at(regctl, tmp_path, remote.host, "oidc"), image(str(remote))
    job("registry", "login", "--user", "oidc", "--pass-stdin", remote.host, stdin=reusable.encode())
    job("image", "copy", f"ocidir://{write_layout(tmp_path / 'layout', pushed)}:v1", f"{remote}:v1")
    assert remote.manifest("v1").digest == pushed.digest
