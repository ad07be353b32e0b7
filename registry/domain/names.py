"""Repository names, tags and references: values that are valid by construction."""

import re
from typing import Self, TypeAlias

from registry.domain.errors import (
    DigestInvalid,
    DigestUnsupported,
    ManifestUnknown,
    NameInvalid,
    RegistryError,
    TagInvalid,
)
from storage.digest import ALGORITHMS, Digest, Hasher, InvalidDigestError, UnsupportedAlgorithmError

__all__ = [
    "ALGORITHMS",
    "NAME_LIMIT",
    "Digest",
    "Hasher",
    "Reference",
    "RepositoryName",
    "Tag",
    "known_digest",
    "known_reference",
    "parse_digest",
    "parse_reference",
]

# spec, "Pulling manifests". Neighbouring parts share no character, so time is linear in the length. No possessive
# quantifiers: early releases of Python 3.11 match them wrongly (`a-` would pass).
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(f"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")

NAME_LIMIT = 255


class RepositoryName(str):
    """A repository's full name, `team/app`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name; raise NameInvalid."""
        if not cls.is_valid(text):
            raise NameInvalid()
        return cls(text)

    @staticmethod
    def is_valid(text: str) -> bool:
        return len(text) <= NAME_LIMIT and _NAME.fullmatch(text) is not None


class Tag(str):
    """A mutable name for one manifest of a repository. Case-sensitive."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the tag; raise TagInvalid."""
        if not _TAG.fullmatch(text):
            raise TagInvalid()
        return cls(text)


Reference: TypeAlias = Tag | Digest


def parse_digest(text: str) -> Digest:
    """Return the digest; raise DigestInvalid, or DigestUnsupported for an algorithm we do not compute."""
    try:
        return Digest.parse(text)
    except UnsupportedAlgorithmError as error:
        raise DigestUnsupported() from error
    except InvalidDigestError as error:
        raise DigestInvalid(f"{error}: sha256:<64 hex digits> or sha512:<128 hex digits>") from error


def known_digest(text: str, unknown: type[RegistryError]) -> Digest:
    """`parse_digest` for reads: nothing can be stored under a foreign algorithm, so that is `unknown`."""
    try:
        return parse_digest(text)
    except DigestUnsupported as error:
        raise unknown() from error


def parse_reference(text: str) -> Reference:
    """A tag or a digest, for writes; a colon decides, since no tag has one."""
    return parse_digest(text) if ":" in text else Tag.parse(text)


def known_reference(text: str) -> Reference:
    """A tag or a digest, for reads: what can't have been pushed is unknown, a malformed digest invalid."""
    if ":" in text:
        return known_digest(text, ManifestUnknown)
    try:
        return Tag.parse(text)
    except TagInvalid as error:
        raise ManifestUnknown() from error
