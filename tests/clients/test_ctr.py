"""containerd through ctr: import, push, pull."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.images import Image, Index, Remote, image, index, write_layout_tar
from tests.support.tools import Program

KINDS = pytest.mark.parametrize("make", [image, index])
Make = Callable[[str], Image | Index]


def push(ctr: Program, folder: Path, content: Image | Index, remote: Remote) -> None:
    archive = write_layout_tar(folder / "image.tar", content)
    ctr("images", "import", "--all-platforms", "--no-unpack", "--base-name", remote, archive)
    ctr("images", "push", "--plain-http", f"{remote}:v1")


def listed_digest(ctr: Program, name: str) -> str:
    """The digest in the table of `ctr images ls`: REF TYPE DIGEST SIZE and more."""
    rows = ctr("images", "ls", f"name=={name}").splitlines()[1:]
    assert len(rows) == 1, rows
    return rows[0].split()[2]


@KINDS
def test_push_keeps_the_bytes(ctr: Program, remote: Remote, tmp_path: Path, make: Make) -> None:
    content = make(str(remote))
    push(ctr, tmp_path, content, remote)
    manifest = remote.manifest("v1")
    assert manifest.data == content.manifest
    assert (manifest.announced, manifest.media_type) == (content.digest, content.media_type)


@KINDS
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_pull_after_rm_gives_the_pushed_digest(
    ctr: Program, remote: Remote, tmp_path: Path, make: Make, by: str
) -> None:
    content = make(str(remote))
    push(ctr, tmp_path, content, remote)
    ctr("images", "rm", "--sync", f"{remote}:v1")
    name = remote.reference(by, "v1", content.digest)
    ctr("images", "pull", "--plain-http", "--all-platforms", name)
    assert listed_digest(ctr, name) == content.digest
    assert ctr.read("content", "get", content.digest) == content.manifest


def test_pull_of_one_platform_leaves_the_other_out(ctr: Program, remote: Remote, tmp_path: Path) -> None:
    content = index(str(remote))
    push(ctr, tmp_path, content, remote)
    ctr("images", "rm", "--sync", f"{remote}:v1")
    ctr("images", "pull", "--plain-http", "--platform", "linux/arm64", f"{remote}:v1")
    own, other = content.images[1], content.images[0]
    stored = ctr("content", "ls", "--quiet").split()
    assert own.layers[0].digest in stored
    assert other.layers[0].digest not in stored


def test_pull_of_an_unknown_tag_says_so(ctr: Program, remote: Remote, tmp_path: Path) -> None:
    push(ctr, tmp_path, image(str(remote)), remote)
    assert "not found" in ctr.refusal("images", "pull", "--plain-http", f"{remote}:none")
