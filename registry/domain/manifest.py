"""Manifests: from the pushed bytes to what the registry knows of them, or a reason to refuse."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from registry.domain.descriptor import (
    Descriptor,
    check_spelling,
    parse_annotations,
    parse_descriptor,
    parse_text,
)
from registry.domain.errors import ManifestInvalid
from registry.domain.media_types import INDEXES, MANIFESTS, OCI, SCHEMA_1, normalize
from registry.domain.names import Digest
from registry.domain.strict_json import Json, JsonObject, parse_object

# spec, "Pushing Manifests": at least 4 MiB; containerd reads no more
MANIFEST_LIMIT = 4 * 1024 * 1024
CHILDREN_LIMIT = 10_000
NESTING_LIMIT = 8

_FIELDS = (
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A valid manifest: an image (config and layers) or an index (manifests, or blobs for build caches)."""

    digest: Digest
    media_type: str
    payload: bytes = field(repr=False)
    config: Descriptor | None = None
    layers: Sequence[Descriptor] = ()
    children: Sequence[Descriptor] = ()
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    @property
    def references(self) -> list[Descriptor]:
        """All that it needs to be pulled whole, in the manifest's order: config first."""
        return [*([self.config] if self.config else []), *self.layers, *self.children]

    @property
    def referrer_type(self) -> str | None:
        """The artifact type that the referrers API shows: an image without one has its config's type."""
        return self.artifact_type or (self.config.media_type if self.config else None)


def parse_manifest(payload: bytes, content_type: str, digest: Digest) -> Manifest:
    """Return the manifest that `payload` spells. `content_type` is the header, "" when absent.

    Raises ManifestInvalid (spec, "Pushing Manifests"; image-spec manifest.md and image-index.md).
    """
    value = parse_object(payload)
    check_spelling(value, _FIELDS, "manifest")
    media_type = _media_type(value, normalize(content_type))
    if type(value.get("schemaVersion")) is not int or value["schemaVersion"] != 2:
        raise ManifestInvalid("schemaVersion is not 2")
    if media_type in INDEXES:
        _refuse(value, ("config", "layers"), "an index")
        config, layers, children = None, [], _descriptors(value, "manifests", required=True)
    else:
        _refuse(value, ("manifests",), "an image manifest")
        config = parse_descriptor(value.get("config"), "config")
        layers, children = _descriptors(value, "layers"), []
    if media_type not in OCI:
        _refuse(value, ("subject", "artifactType"), "a Docker manifest")
    subject = value.get("subject")
    manifest = Manifest(
        digest=digest,
        media_type=media_type,
        payload=payload,
        config=config,
        layers=layers,
        children=children,
        subject=None if subject is None else parse_descriptor(subject, "subject"),
        artifact_type=parse_text(value.get("artifactType"), "artifactType"),
        annotations=parse_annotations(value.get("annotations"), "manifest"),
    )
    _check_sizes(manifest.references)
    return manifest


def _media_type(value: JsonObject, content_type: str) -> str:
    """The one type that header and body agree on."""
    written = value.get("mediaType")
    if written is not None and not isinstance(written, str):
        raise ManifestInvalid("mediaType is not a string")
    media_type = content_type or written
    if not media_type:
        raise ManifestInvalid("neither Content-Type nor mediaType says what this is")
    if media_type in SCHEMA_1 or value.get("schemaVersion") == 1:
        raise ManifestInvalid("Docker schema 1 is not supported; push the image with a current client")
    if media_type not in MANIFESTS:
        raise ManifestInvalid("this media type is not a manifest's; the OCI and Docker schema 2 types are")
    # Only the OCI types may leave the field out (image-spec manifest.md, "mediaType")
    if written != media_type and (written is not None or media_type not in OCI):
        raise ManifestInvalid("mediaType and Content-Type differ")
    return media_type


def _refuse(value: JsonObject, fields: Sequence[str], kind: str) -> None:
    """One document must not read as two kinds of manifest (CVE-2021-41190)."""
    for name in fields:
        if name in value:
            raise ManifestInvalid(f"{kind} has no {name}")


def _descriptors(value: JsonObject, name: str, *, required: bool = False) -> list[Descriptor]:
    """The list at `name`. Go writes an empty list as null; only an index must name its list."""
    items: Json = value.get(name)
    if items is None and not (required and name not in value):
        return []
    if not isinstance(items, list):
        raise ManifestInvalid(f"{name} is not a list")
    if len(items) > CHILDREN_LIMIT:
        raise ManifestInvalid(f"{name} has more than {CHILDREN_LIMIT} entries")
    return [parse_descriptor(item, f"{name}[{position}]") for position, item in enumerate(items)]


def _check_sizes(references: Sequence[Descriptor]) -> None:
    sizes: dict[Digest, int] = {}
    for descriptor in references:
        if sizes.setdefault(descriptor.digest, descriptor.size) != descriptor.size:
            raise ManifestInvalid(f"{descriptor.digest} is named with two sizes")
