"""containerd through ctr with credentials: it tells the status of a refusal, never its text."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.access import PASSWORD, answered
from tests.support.images import Image, Remote, image, write_layout_tar
from tests.support.issuer import Issuer, github_claims
from tests.support.server import LiveServer
from tests.support.tools import Program

WITH_TOKENS = pytest.mark.parametrize("live_server", ["bearer"], indirect=True)


def as_user(name: str, password: str = PASSWORD) -> Sequence[str]:
    return ("--plain-http", "--user", f"{name}:{password}")


def take(ctr: Program, folder: Path, remote: Remote) -> Image:
    """An image of this name, not pushed yet."""
    content = image(str(remote))
    archive = write_layout_tar(folder / "image.tar", content)
    ctr("images", "import", "--all-platforms", "--no-unpack", "--base-name", remote, archive)
    return content


def push_and_pull(ctr: Program, folder: Path, remote: Remote) -> Image:
    """An image that containerd knows to be there: it mounts from where it has pulled."""
    content = take(ctr, folder, remote)
    ctr("images", "push", *as_user("owner"), f"{remote}:v1")
    ctr("images", "rm", "--sync", f"{remote}:v1")
    ctr("images", "pull", *as_user("owner"), f"{remote}:v1")
    return content


def test_push_and_pull_with_credentials(ctr: Program, remote: Remote, tmp_path: Path) -> None:
    content = take(ctr, tmp_path, remote)
    ctr("images", "push", *as_user("owner"), f"{remote}:v1")
    assert remote.manifest("v1").data == content.manifest
    ctr("images", "rm", "--sync", f"{remote}:v1")
    ctr("images", "pull", *as_user("reader"), f"{remote}:v1")
    assert ctr.read("content", "get", content.digest) == content.manifest


@pytest.mark.parametrize("name", ["outsider", "reader"])
def test_a_push_without_the_right_is_refused(ctr: Program, remote: Remote, tmp_path: Path, name: str) -> None:
    take(ctr, tmp_path, remote)
    assert "403 Forbidden" in ctr.refusal("images", "push", *as_user(name), f"{remote}:v1")


def test_a_pull_without_the_right_is_refused(ctr: Program, remote: Remote, tmp_path: Path) -> None:
    take(ctr, tmp_path, remote)
    ctr("images", "push", *as_user("owner"), f"{remote}:v1")
    assert "403 Forbidden" in ctr.refusal("images", "pull", *as_user("outsider"), f"{remote}:v1")
    assert "401 Unauthorized" in ctr.refusal("images", "pull", "--plain-http", f"{remote}:v1")


def test_a_wrong_password_is_told(ctr: Program, remote: Remote, tmp_path: Path) -> None:
    """Tried for each blob several times: whoever mistypes it waits until the limit of failures is over."""
    take(ctr, tmp_path, remote)
    said = ctr.refusal("images", "push", *as_user("mistyped", "battery staple"), f"{remote}:v1")
    assert "401 Unauthorized" in said or "429 Too Many Requests" in said


def test_layers_of_a_readable_repository_are_mounted(
    ctr: Program, live_server: LiveServer, remote: Remote, tmp_path: Path
) -> None:
    content = push_and_pull(ctr, tmp_path, remote)
    ctr("images", "tag", f"{remote}:v1", f"{remote}/copy:v1")
    ctr("images", "push", *as_user("pusher"), f"{remote}/copy:v1")
    copy = remote.below("copy")
    assert copy.manifest("v1").digest == content.digest
    assert answered(live_server, "POST", f"/v2/{copy.name}/blobs/uploads/") == [201] * 3


def test_layers_of_an_unreadable_repository_are_uploaded(
    ctr: Program, live_server: LiveServer, remote: Remote, elsewhere: Remote, tmp_path: Path
) -> None:
    content = push_and_pull(ctr, tmp_path, remote)
    ctr("images", "tag", f"{remote}:v1", f"{elsewhere}:v1")
    ctr("images", "push", *as_user("neighbour"), f"{elsewhere}:v1")
    assert elsewhere.manifest("v1").digest == content.digest
    assert answered(live_server, "POST", f"/v2/{elsewhere.name}/blobs/uploads/") == [202] * 3


def test_a_robot_pushes(ctr: Program, robot: str, remote: Remote, tmp_path: Path) -> None:
    content = take(ctr, tmp_path, remote)
    ctr("images", "push", *as_user("robot$ci", robot), f"{remote}:v1")
    assert remote.manifest("v1").digest == content.digest


def test_what_is_public_is_pulled_without_credentials(ctr: Program, public: Remote, tmp_path: Path) -> None:
    content = take(ctr, tmp_path, public)
    ctr("images", "push", *as_user("owner"), f"{public}:v1")
    ctr("images", "rm", "--sync", f"{public}:v1")
    ctr("images", "pull", "--plain-http", f"{public}:v1")
    assert ctr.read("content", "get", content.digest) == content.manifest


@WITH_TOKENS
def test_a_ci_job_pushes_once(ctr: Program, issuer: Issuer, remote: Remote, tmp_path: Path) -> None:
    content = take(ctr, tmp_path, remote)
    job = as_user("oidc", issuer.mint(**github_claims()))
    ctr("images", "push", *job, f"{remote}:v1")
    assert remote.manifest("v1").digest == content.digest
    ctr("images", "tag", f"{remote}:v1", f"{remote}:v2")
    assert "401 Unauthorized" in ctr.refusal("images", "push", *job, f"{remote}:v2")


@WITH_TOKENS
def test_a_ci_job_mounts_where_it_may_use_its_token_again(
    ctr: Program, reusable: str, remote: Remote, tmp_path: Path
) -> None:
    """With a token for the repository, and one for that and the one it mounts from."""
    content = push_and_pull(ctr, tmp_path, remote)
    ctr("images", "tag", f"{remote}:v1", f"{remote}/copy:v1")
    ctr("images", "push", *as_user("oidc", reusable), f"{remote}/copy:v1")
    assert remote.below("copy").manifest("v1").digest == content.digest
