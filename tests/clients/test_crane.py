"""crane: push, pull, index, append, mutate, copy, list, delete."""

import json
from pathlib import Path

import pytest

from tests.support.images import (
    DOCKER,
    OCI,
    Image,
    NotServedError,
    Remote,
    image,
    index,
    tarball,
    write_docker_archive,
    write_layout,
)
from tests.support.tools import Program


def push(crane: Program, folder: Path, remote: Remote, *, tag: str = "v1") -> Image:
    pushed = image(f"{remote}:{tag}")
    printed = crane("push", write_layout(folder / tag, pushed), f"{remote}:{tag}")
    assert printed == f"{remote}@{pushed.digest}"
    return pushed


def layout_digest(layout: Path) -> str:
    digest: str = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    return digest


def test_push_of_a_layout_keeps_the_bytes(crane: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(crane, tmp_path, remote)
    manifest = remote.manifest("v1")
    assert manifest.data == pushed.manifest
    assert (manifest.announced, manifest.media_type) == (pushed.digest, OCI.manifest)


def test_push_of_a_docker_archive_prints_the_digest_of_the_served_manifest(
    crane: Program, remote: Remote, tmp_path: Path
) -> None:
    archive = write_docker_archive(tmp_path / "image.tar", image(str(remote)), f"{remote}:v1")
    printed = crane("push", archive, f"{remote}:v1")
    manifest = remote.manifest("v1")
    assert (printed, manifest.media_type) == (f"{remote}@{manifest.digest}", DOCKER.manifest)


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_pull_gives_the_pushed_digest(crane: Program, remote: Remote, tmp_path: Path, by: str) -> None:
    pushed = push(crane, tmp_path, remote)
    name = remote.reference(by, "v1", pushed.digest)
    crane("pull", "--format", "oci", name, tmp_path / "pulled")
    assert layout_digest(tmp_path / "pulled") == pushed.digest
    assert crane("digest", name) == pushed.digest
    assert crane.read("manifest", name) == pushed.manifest


def test_validate_finds_every_layer_sound(crane: Program, remote: Remote, tmp_path: Path) -> None:
    push(crane, tmp_path, remote)
    assert crane("validate", "--remote", f"{remote}:v1").startswith("PASS")


def test_blob_gives_the_layer(crane: Program, remote: Remote, tmp_path: Path) -> None:
    wanted = push(crane, tmp_path, remote).layers[0]
    assert crane.read("blob", f"{remote}@{wanted.digest}") == wanted.data


def test_index_is_pushed_and_pulled_whole(crane: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = index(str(remote))
    crane("push", "--index", write_layout(tmp_path / "layout", pushed), f"{remote}:v1")
    # crane wraps what the layout lists: the index of ours is the only entry
    outer = remote.manifest("v1")
    assert [one["digest"] for one in outer.document["manifests"]] == [pushed.digest]
    assert remote.manifest(pushed.digest).data == pushed.manifest
    assert crane.read("manifest", f"{remote}@{pushed.digest}") == pushed.manifest


def test_index_append_joins_images_pushed_before(crane: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = [push(crane, tmp_path, remote, tag=tag) for tag in ("one", "two")]
    members = [argument for one in pushed for argument in ("--manifest", f"{remote}@{one.digest}")]
    crane("index", "append", *members, "--tag", f"{remote}:multi")
    manifest = remote.manifest("multi")
    assert manifest.media_type == OCI.index
    assert [one["digest"] for one in manifest.document["manifests"]] == [one.digest for one in pushed]
    assert crane("digest", f"{remote}:multi") == manifest.digest


def test_platform_resolves_the_index(crane: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = index(str(remote))
    crane("push", "--index", write_layout(tmp_path / "layout", pushed), f"{remote}:v1")
    name = f"{remote}@{pushed.digest}"
    assert crane("digest", "--platform", "linux/arm64", name) == pushed.images[1].digest


def test_append_adds_a_layer_on_the_base(crane: Program, remote: Remote, tmp_path: Path) -> None:
    base = push(crane, tmp_path, remote)
    (tmp_path / "new.tar").write_bytes(tarball({"new": remote.name.encode()}))
    options = (
        "--base",
        f"{remote}@{base.digest}",
        "--new_layer",
        tmp_path / "new.tar",
        "--new_tag",
        f"{remote}:v2",
    )
    printed = crane("append", *options)
    manifest = remote.manifest("v2")
    assert printed == f"{remote}@{manifest.digest}"
    assert [one["digest"] for one in manifest.document["layers"][:-1]] == [one.digest for one in base.layers]


def test_mutate_leaves_the_image_it_started_from(crane: Program, remote: Remote, tmp_path: Path) -> None:
    before = push(crane, tmp_path, remote)
    printed = crane("mutate", "--annotation", "stage=test", "--tag", f"{remote}:v2", f"{remote}:v1")
    manifest = remote.manifest("v2")
    assert printed == f"{remote}@{manifest.digest}"
    assert manifest.document["annotations"] == {"stage": "test"}
    assert remote.manifest("v1").digest == before.digest


def test_tag_moves_to_the_same_digest(crane: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(crane, tmp_path, remote)
    crane("tag", f"{remote}@{pushed.digest}", "v2")
    assert remote.manifest("v2").digest == pushed.digest


def test_copy_between_repositories_keeps_the_digest(crane: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(crane, tmp_path, remote)
    crane("copy", f"{remote}:v1", f"{remote}/copy:v1")
    assert remote.below("copy").manifest("v1").digest == pushed.digest


def test_ls_shows_every_tag(crane: Program, remote: Remote, tmp_path: Path) -> None:
    for tag in ("v2", "v1", "latest"):
        push(crane, tmp_path, remote, tag=tag)
    assert crane("ls", remote).split() == ["latest", "v1", "v2"]


def test_catalog_shows_the_repository(crane: Program, remote: Remote, tmp_path: Path) -> None:
    push(crane, tmp_path, remote)
    assert remote.name in crane("catalog", remote.host).split()


def test_delete_by_digest_removes_the_manifest(crane: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(crane, tmp_path, remote)
    crane("delete", f"{remote}@{pushed.digest}")
    with pytest.raises(NotServedError) as gone:
        remote.manifest(pushed.digest)
    assert gone.value.code == 404


def test_delete_by_tag_leaves_the_manifest(crane: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(crane, tmp_path, remote)
    crane("delete", f"{remote}:v1")
    assert crane("ls", remote) == ""
    assert remote.manifest(pushed.digest).digest == pushed.digest


def test_digest_of_an_unknown_tag_says_so(crane: Program, remote: Remote, tmp_path: Path) -> None:
    push(crane, tmp_path, remote)
    assert "MANIFEST_UNKNOWN" in crane.refusal("manifest", f"{remote}:none")
