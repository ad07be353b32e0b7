"""What the model's clients push: few contents and few names, so that different requests meet."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tests.support.images import DOCKER, OCI, Flavour, Json, encode, image_config

REPOSITORIES = ("a", "x/blobs/uploads")
# Where repositories are moved to as well
NAMES = (*REPOSITORIES, "b")
TAGS = ("latest", "v1", "V1", "_")
IMMUTABLE_TAGS = ("keep-1", "keep-2")
IMMUTABLE = "keep-*"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Content(Enum):
    """The blobs: empty, tiny, an image's config, and one too large to be answered from memory."""

    EMPTY = b""
    BRACES = b"{}"
    ONE = b"1"
    LINE = b"a line of text\n"
    CONFIG = image_config([])
    LARGE = random.Random(0).randbytes(70_000)

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Part:
    """What a manifest says of one piece of content that it needs."""

    digest: str
    size: int
    is_child: bool = False
    is_foreign: bool = False


@dataclass(frozen=True)
class Document:
    """A manifest, and what it means in the spec's words. `flawed`: no registry may take it."""

    payload: bytes = field(repr=False)
    media_type: str
    parts: Sequence[Part] = ()
    subject: str = ""
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    is_index: bool = False
    flawed: bool = False

    @property
    def digest(self) -> str:
        return digest_of(self.payload)


def image(
    config: Content,
    layers: Sequence[Content],
    *,
    flavour: Flavour = OCI,
    foreign: bool = False,
    wrong_size: int = 0,
    subject: str = "",
    artifact_type: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Document:
    """An image, or with a subject or an artifact type an artifact; `foreign`: one layer lies elsewhere."""
    described = [_descriptor(flavour.layer, layer.value, wrong_size) for layer in layers]
    if foreign:
        described.append(_descriptor(flavour.layer, b"elsewhere") | {"urls": ["https://example.com/layer"]})
    fields: Json = {
        "schemaVersion": 2,
        "mediaType": flavour.manifest,
        "config": _descriptor(flavour.config, config.value),
        "layers": described,
        "artifactType": artifact_type,
        "subject": _descriptor(OCI.manifest, b"") | {"digest": subject} if subject else None,
        "annotations": annotations,
    }
    parts = [_part(fields["config"]), *(_part(one) for one in described)]
    return Document(
        encode({name: value for name, value in fields.items() if value not in ("", None)}),
        flavour.manifest,
        parts,
        subject,
        artifact_type or flavour.config,
        annotations or {},
    )


def index(
    children: Sequence[Document], blobs: Sequence[Content] = (), *, flavour: Flavour = OCI, subject: str = ""
) -> Document:
    """An index of manifests and, as build caches have it, of blobs."""
    described = [_descriptor(child.media_type, child.payload) for child in children]
    described += [_descriptor(flavour.layer, content.value) for content in blobs]
    fields: Json = {"schemaVersion": 2, "mediaType": flavour.index, "manifests": described}
    if subject:
        fields["subject"] = _descriptor(OCI.manifest, b"") | {"digest": subject}
    parts = [_part(one, is_child=True) for one in described]
    return Document(encode(fields), flavour.index, parts, subject, is_index=True)


FLAWED = (
    Document(b"not json", OCI.manifest, flawed=True),
    Document(b'{"schemaVersion":2}', OCI.manifest, flawed=True),
    Document(b'{"schemaVersion":2,"manifests":[],"layers":[]}', OCI.index, flawed=True),
    Document(index([], flavour=DOCKER).payload, OCI.index, flawed=True),
    Document(b'{"schemaVersion":2,"manifests":[]}', "text/plain", flawed=True),
)


def _descriptor(media_type: str, data: bytes, wrong_size: int = 0) -> Json:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data) + wrong_size}


def _part(descriptor: Json, *, is_child: bool = False) -> Part:
    return Part(descriptor["digest"], descriptor["size"], is_child, "urls" in descriptor)
