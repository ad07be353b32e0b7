"""Docker Engine and its CLI: load, push, pull, build, tag, mount."""

import json
import re
from pathlib import Path

import pytest

from tests.support.images import DOCKER, PLATFORMS, Remote, image, write_docker_archive
from tests.support.tools import Program

PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64}) size: \d+")
PULLED = re.compile(r"Digest: (sha256:[0-9a-f]{64})")


def load(docker: Program, folder: Path, name: str, *, platform: str = "linux/amd64") -> None:
    archive = write_docker_archive(folder / "image.tar", image(name, platform=platform), name)
    docker("load", "--input", archive)


def push(docker: Program, name: str) -> str:
    """The digest docker prints for its push."""
    found = PUSHED.search(docker("push", name))
    assert found, "docker push printed no digest"
    return found[1]


def repo_digests(docker: Program, name: str) -> list[str]:
    known: list[str] = json.loads(docker("image", "inspect", "--format", "{{json .RepoDigests}}", name))
    return known


def test_push_prints_the_digest_of_the_served_manifest(docker: Program, remote: Remote, tmp_path: Path) -> None:
    load(docker, tmp_path, f"{remote}:v1")
    printed = push(docker, f"{remote}:v1")
    manifest = remote.manifest("v1")
    assert (manifest.digest, manifest.announced) == (printed, printed)
    assert manifest.media_type == DOCKER.manifest
    assert repo_digests(docker, f"{remote}:v1") == [f"{remote}@{printed}"]


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_pull_after_rmi_gives_the_pushed_digest(docker: Program, remote: Remote, tmp_path: Path, by: str) -> None:
    load(docker, tmp_path, f"{remote}:v1")
    digest = push(docker, f"{remote}:v1")
    image_id = docker("image", "inspect", "--format", "{{.Id}}", f"{remote}:v1")
    docker("rmi", "--force", image_id)
    name = remote.reference(by, "v1", digest)
    assert PULLED.findall(docker("pull", name)) == [digest]
    assert docker("image", "inspect", "--format", "{{.Id}}", name) == image_id
    assert repo_digests(docker, name) == [f"{remote}@{digest}"]


def test_second_push_finds_every_layer(docker: Program, remote: Remote, tmp_path: Path) -> None:
    load(docker, tmp_path, f"{remote}:v1")
    first = push(docker, f"{remote}:v1")
    docker("tag", f"{remote}:v1", f"{remote}:v2")
    said = docker("push", f"{remote}:v2")
    assert said.count("Layer already exists") == 2
    assert "Pushed" not in said
    assert PUSHED.findall(said) == [first]


def test_push_to_another_repository_mounts_the_layers(docker: Program, remote: Remote, tmp_path: Path) -> None:
    load(docker, tmp_path, f"{remote}:v1")
    digest = push(docker, f"{remote}:v1")
    docker("tag", f"{remote}:v1", f"{remote}/copy:v1")
    said = docker("push", f"{remote}/copy:v1")
    assert said.count(f"Mounted from {remote.name}") == 2
    assert remote.below("copy").manifest("v1").digest == digest


def test_build_from_a_base_pinned_by_digest(docker: Program, remote: Remote, tmp_path: Path) -> None:
    load(docker, tmp_path, f"{remote}:base")
    digest = push(docker, f"{remote}:base")
    docker("rmi", "--force", f"{remote}:base")
    (tmp_path / "added").write_text(remote.name)
    (tmp_path / "Dockerfile").write_text(f"FROM {remote}@{digest}\nCOPY added /added\n")
    docker("build", "--tag", f"{remote}:built", tmp_path)
    built = push(docker, f"{remote}:built")
    base_layers = remote.manifest("base").document["layers"]
    manifest = remote.manifest("built")
    assert manifest.digest == built
    assert [one["digest"] for one in manifest.document["layers"][:-1]] == [one["digest"] for one in base_layers]


def test_build_from_scratch_pushes_one_layer(docker: Program, remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "only").write_text(remote.name)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY only /only\n")
    docker("build", "--tag", f"{remote}:v1", tmp_path)
    printed = push(docker, f"{remote}:v1")
    manifest = remote.manifest("v1")
    assert (manifest.digest, len(manifest.document["layers"])) == (printed, 1)


def test_manifest_list_is_pushed_and_pulled_for_the_own_platform(
    docker: Program, remote: Remote, tmp_path: Path
) -> None:
    names = {platform: f"{remote}:{platform.replace('/', '-')}" for platform in PLATFORMS}
    for platform, name in names.items():
        load(docker, tmp_path, name, platform=platform)
        push(docker, name)
    docker("manifest", "create", "--insecure", f"{remote}:multi", *names.values())
    printed = docker("manifest", "push", "--insecure", f"{remote}:multi")
    manifest = remote.manifest("multi")
    assert (manifest.digest, manifest.media_type) == (printed, DOCKER.index)
    docker("rmi", "--force", *names.values())
    docker("pull", "--platform", "linux/arm64", f"{remote}@{printed}")
    assert docker("image", "inspect", "--format", "{{.Architecture}}", f"{remote}@{printed}") == "arm64"


def test_pull_of_an_unknown_tag_says_so(docker: Program, remote: Remote, tmp_path: Path) -> None:
    load(docker, tmp_path, f"{remote}:v1")
    push(docker, f"{remote}:v1")
    assert "manifest unknown" in docker.refusal("pull", f"{remote}:none")
