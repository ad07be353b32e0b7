"""If-Match and If-None-Match on writes, decided inside the transaction that writes."""

from collections.abc import Collection
from dataclasses import dataclass

from registry.domain.errors import PreconditionFailed

ANY = "*"


@dataclass(frozen=True, slots=True)
class Conditions:
    """Digests, or ANY; None for a header that was not sent (RFC 9110 section 13.1)."""

    match: Collection[str] | None = None
    none_match: Collection[str] | None = None

    def check(self, current: str | None) -> None:
        """Raise PreconditionFailed when `current`, None for nothing, is not what the client expects."""
        if self.match is not None and not _matches(self.match, current):
            raise PreconditionFailed()
        if self.none_match is not None and _matches(self.none_match, current):
            raise PreconditionFailed()


def _matches(wanted: Collection[str], current: str | None) -> bool:
    return current is not None and (ANY in wanted or current in wanted)
