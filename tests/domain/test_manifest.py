"""Manifests: what each kind says, and what no kind may say (CVE-2021-41190)."""

import pytest

from registry.domain.errors import ManifestInvalid
from registry.domain.manifest import CHILDREN_LIMIT, Manifest, parse_manifest
from registry.domain.names import Digest
from registry.domain.strict_json import Json
from tests.support.images import DOCKER, OCI, Flavour, descriptor, digest_of, encode
from tests.support.images import Json as Document

CONFIG = descriptor(OCI.config, b"config")
LAYER = descriptor(OCI.layer, b"layer")
IMAGE: Document = {"schemaVersion": 2, "mediaType": OCI.manifest, "config": CONFIG, "layers": [LAYER]}
INDEX: Document = {"schemaVersion": 2, "mediaType": OCI.index, "manifests": [descriptor(OCI.manifest, b"child")]}


def parse(document: Document, content_type: str | None = None) -> Manifest:
    payload = encode(document)
    return parse_manifest(payload, document.get("mediaType", "") if content_type is None else content_type, Digest(""))


def test_an_image() -> None:
    found = parse({**IMAGE, "annotations": {"key": "value"}})
    assert not found.is_index
    assert [one.digest for one in found.references] == [CONFIG["digest"], LAYER["digest"]]
    assert (found.referrer_type, found.annotations) == (OCI.config, {"key": "value"})


def test_an_index() -> None:
    found = parse(INDEX)
    assert found.is_index
    assert [one.digest for one in found.references] == [digest_of(b"child")]
    assert found.referrer_type is None


def test_an_artifact() -> None:
    found = parse({**IMAGE, "artifactType": "application/x.sbom", "subject": descriptor(OCI.manifest, b"subject")})
    assert found.subject is not None
    assert (found.subject.digest, found.referrer_type) == (digest_of(b"subject"), "application/x.sbom")
    assert digest_of(b"subject") not in [one.digest for one in found.references]


@pytest.mark.parametrize("content_type", ["", OCI.manifest.upper(), f"{OCI.manifest}; charset=utf-8"])
def test_header_and_field_name_one_type(content_type: str) -> None:
    assert parse(IMAGE, content_type).media_type == OCI.manifest


@pytest.mark.parametrize(("document", "flavour"), [(IMAGE, OCI.manifest), (INDEX, OCI.index)])
def test_oci_types_may_leave_the_field_out(document: Document, flavour: str) -> None:
    bare = {key: value for key, value in document.items() if key != "mediaType"}
    assert parse(bare, flavour).media_type == flavour
    with pytest.raises(ManifestInvalid):
        parse(bare, "")


@pytest.mark.parametrize("flavour", [OCI, DOCKER])
def test_an_empty_image_and_an_empty_index(flavour: Flavour) -> None:
    config = descriptor(flavour.config, b"config")
    parse({"schemaVersion": 2, "mediaType": flavour.manifest, "config": config, "layers": None})
    parse({"schemaVersion": 2, "mediaType": flavour.index, "manifests": []})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"schemaVersion": 1}, id="schema 1"),
        pytest.param({"schemaVersion": "2"}, id="version as text"),
        pytest.param({"schemaVersion": True}, id="version as a boolean"),
        pytest.param({"mediaType": DOCKER.manifest}, id="another type in the field"),
        pytest.param({"mediaType": 1}, id="type that is no text"),
        pytest.param({"manifests": []}, id="an index too"),
        pytest.param({"config": None}, id="no config"),
        pytest.param({"layers": {}}, id="layers that are no list"),
        pytest.param({"layers": [LAYER] * (CHILDREN_LIMIT + 1)}, id="too many layers"),
        pytest.param({"layers": [{**LAYER, "size": 1}, LAYER]}, id="one digest, two sizes"),
        pytest.param({"subject": []}, id="subject that is no descriptor"),
        pytest.param({"artifactType": 1}, id="artifact type that is no text"),
        pytest.param({"annotations": {"key": None}}, id="annotation that is no text"),
        pytest.param({"Layers": []}, id="key in another case"),
    ],
)
def test_what_no_image_says(changes: dict[str, Json]) -> None:
    with pytest.raises(ManifestInvalid):
        parse({**IMAGE, **changes}, OCI.manifest)


@pytest.mark.parametrize("field", ["config", "layers"])
def test_no_index_is_an_image_too(field: str) -> None:
    with pytest.raises(ManifestInvalid):
        parse({**INDEX, field: []})


@pytest.mark.parametrize("field", ["subject", "artifactType"])
def test_no_docker_manifest_is_an_artifact(field: str) -> None:
    with pytest.raises(ManifestInvalid):
        parse({**IMAGE, "mediaType": DOCKER.manifest, field: "application/x.sbom"})


@pytest.mark.parametrize("content_type", ["text/plain", "application/vnd.docker.distribution.manifest.v1+json"])
def test_what_is_no_manifest_type(content_type: str) -> None:
    with pytest.raises(ManifestInvalid):
        parse(IMAGE, content_type)
