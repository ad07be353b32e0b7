"""Podman: load, push in both formats, pull, build, manifest lists."""

import json
from pathlib import Path

import pytest

from tests.support.images import FLAVOURS, PLATFORMS, Remote, image, write_docker_archive
from tests.support.tools import Program

PLAIN = "--tls-verify=false"
FORMATS = {"oci": "oci", "docker": "v2s2"}


def load(podman: Program, folder: Path, name: str, *, platform: str = "linux/amd64") -> None:
    archive = write_docker_archive(folder / "image.tar", image(name, platform=platform), name)
    podman("load", "--input", archive)


def push(podman: Program, folder: Path, name: str, form: str = "oci") -> str:
    """The digest podman reports for its push."""
    report = folder / "digest"
    podman("push", PLAIN, "--format", form, "--digestfile", report, name)
    return report.read_text()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_push_reports_the_digest_of_the_served_manifest(
    podman: Program, remote: Remote, tmp_path: Path, flavour: str
) -> None:
    load(podman, tmp_path, f"{remote}:v1")
    reported = push(podman, tmp_path, f"{remote}:v1", FORMATS[flavour])
    manifest = remote.manifest("v1")
    assert (manifest.digest, manifest.announced) == (reported, reported)
    assert manifest.media_type == FLAVOURS[flavour].manifest


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_pull_after_rmi_gives_the_pushed_digest(
    podman: Program, remote: Remote, tmp_path: Path, by: str, flavour: str
) -> None:
    load(podman, tmp_path, f"{remote}:v1")
    digest = push(podman, tmp_path, f"{remote}:v1", FORMATS[flavour])
    podman("rmi", "--force", f"{remote}:v1")
    name = remote.reference(by, "v1", digest)
    podman("pull", PLAIN, name)
    assert podman("image", "inspect", "--format", "{{.Digest}}", name) == digest
    known = json.loads(podman("image", "inspect", "--format", "{{json .RepoDigests}}", name))
    assert known == [f"{remote}@{digest}"]


def test_build_from_a_base_pinned_by_digest(podman: Program, remote: Remote, tmp_path: Path) -> None:
    load(podman, tmp_path, f"{remote}:base")
    digest = push(podman, tmp_path, f"{remote}:base")
    podman("rmi", "--force", f"{remote}:base")
    (tmp_path / "added").write_text(remote.name)
    (tmp_path / "Containerfile").write_text(f"FROM {remote}@{digest}\nCOPY added /added\n")
    podman("build", PLAIN, "--isolation", "chroot", "--tag", f"{remote}:built", tmp_path)
    built = push(podman, tmp_path, f"{remote}:built")
    base = remote.manifest(digest).document
    manifest = remote.manifest("built")
    assert manifest.digest == built
    assert manifest.document["annotations"]["org.opencontainers.image.base.digest"] == digest
    assert len(manifest.document["layers"]) == len(base["layers"]) + 1


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_manifest_list_is_pushed_with_its_images(podman: Program, remote: Remote, tmp_path: Path, flavour: str) -> None:
    names = {platform: f"{remote}:{platform.replace('/', '-')}" for platform in PLATFORMS}
    podman("manifest", "create", f"{remote}:multi")
    for platform, name in names.items():
        load(podman, tmp_path, name, platform=platform)
        podman("manifest", "add", f"{remote}:multi", f"containers-storage:{name}")
    report = tmp_path / "digest"
    options = (PLAIN, "--all", "--format", FORMATS[flavour], "--digestfile", report)
    podman("manifest", "push", *options, f"{remote}:multi", f"docker://{remote}:multi")
    manifest = remote.manifest("multi")
    assert (manifest.digest, manifest.media_type) == (report.read_text(), FLAVOURS[flavour].index)
    entries = manifest.document["manifests"]
    assert [one["platform"]["architecture"] for one in entries] == ["amd64", "arm64"]
    for one in entries:
        assert remote.manifest(one["digest"]).digest == one["digest"]


def test_pull_of_an_unknown_tag_says_so(podman: Program, remote: Remote, tmp_path: Path) -> None:
    load(podman, tmp_path, f"{remote}:v1")
    push(podman, tmp_path, f"{remote}:v1")
    assert "manifest unknown" in podman.refusal("pull", PLAIN, f"{remote}:none")
