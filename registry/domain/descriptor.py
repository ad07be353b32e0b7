"""Descriptors: media type, digest and size of content that a manifest names (image-spec descriptor.md)."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from registry.domain.errors import ManifestInvalid, RegistryError
from registry.domain.media_types import is_foreign_layer, is_media_type
from registry.domain.names import Digest, parse_digest
from registry.domain.strict_json import Json, JsonObject

# JSON numbers are doubles for many readers
SIZE_LIMIT = 2**53 - 1
TEXT_LIMIT = 255

_FIELDS = ("mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform")
_PLATFORM_FIELDS = ("architecture", "os", "os.version", "os.features", "variant", "features")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of one piece of content. `platform` is `os/architecture[/variant]`."""

    media_type: str
    digest: Digest
    size: int
    platform: str | None = None
    has_urls: bool = False

    @property
    def is_foreign(self) -> bool:
        """Content that may stay out of the registry: pulled from elsewhere."""
        return self.has_urls or is_foreign_layer(self.media_type)


def check_spelling(value: JsonObject, fields: Iterable[str], where: str) -> None:
    """Go readers match keys whatever their case: refuse `MediaType` beside or instead of `mediaType`."""
    folded = {field.casefold(): field for field in fields}
    for key in value:
        field = folded.get(key.casefold())
        if field is not None and field != key:
            raise ManifestInvalid(f"{where}: a key differs from '{field}' only by case")


def parse_descriptor(value: Json, where: str) -> Descriptor:
    """Return the descriptor at `where`; raise ManifestInvalid."""
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{where}: not a descriptor")
    check_spelling(value, _FIELDS, where)
    descriptor = Descriptor(
        media_type=_media_type(value.get("mediaType"), where),
        digest=_digest(value.get("digest"), where),
        size=_size(value.get("size"), where),
        platform=_platform(value.get("platform"), where),
        has_urls=_urls(value.get("urls"), where),
    )
    parse_annotations(value.get("annotations"), where)
    parse_text(value.get("artifactType"), f"{where}.artifactType")
    if (data := value.get("data")) is not None:
        _check_data(data, descriptor, where)
    return descriptor


def parse_annotations(value: Json, where: str) -> dict[str, str]:
    """Return a map of strings, empty when absent; raise ManifestInvalid."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{where}: annotations are not an object")
    texts = {key: text for key, text in value.items() if isinstance(text, str)}
    if len(texts) != len(value):
        raise ManifestInvalid(f"{where}: an annotation is not a string")
    return texts


def parse_text(value: Json, where: str) -> str | None:
    """Return a short string, None when absent or empty; raise ManifestInvalid."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        raise ManifestInvalid(f"{where}: not a string of at most {TEXT_LIMIT} characters")
    return value


def parse_platform(value: JsonObject, where: str) -> str | None:
    """`os/architecture[/variant]` of an index entry or an image config, None when it names none."""
    names = [parse_text(value.get(key), f"{where}.{key}") for key in ("os", "architecture", "variant")]
    system, architecture, variant = names
    if system is None or architecture is None:
        return None
    return "/".join(name for name in (system, architecture, variant) if name)


def _media_type(value: Json, where: str) -> str:
    if not isinstance(value, str) or not is_media_type(value):
        raise ManifestInvalid(f"{where}: mediaType is missing or malformed")
    return value


def _digest(value: Json, where: str) -> Digest:
    if not isinstance(value, str):
        raise ManifestInvalid(f"{where}: digest is missing")
    try:
        return parse_digest(value)
    except RegistryError as error:
        raise ManifestInvalid(f"{where}: {error.message}") from error


def _size(value: Json, where: str) -> int:
    if type(value) is not int or not 0 <= value <= SIZE_LIMIT:  # a bool is an int to isinstance
        raise ManifestInvalid(f"{where}: size is not a number of bytes")
    return value


def _platform(value: Json, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{where}: platform is not an object")
    check_spelling(value, _PLATFORM_FIELDS, f"{where}.platform")
    return parse_platform(value, f"{where}.platform")


def _urls(value: Json, where: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, list) or not all(isinstance(url, str) for url in value):
        raise ManifestInvalid(f"{where}: urls are not a list of strings")
    return bool(value)


def _check_data(value: Json, descriptor: Descriptor, where: str) -> None:
    if not isinstance(value, str):
        raise ManifestInvalid(f"{where}: data is not a string")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ManifestInvalid(f"{where}: data is not base64") from error
    if len(data) != descriptor.size or Digest.of(data, descriptor.digest.algorithm) != descriptor.digest:
        raise ManifestInvalid(f"{where}: data does not match the descriptor's digest and size")
