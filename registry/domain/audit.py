"""Events as people read them, and seals: hashes that chain them, so that nobody changes the past unseen.

A seal is the SHA-256 of these lines, each a JSON array in ASCII: the version with the id and the hash of the seal
before; each event since, all columns in the order of SEALED; what the seal says of itself. Whoever can write the
database can seal a chain of their own: only an anchor kept elsewhere, such as the log, finds that out.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from registry.domain.times import rfc3339

VERSION = "digestry events 1"
# A column more is a version more
SEALED = (
    "id",
    "at",
    "identity",
    "action",
    "repository_id",
    "repository",
    "tag",
    "old_digest",
    "new_digest",
    "request_id",
    "details",
    "address",
    "credential",
)


@dataclass(frozen=True, slots=True)
class Event:
    """Who did what, when and how; `details` as it was recorded, in JSON's values."""

    id: int
    at: int
    identity: str
    action: str
    repository_id: int | None = None
    repository: str | None = None
    tag: str | None = None
    old_digest: str | None = None
    new_digest: str | None = None
    request_id: str | None = None
    details: Any = None
    address: str | None = None
    credential: str | None = None

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"at": rfc3339(self.at)}


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What each listed event matches. An `action` like `tag.*` is a prefix; `since` <= at < `until`."""

    identity: str | None = None
    repository: str | None = None
    action: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Seal:
    """Ids count from 1 without a gap; `hash` covers the `events` after the seal before, up to `last_event`."""

    id: int
    first_event: int
    last_event: int
    events: int
    hash: str
    sealed_at: int

    @property
    def anchor(self) -> "Anchor":
        return Anchor(self.last_event, self.hash)

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"sealed_at": rfc3339(self.sealed_at)}


@dataclass(frozen=True, slots=True)
class Anchor:
    """What to remember of a seal outside of the database."""

    event: int
    hash: str

    def __str__(self) -> str:
        return f"{self.event}:{self.hash}"


@dataclass(slots=True)
class Verdict:
    """What a check of the chain found. Events that no seal covers yet are no problem."""

    seals: int = 0
    events: int = 0
    problems: list[str] = field(default_factory=list)
    unsealed: int = 0
    # how long the oldest of them waits
    unsealed_for: int = 0
    newest: Seal | None = None


class Sealing:
    """The making of the seal that follows `previous`."""

    def __init__(self, previous: Seal | None) -> None:
        self._id = previous.id + 1 if previous else 1
        self._sha256 = hashlib.sha256(line([VERSION, previous.id, previous.hash] if previous else [VERSION]))
        self._first = self._last = self._events = 0

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Events in the order of ids, columns in that of SEALED."""
        if not self._events:
            self._first = rows[0][0]
        self._last = rows[-1][0]
        self._events += len(rows)
        for row in rows:
            self._sha256.update(line(row))

    def seal(self, sealed_at: int) -> Seal:
        self._sha256.update(line([self._id, self._first, self._last, self._events, sealed_at]))
        return Seal(self._id, self._first, self._last, self._events, self._sha256.hexdigest(), sealed_at)


def line(values: Sequence[Any]) -> bytes:
    """A different line for each different row: JSON quotes text, and ends no line inside of a value."""
    return json.dumps(list(values), separators=(",", ":"), default=_bytes).encode() + b"\n"


def _bytes(value: bytes) -> dict[str, str]:
    """We store none; whoever changes a row may."""
    return {"bytes": value.hex()}
