"""skopeo: copy between layouts and the registry, inspect, list, delete."""

import json
from pathlib import Path

import pytest

from tests.support.images import FLAVOURS, Image, NotServedError, Remote, image, index, write_layout
from tests.support.tools import Program

TO_PLAIN = "--dest-tls-verify=false"
FROM_PLAIN = "--src-tls-verify=false"
PLAIN = "--tls-verify=false"
FORMATS = {"oci": "oci", "docker": "v2s2"}


def push(skopeo: Program, folder: Path, remote: Remote, *, tag: str = "v1") -> Image:
    pushed = image(f"{remote}:{tag}")
    layout = write_layout(folder / tag, pushed, tag)
    skopeo("copy", TO_PLAIN, f"oci:{layout}:{tag}", f"docker://{remote}:{tag}")
    return pushed


def layout_digest(layout: Path) -> str:
    digest: str = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    return digest


def test_copy_from_a_layout_keeps_the_bytes(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(skopeo, tmp_path, remote)
    manifest = remote.manifest("v1")
    assert manifest.data == pushed.manifest
    assert (manifest.announced, manifest.media_type) == (pushed.digest, pushed.media_type)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_copy_in_a_format_reports_the_digest_of_the_served_manifest(
    skopeo: Program, remote: Remote, tmp_path: Path, flavour: str
) -> None:
    layout = write_layout(tmp_path / "layout", image(str(remote)))
    report = tmp_path / "digest"
    options = (TO_PLAIN, "--format", FORMATS[flavour], "--digestfile", report)
    skopeo("copy", *options, f"oci:{layout}:v1", f"docker://{remote}:v1")
    manifest = remote.manifest("v1")
    assert (manifest.digest, manifest.media_type) == (report.read_text().strip(), FLAVOURS[flavour].manifest)


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_copy_to_a_layout_gives_the_pushed_digest(skopeo: Program, remote: Remote, tmp_path: Path, by: str) -> None:
    pushed = push(skopeo, tmp_path, remote)
    name = remote.reference(by, "v1", pushed.digest)
    skopeo("copy", FROM_PLAIN, f"docker://{name}", f"oci:{tmp_path / 'pulled'}:v1")
    assert layout_digest(tmp_path / "pulled") == pushed.digest


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_inspect_shows_digest_and_layers(skopeo: Program, remote: Remote, tmp_path: Path, by: str) -> None:
    pushed = push(skopeo, tmp_path, remote)
    name = remote.reference(by, "v1", pushed.digest)
    shown = json.loads(skopeo("inspect", PLAIN, f"docker://{name}"))
    assert (shown["Digest"], shown["Layers"]) == (pushed.digest, [one.digest for one in pushed.layers])


def test_raw_inspect_gives_the_exact_bytes(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(skopeo, tmp_path, remote)
    assert skopeo.read("inspect", PLAIN, "--raw", f"docker://{remote}:v1") == pushed.manifest


def test_copy_all_keeps_the_index_and_every_image(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = index(str(remote))
    layout = write_layout(tmp_path / "layout", pushed)
    skopeo("copy", "--all", TO_PLAIN, f"oci:{layout}:v1", f"docker://{remote}:v1")
    manifest = remote.manifest("v1")
    assert (manifest.digest, manifest.media_type) == (pushed.digest, pushed.media_type)
    for one in pushed.images:
        assert remote.manifest(one.digest).digest == one.digest
    skopeo("copy", "--all", FROM_PLAIN, f"docker://{remote}@{pushed.digest}", f"oci:{tmp_path / 'pulled'}:v1")
    assert layout_digest(tmp_path / "pulled") == pushed.digest


def test_copy_of_one_platform_resolves_the_index(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = index(str(remote))
    layout = write_layout(tmp_path / "layout", pushed)
    skopeo("copy", "--all", TO_PLAIN, f"oci:{layout}:v1", f"docker://{remote}:v1")
    pulled = tmp_path / "pulled"
    skopeo("--override-arch", "arm64", "copy", FROM_PLAIN, f"docker://{remote}:v1", f"oci:{pulled}:v1")
    assert layout_digest(pulled) == pushed.images[1].digest


def test_copy_between_repositories_keeps_the_digest(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(skopeo, tmp_path, remote)
    skopeo("copy", FROM_PLAIN, TO_PLAIN, f"docker://{remote}:v1", f"docker://{remote}/copy:v1")
    assert remote.below("copy").manifest("v1").digest == pushed.digest


def test_list_tags_shows_every_tag(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    for tag in ("v2", "v1", "latest"):
        push(skopeo, tmp_path, remote, tag=tag)
    assert json.loads(skopeo("list-tags", PLAIN, f"docker://{remote}"))["Tags"] == ["latest", "v1", "v2"]


def test_delete_removes_the_manifest(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = push(skopeo, tmp_path, remote)
    skopeo("delete", PLAIN, f"docker://{remote}:v1")
    for reference in ("v1", pushed.digest):
        with pytest.raises(NotServedError) as gone:
            remote.manifest(reference)
        assert gone.value.code == 404


def test_inspect_of_an_unknown_tag_says_so(skopeo: Program, remote: Remote, tmp_path: Path) -> None:
    push(skopeo, tmp_path, remote)
    assert "manifest unknown" in skopeo.refusal("inspect", PLAIN, f"docker://{remote}:none")
