"""regctl: image copy, artifacts with a subject, blobs in chunks, tags, delete."""

import json
import random
from pathlib import Path

import pytest

from tests.support.images import (
    FLAVOURS,
    Image,
    Remote,
    digest_of,
    image,
    index,
    write_layout,
)
from tests.support.tools import Program

ARTIFACT_TYPE = "application/vnd.example.note"
CHUNK = 64 * 1024


def push(regctl: Program, folder: Path, remote: Remote, *, tag: str = "v1") -> Image:
    pushed = image(f"{remote}:{tag}")
    layout = write_layout(folder / tag, pushed, tag)
    regctl("image", "copy", f"ocidir://{layout}:{tag}", f"{remote}:{tag}")
    return pushed


def layout_digest(layout: Path) -> str:
    digest: str = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    return digest


def test_image_copy_keeps_the_bytes(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(regctl, tmp_path, remote)
    manifest = remote.manifest("v1")
    assert manifest.data == pushed.manifest
    assert (manifest.announced, manifest.media_type) == (pushed.digest, pushed.media_type)
    assert regctl("image", "digest", f"{remote}:v1") == pushed.digest


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_image_copy_to_a_layout_gives_the_pushed_digest(
    regctl: Program, remote: Remote, tmp_path: Path, by: str
) -> None:
    pushed = push(regctl, tmp_path, remote)
    name = remote.reference(by, "v1", pushed.digest)
    regctl("image", "copy", name, f"ocidir://{tmp_path / 'pulled'}:v1")
    assert layout_digest(tmp_path / "pulled") == pushed.digest


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_index_is_copied_there_and_back_whole(regctl: Program, remote: Remote, tmp_path: Path, flavour: str) -> None:
    pushed = index(str(remote), flavour=FLAVOURS[flavour])
    layout = write_layout(tmp_path / "layout", pushed)
    regctl("image", "copy", f"ocidir://{layout}:v1", f"{remote}:v1")
    manifest = remote.manifest("v1")
    assert (manifest.digest, manifest.media_type) == (pushed.digest, pushed.media_type)
    regctl("image", "copy", f"{remote}@{pushed.digest}", f"ocidir://{tmp_path / 'pulled'}:v1")
    assert layout_digest(tmp_path / "pulled") == pushed.digest


def test_image_copy_between_repositories_keeps_the_digest(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(regctl, tmp_path, remote)
    regctl("image", "copy", f"{remote}:v1", f"{remote}/copy:v1")
    assert remote.below("copy").manifest("v1").digest == pushed.digest


def test_platform_resolves_the_index(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = index(str(remote))
    layout = write_layout(tmp_path / "layout", pushed)
    regctl("image", "copy", f"ocidir://{layout}:v1", f"{remote}:v1")
    assert regctl("image", "digest", "--platform", "linux/arm64", f"{remote}:v1") == pushed.images[1].digest


def put_artifact(regctl: Program, remote: Remote, text: str, artifact_type: str = ARTIFACT_TYPE) -> str:
    """The digest of an artifact that refers to the image v1."""
    options = ("--artifact-type", artifact_type, "--subject", f"{remote}:v1")
    return regctl("artifact", "put", *options, "--format", "{{.Manifest.GetDescriptor.Digest}}", stdin=text.encode())


def list_artifacts(regctl: Program, remote: Remote, *options: str) -> set[str]:
    template = "{{range .Descriptors}}{{println .Digest}}{{end}}"
    return set(regctl("artifact", "list", f"{remote}:v1", "--format", template, *options).split())


def test_artifacts_are_listed_by_their_subject(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    push(regctl, tmp_path, remote)
    put = {put_artifact(regctl, remote, text) for text in ("one", "two")}
    assert list_artifacts(regctl, remote) == put


def test_artifact_list_filters_by_type(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    push(regctl, tmp_path, remote)
    put_artifact(regctl, remote, "one")
    wanted = put_artifact(regctl, remote, "two", "application/vnd.example.other")
    options = ("--filter-artifact-type", "application/vnd.example.other")
    assert list_artifacts(regctl, remote, *options) == {wanted}


def test_artifacts_leave_no_fallback_tags(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(regctl, tmp_path, remote)
    digest = put_artifact(regctl, remote, "one")
    assert regctl("tag", "ls", remote).split() == ["v1"]
    assert remote.referrers(pushed.digest) == [digest]


def test_artifact_get_gives_what_was_put(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    push(regctl, tmp_path, remote)
    put_artifact(regctl, remote, "the note")
    assert regctl.read("artifact", "get", "--subject", f"{remote}:v1") == b"the note"


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK * 3 + 1])
def test_blob_put_in_one_piece(regctl: Program, remote: Remote, size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert regctl("blob", "put", remote, stdin=data) == digest_of(data)
    assert remote.blob(digest_of(data)) == data


def test_blob_put_in_chunks(chunking_regctl: Program, remote: Remote) -> None:
    data = random.Random(str(remote)).randbytes(CHUNK * 3 + 1)
    said = chunking_regctl.run("blob", "put", "--verbosity", "trace", remote, stdin=data)
    assert said.stdout.decode().strip() == digest_of(data)
    assert b"PATCH" in said.stderr
    assert remote.blob(digest_of(data)) == data


def test_tag_ls_shows_every_tag(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    for tag in ("v2", "v1", "latest"):
        push(regctl, tmp_path, remote, tag=tag)
    assert regctl("tag", "ls", remote).split() == ["latest", "v1", "v2"]


def test_repo_ls_shows_the_repository(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    push(regctl, tmp_path, remote)
    assert remote.name in regctl("repo", "ls", remote.host).split()


def test_tag_delete_leaves_the_other_tags(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(regctl, tmp_path, remote)
    regctl("image", "copy", f"{remote}:v1", f"{remote}:v2")
    regctl("tag", "delete", f"{remote}:v1")
    assert regctl("tag", "ls", remote).split() == ["v2"]
    assert remote.manifest("v2").digest == pushed.digest


def test_manifest_delete_removes_every_tag_of_it(regctl: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(regctl, tmp_path, remote)
    kept = push(regctl, tmp_path, remote, tag="kept")
    regctl("manifest", "delete", f"{remote}@{pushed.digest}")
    assert regctl("tag", "ls", remote).split() == ["kept"]
    assert "not found" in regctl.refusal("manifest", "head", f"{remote}@{pushed.digest}")
    assert regctl("manifest", "head", f"{remote}:kept") == kept.digest
