"""skopeo with credentials: for one command or kept, on either side of a copy."""

import json
from pathlib import Path

import pytest

from tests.support.access import PASSWORD
from tests.support.images import Image, NotServedError, Remote, image, write_layout
from tests.support.issuer import Issuer, github_claims
from tests.support.tools import Program

WITH_TOKENS = pytest.mark.parametrize("live_server", ["bearer"], indirect=True)
TO_PLAIN = "--dest-tls-verify=false"
FROM_PLAIN = "--src-tls-verify=false"
PLAIN = "--tls-verify=false"


@pytest.fixture
def skopeo(skopeo: Program, tmp_path: Path) -> Program:
    """The client of somebody who has not logged in."""
    return skopeo.at_home(tmp_path / "nobody")


def login(skopeo: Program, folder: Path, host: str, name: str) -> Program:
    client = skopeo.at_home(folder / name)
    client("login", PLAIN, "--username", name, "--password-stdin", host, stdin=PASSWORD.encode())
    return client


def to(name: str, password: str = PASSWORD) -> tuple[str, ...]:
    """The options of a copy to the registry, as somebody."""
    return (TO_PLAIN, "--dest-creds", f"{name}:{password}")


def start(name: str) -> tuple[str, ...]:
    """The options of a copy from the registry, as somebody."""
    return (FROM_PLAIN, "--src-creds", f"{name}:{PASSWORD}")


def push(skopeo: Program, folder: Path, remote: Remote) -> Image:
    """By the owner, as v1."""
    pushed = image(str(remote))
    skopeo("copy", *to("owner"), f"oci:{write_layout(folder / 'layout', pushed)}:v1", f"docker://{remote}:v1")
    return pushed


def test_copy_with_credentials_on_either_side(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(skopeo, tmp_path, remote)
    assert remote.manifest("v1").digest == pushed.digest
    skopeo("copy", *start("reader"), f"docker://{remote}:v1", f"oci:{tmp_path / 'pulled'}:v1")
    skopeo("copy", *start("reader"), *to("pusher"), f"docker://{remote}:v1", f"docker://{remote}:v2")
    assert remote.manifest("v2").digest == pushed.digest


def test_refusals_are_told(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    push(skopeo, tmp_path, remote)
    layout, there = f"oci:{tmp_path / 'layout'}:v1", f"docker://{remote}:v1"
    said = skopeo.refusal("copy", *start("outsider"), there, f"oci:{tmp_path / 'pulled'}:v1")
    assert "denied: user:outsider may not pull here" in said
    assert "403 (Forbidden)" in skopeo.refusal("copy", *to("outsider"), layout, there)
    assert "denied: user:reader may not push here" in skopeo.refusal("copy", *to("reader"), layout, there)
    assert "unauthorized" in skopeo.refusal("copy", FROM_PLAIN, there, f"oci:{tmp_path / 'pulled'}:v1")
    said = skopeo.refusal("copy", *to("owner", "battery staple"), layout, there)
    assert "authentication required" in said or "invalid username/password" in said


def test_a_tag_that_exists_takes_more_than_push(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(skopeo, tmp_path, remote)
    other = f"oci:{write_layout(tmp_path / 'other', image('another image'))}:v1"
    said = skopeo.refusal("copy", *to("pusher"), other, f"docker://{remote}:v1")
    assert "denied: user:pusher may not overwrite here" in said
    assert remote.manifest("v1").digest == pushed.digest


def test_a_login_is_good_for_the_commands_after_it(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(skopeo, tmp_path, remote)
    reader = login(skopeo, tmp_path, remote.host, "reader")
    assert json.loads(reader("list-tags", PLAIN, f"docker://{remote}"))["Tags"] == ["v1"]
    assert json.loads(reader("inspect", PLAIN, f"docker://{remote}:v1"))["Digest"] == pushed.digest
    options = (FROM_PLAIN, "--scoped", "--src", "docker", "--dest", "dir")
    reader("sync", *options, remote, tmp_path / "synced")
    assert (tmp_path / "synced" / f"{remote}:v1" / "manifest.json").read_bytes() == pushed.manifest
    reader("logout", remote.host)
    assert "unauthorized" in reader.refusal("list-tags", PLAIN, f"docker://{remote}")


def test_delete_takes_its_own_verb(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(skopeo, tmp_path, remote)
    pusher, owner = (login(skopeo, tmp_path, remote.host, name) for name in ("pusher", "owner"))
    assert "user:pusher may not delete here" in pusher.refusal("delete", PLAIN, f"docker://{remote}:v1")
    assert remote.manifest("v1").digest == pushed.digest
    owner("delete", PLAIN, f"docker://{remote}:v1")
    with pytest.raises(NotServedError) as gone:
        remote.manifest("v1")
    assert gone.value.code == 404


def test_a_robot_pushes(skopeo: Program, robot: str, remote: Remote, tmp_path: Path) -> None:
    pushed = image(str(remote))
    layout = write_layout(tmp_path / "layout", pushed)
    skopeo("copy", *to("robot$ci", robot), f"oci:{layout}:v1", f"docker://{remote}:v1")
    assert remote.manifest("v1").digest == pushed.digest


@WITH_TOKENS
def test_what_is_public_is_read_without_login(skopeo: Program, public: Remote, tmp_path: Path) -> None:
    pushed = push(skopeo, tmp_path, public)
    assert json.loads(skopeo("inspect", PLAIN, f"docker://{public}:v1"))["Digest"] == pushed.digest
    layout, there = f"oci:{tmp_path / 'layout'}:v1", f"docker://{public}:v2"
    assert "unauthorized: log in first" in skopeo.refusal("copy", TO_PLAIN, layout, there)


@WITH_TOKENS
def test_a_ci_job_copies_once(skopeo: Program, issuer: Issuer, remote: Remote, tmp_path: Path) -> None:
    pushed, token = image(str(remote)), issuer.mint(**github_claims())
    copy = ("copy", *to("oidc", token), f"oci:{write_layout(tmp_path / 'layout', pushed)}:v1", f"docker://{remote}:v1")
    skopeo(*copy)
    assert remote.manifest("v1").digest == pushed.digest
    assert "this CI token was used before" in skopeo.refusal(*copy)
