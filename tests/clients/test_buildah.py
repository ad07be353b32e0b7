"""buildah: build on a base in the registry, commit, push, pull."""

from pathlib import Path

import pytest

from tests.support.images import FLAVOURS, Remote, index, write_layout
from tests.support.tools import Program

PLAIN = "--tls-verify=false"
FORMATS = {"oci": "oci", "docker": "v2s2"}


def build_from_scratch(buildah: Program, folder: Path, name: str) -> None:
    (folder / "only").write_text(name)
    container = buildah("from", "scratch")
    buildah("copy", container, folder / "only", "/only")
    buildah("commit", "--rm", container, name)


def push(buildah: Program, folder: Path, name: str, form: str = "oci") -> str:
    """The digest buildah reports for its push."""
    report = folder / "digest"
    buildah("push", PLAIN, "--format", form, "--digestfile", report, name, f"docker://{name}")
    return report.read_text()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_push_reports_the_digest_of_the_served_manifest(
    buildah: Program, remote: Remote, tmp_path: Path, flavour: str
) -> None:
    build_from_scratch(buildah, tmp_path, f"{remote}:v1")
    reported = push(buildah, tmp_path, f"{remote}:v1", FORMATS[flavour])
    manifest = remote.manifest("v1")
    assert (manifest.digest, manifest.announced) == (reported, reported)
    assert manifest.media_type == FLAVOURS[flavour].manifest


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_pull_after_rmi_gives_the_pushed_digest(buildah: Program, remote: Remote, tmp_path: Path, by: str) -> None:
    build_from_scratch(buildah, tmp_path, f"{remote}:v1")
    digest = push(buildah, tmp_path, f"{remote}:v1")
    buildah("rmi", "--force", f"{remote}:v1")
    name = remote.reference(by, "v1", digest)
    buildah("pull", PLAIN, name)
    assert buildah("inspect", "--type", "image", "--format", "{{.FromImageDigest}}", name) == digest


def test_from_a_base_pinned_by_digest(buildah: Program, remote: Remote, tmp_path: Path) -> None:
    build_from_scratch(buildah, tmp_path, f"{remote}:base")
    digest = push(buildah, tmp_path, f"{remote}:base")
    buildah("rmi", "--force", f"{remote}:base")
    (tmp_path / "added").write_text(remote.name)
    (tmp_path / "Containerfile").write_text(f"FROM {remote}@{digest}\nCOPY added /added\n")
    buildah("build", PLAIN, "--tag", f"{remote}:built", tmp_path)
    built = push(buildah, tmp_path, f"{remote}:built")
    manifest = remote.manifest("built")
    assert manifest.digest == built
    assert manifest.document["annotations"]["org.opencontainers.image.base.digest"] == digest


def test_manifest_list_is_pushed_with_its_images(buildah: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = index(str(remote))
    layout = write_layout(tmp_path / "layout", pushed)
    buildah("manifest", "create", f"{remote}:multi")
    buildah("manifest", "add", "--all", f"{remote}:multi", f"oci:{layout}:v1")
    report = tmp_path / "digest"
    options = (PLAIN, "--all", "--format", "oci", "--digestfile", report)
    buildah("manifest", "push", *options, f"{remote}:multi", f"docker://{remote}:multi")
    manifest = remote.manifest("multi")
    assert (manifest.digest, manifest.media_type) == (report.read_text(), pushed.media_type)
    assert {one["digest"] for one in manifest.document["manifests"]} == {one.digest for one in pushed.images}
