"""oras: files as artifacts, attach and discover, copy, tags, blobs, delete."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import OCI, Remote, digest_of, index, write_layout
from tests.support.tools import Program

ARTIFACT_TYPE = "application/vnd.example.note"
NOTE = "note.txt"
PLAIN = "--plain-http"
BOTH_PLAIN = ("--from-plain-http", "--to-plain-http")


def push(oras: Program, folder: Path, name: str) -> str:
    """The digest oras reports for an artifact with one file."""
    (folder / NOTE).write_text(name)
    pushed: dict[str, Any] = json.loads(
        oras("push", PLAIN, "--format", "json", "--artifact-type", ARTIFACT_TYPE, name, NOTE)
    )
    digest: str = pushed["digest"]
    return digest


def attach(oras: Program, folder: Path, name: str, text: str, artifact_type: str = ARTIFACT_TYPE) -> str:
    """The digest oras reports for an artifact that refers to this name."""
    (folder / "attached.txt").write_text(text)
    options = (PLAIN, "--format", "json", "--artifact-type", artifact_type)
    digest: str = json.loads(oras("attach", *options, name, "attached.txt"))["digest"]
    return digest


def discover(oras: Program, name: str, *options: str) -> list[dict[str, Any]]:
    found = json.loads(oras("discover", PLAIN, "--format", "json", *options, name))
    referrers: list[dict[str, Any]] = found["referrers"]
    return referrers


def test_push_reports_the_digest_of_the_served_manifest(oras: Program, remote: Remote, tmp_path: Path) -> None:
    reported = push(oras, tmp_path, f"{remote}:v1")
    manifest = remote.manifest("v1")
    assert (manifest.digest, manifest.announced) == (reported, reported)
    assert (manifest.media_type, manifest.document["artifactType"]) == (OCI.manifest, ARTIFACT_TYPE)


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_pull_writes_the_pushed_file(oras: Program, remote: Remote, tmp_path: Path, by: str) -> None:
    digest = push(oras, tmp_path, f"{remote}:v1")
    name = remote.reference(by, "v1", digest)
    said = oras("pull", PLAIN, "--output", "pulled", name)
    assert f"Digest: {digest}" in said
    assert (tmp_path / "pulled" / NOTE).read_text() == f"{remote}:v1"
    assert oras("resolve", PLAIN, name) == digest


def test_attached_artifacts_are_discovered(oras: Program, remote: Remote, tmp_path: Path) -> None:
    push(oras, tmp_path, f"{remote}:v1")
    attached = {attach(oras, tmp_path, f"{remote}:v1", text) for text in ("one", "two")}
    found = discover(oras, f"{remote}:v1", "--distribution-spec", "v1.1-referrers-api")
    assert {one["digest"] for one in found} == attached
    assert {one["artifactType"] for one in found} == {ARTIFACT_TYPE}


def test_discover_filters_by_type(oras: Program, remote: Remote, tmp_path: Path) -> None:
    push(oras, tmp_path, f"{remote}:v1")
    attach(oras, tmp_path, f"{remote}:v1", "one")
    wanted = attach(oras, tmp_path, f"{remote}:v1", "two", "application/vnd.example.other")
    found = discover(oras, f"{remote}:v1", "--artifact-type", "application/vnd.example.other")
    assert [one["digest"] for one in found] == [wanted]


def test_attach_leaves_no_fallback_tags(oras: Program, remote: Remote, tmp_path: Path) -> None:
    subject = push(oras, tmp_path, f"{remote}:v1")
    attached = attach(oras, tmp_path, f"{remote}:v1", "one")
    assert oras("repo", "tags", PLAIN, remote).split() == ["v1"]
    assert remote.referrers(subject) == [attached]


def test_cp_between_repositories_keeps_the_digest(oras: Program, remote: Remote, tmp_path: Path) -> None:
    digest = push(oras, tmp_path, f"{remote}:v1")
    oras("cp", *BOTH_PLAIN, f"{remote}:v1", f"{remote}/copy:v1")
    assert remote.below("copy").manifest("v1").digest == digest


def test_recursive_cp_takes_the_referrers_along(oras: Program, remote: Remote, tmp_path: Path) -> None:
    subject = push(oras, tmp_path, f"{remote}:v1")
    attached = attach(oras, tmp_path, f"{remote}:v1", "one")
    oras("cp", "--recursive", *BOTH_PLAIN, f"{remote}:v1", f"{remote}/copy:v1")
    assert remote.below("copy").referrers(subject) == [attached]


def test_cp_of_an_index_keeps_every_image(oras: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = index(str(remote))
    layout = write_layout(tmp_path / "layout", pushed)
    oras("cp", "--from-oci-layout", "--to-plain-http", f"{layout}:v1", f"{remote}:v1")
    for digest in (pushed.digest, *(one.digest for one in pushed.images)):
        assert remote.manifest(digest).digest == digest
    oras("cp", "--from-plain-http", "--to-oci-layout", f"{remote}:v1", "pulled:v1")
    assert oras("resolve", "--oci-layout", "pulled:v1") == pushed.digest


def test_platform_resolves_the_index(oras: Program, remote: Remote, tmp_path: Path) -> None:
    pushed = index(str(remote))
    layout = write_layout(tmp_path / "layout", pushed)
    oras("cp", "--from-oci-layout", "--to-plain-http", f"{layout}:v1", f"{remote}:v1")
    assert oras("resolve", PLAIN, "--platform", "linux/arm64", f"{remote}:v1") == pushed.images[1].digest


def test_repo_tags_shows_every_tag(oras: Program, remote: Remote, tmp_path: Path) -> None:
    push(oras, tmp_path, f"{remote}:v2")
    oras("tag", PLAIN, f"{remote}:v2", "v1", "latest")
    assert oras("repo", "tags", PLAIN, remote).split() == ["latest", "v1", "v2"]


def test_repo_ls_shows_the_repository(oras: Program, remote: Remote, tmp_path: Path) -> None:
    push(oras, tmp_path, f"{remote}:v1")
    assert remote.name in oras("repo", "ls", PLAIN, remote.host).split()


def test_blob_is_pushed_fetched_and_deleted(oras: Program, remote: Remote, tmp_path: Path) -> None:
    data = remote.name.encode()
    (tmp_path / "blob").write_bytes(data)
    name = f"{remote}@{digest_of(data)}"
    oras("blob", "push", PLAIN, name, "blob")
    assert oras.read("blob", "fetch", PLAIN, "--output", "-", name) == data
    oras("blob", "delete", PLAIN, "--force", name)
    assert "not found" in oras.refusal("blob", "fetch", PLAIN, "--output", "-", name)


def test_manifest_delete_removes_it(oras: Program, remote: Remote, tmp_path: Path) -> None:
    digest = push(oras, tmp_path, f"{remote}:v1")
    oras("manifest", "delete", PLAIN, "--force", f"{remote}@{digest}")
    assert "not found" in oras.refusal("manifest", "fetch", PLAIN, f"{remote}@{digest}")
    assert oras("repo", "tags", PLAIN, remote) == ""


def test_pull_of_an_unknown_tag_says_so(oras: Program, remote: Remote, tmp_path: Path) -> None:
    push(oras, tmp_path, f"{remote}:v1")
    assert "not found" in oras.refusal("pull", PLAIN, f"{remote}:none")
