"""What people type for a digest: all of it, or enough of its beginning."""

import re
from dataclasses import dataclass
from typing import Self

from registry.domain.names import ALGORITHMS, Digest
from registry.domain.problems import Invalid

SHORTEST = 8
# Sorts behind all hex digits
_BEHIND = "g"
_LENGTHS = {algorithm: len(Digest.of(b"", algorithm).encoded) for algorithm in ALGORITHMS}
_PREFIX = re.compile(rf"(?:({'|'.join(ALGORITHMS)}):)?([0-9a-f]{{{SHORTEST},}})")


@dataclass(frozen=True, slots=True)
class DigestPrefix:
    """The first digits of a digest; without an algorithm they may be those of either one."""

    starts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise Invalid."""
        matched = _PREFIX.fullmatch(text)
        algorithms = (matched[1],) if matched and matched[1] else ALGORITHMS
        starts = tuple(f"{one}:{matched[2]}" for one in algorithms if matched and len(matched[2]) <= _LENGTHS[one])
        if not starts:
            raise Invalid(
                "a digest is sha256:<64 hex digits> or sha512:<128 hex digits>, in lower case; "
                f"the first {SHORTEST} digits or more are enough, with or without sha256: or sha512:"
            )
        return cls(starts)

    @property
    def ranges(self) -> list[tuple[str, str]]:
        """Where such digests lie in byte order: from (inclusive) and to (exclusive)."""
        return [(start, start + _BEHIND) for start in self.starts]
