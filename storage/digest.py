"""Digests: parse them strictly, compute them while bytes pass by. Nothing else hashes content."""

import hashlib
import re
from typing import Self

# image-spec descriptor.md, "Digests"; `fullmatch` only, the grammar has no anchors of its own
_GRAMMAR = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")
_LONGEST = 512

ALGORITHMS = tuple(_HEX_LENGTH)


class InvalidDigestError(ValueError):
    """Not a digest: the grammar, the length or the case is wrong."""


class UnsupportedAlgorithmError(InvalidDigestError):
    """A well-formed digest of an algorithm that this registry does not compute."""


class Digest(str):
    """`algorithm:encoded`, valid by construction: build it with `parse` or a `Hasher`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the digest that `text` spells; raise InvalidDigestError or UnsupportedAlgorithmError."""
        if len(text) > _LONGEST or not _GRAMMAR.fullmatch(text):
            raise InvalidDigestError("not a digest")
        algorithm, _, encoded = text.partition(":")
        length = _HEX_LENGTH.get(algorithm)
        if length is None:
            raise UnsupportedAlgorithmError(f"digest algorithm {algorithm} is not supported")
        if len(encoded) != length or not _HEX.fullmatch(encoded):
            raise InvalidDigestError(f"a {algorithm} digest has {length} lowercase hex digits")
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """The digest of bytes that are all in memory."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        return self.partition(":")[2]


class Hasher:
    """A running hash. `update` frees the GIL for pieces of 2 KiB and more, so it belongs in a thread."""

    __slots__ = ("_hash", "algorithm")

    def __init__(self, algorithm: str) -> None:
        if algorithm not in _HEX_LENGTH:
            raise UnsupportedAlgorithmError(f"digest algorithm {algorithm} is not supported")
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)

    def digest(self) -> Digest:
        return Digest(f"{self.algorithm}:{self._hash.hexdigest()}")
