"""Descriptors: what a manifest may say of the content that it names."""

import base64

import pytest

from registry.domain.descriptor import SIZE_LIMIT, parse_descriptor
from registry.domain.errors import ManifestInvalid
from registry.domain.strict_json import Json, JsonObject
from tests.support.images import digest_of

DATA = b"some content"
GOOD: JsonObject = {"mediaType": "application/octet-stream", "digest": digest_of(DATA), "size": len(DATA)}


def test_a_plain_one() -> None:
    found = parse_descriptor(GOOD, "config")
    assert (found.media_type, found.digest, found.size) == tuple(GOOD.values())
    assert (found.platform, found.is_foreign) == (None, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mediaType", None),
        ("mediaType", "text"),
        ("mediaType", 1),
        ("digest", None),
        ("digest", "sha256:abc"),
        ("digest", "md5:" + "0" * 32),
        ("size", None),
        ("size", -1),
        ("size", True),
        ("size", 1.0),
        ("size", "12"),
        ("size", SIZE_LIMIT + 1),
        ("urls", "https://example.com"),
        ("urls", [1]),
        ("annotations", {"key": 1}),
        ("annotations", []),
        ("artifactType", 1),
        ("artifactType", "a" * 256),
        ("platform", "linux"),
        ("platform", {"os": 1}),
        ("platform", {"OS": "linux"}),
        ("data", 1),
        ("data", "no base64!"),
        ("data", base64.b64encode(b"other bytes!").decode()),
        ("Size", 1),
        ("MEDIATYPE", "application/octet-stream"),
    ],
)
def test_what_is_refused(field: str, value: Json) -> None:
    with pytest.raises(ManifestInvalid, match=r"^here"):
        parse_descriptor({**GOOD, field: value}, "here")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0),
        ("size", SIZE_LIMIT),
        ("digest", "sha512:" + "0" * 128),
        ("data", base64.b64encode(DATA).decode()),
        ("annotations", {"SIZE": "annotations are free"}),
        ("unknown", {"anything": [1.5]}),
        ("urls", None),
    ],
)
def test_what_is_taken(field: str, value: Json) -> None:
    parse_descriptor({**GOOD, field: value}, "here")


@pytest.mark.parametrize(
    ("platform", "told"),
    [
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, "linux/arm/v7"),
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64"),
        ({"architecture": "amd64"}, None),
        ({}, None),
    ],
)
def test_platforms(platform: Json, told: str | None) -> None:
    assert parse_descriptor({**GOOD, "platform": platform}, "here").platform == told


@pytest.mark.parametrize(
    ("fields", "foreign"),
    [
        ({"urls": ["https://example.com/layer"]}, True),
        ({"urls": []}, False),
        ({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}, True),
        ({"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"}, True),
        ({"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd"}, False),
    ],
)
def test_content_that_may_lie_elsewhere(fields: JsonObject, foreign: bool) -> None:
    assert parse_descriptor({**GOOD, **fields}, "here").is_foreign == foreign
