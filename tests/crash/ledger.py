"""What one repository must hold, as its only writer knows it: content by path, and what is in flight."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.support.images import digest_of

# What a path below the repository answers with; None for 404
Content: TypeAlias = bytes | None
Read: TypeAlias = Callable[[str], Content]
KINDS = ("blobs", "manifests", "tags")


def kind_of(path: str) -> str:
    folder, _, name = path.partition("/")
    return folder if ":" in name else "tags"


def blob_path(content: bytes) -> str:
    return f"blobs/{digest_of(content)}"


def manifest_path(payload: bytes) -> str:
    return f"manifests/{digest_of(payload)}"


@dataclass
class Session:
    """An upload whose POST was acknowledged: `acknowledged` bytes surely are there, `sent` bytes may be.

    `ending` is what is being sent to end it: PUT or DELETE.
    """

    path: str
    location: str
    content: bytes
    acknowledged: int = 0
    sent: int = 0
    ending: str = ""
    survived: bool = False

    @property
    def digest(self) -> str:
        return digest_of(self.content)


@dataclass
class Ledger:
    """`held` was acknowledged; `in_flight` is the change of the request that waits for its answer."""

    held: dict[str, bytes] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    in_flight: Mapping[str, Content] = field(default_factory=dict)
    session: Session | None = None

    def paths(self, kind: str) -> list[str]:
        return sorted(path for path in self.held if kind_of(path) == kind)

    def apply(self, change: Mapping[str, Content]) -> None:
        for path, content in change.items():
            if content is None:
                self.held.pop(path, None)
                self.gone.add(path)
            else:
                self.held[path] = content
                self.gone.discard(path)

    def acknowledge(self) -> None:
        self.apply(self.in_flight)
        self.in_flight = {}

    def settle(self, read: Read) -> list[str]:
        """Find out what became of the change in flight: all of it or nothing. Returns what is wrong."""
        found = {path: read(path) for path in self.in_flight}
        old = {path: self.held.get(path) for path in found}
        new = dict(self.in_flight)
        self.in_flight = {}
        if found == new:
            self.apply(new)
        elif found != old:
            # What is there now is no loss of its own again and again
            self.apply(found)
            return [f"half done: {_named(found)}, before {_named(old)}, wanted {_named(new)}"]
        return []

    def check(self, path: str, read: Read) -> list[str]:
        """Compare one path with what was acknowledged."""
        wanted, found = self.held.get(path), read(path)
        return [] if found == wanted else [f"{path}: {_shown(found)}, acknowledged was {_shown(wanted)}"]


def _named(contents: Mapping[str, Content]) -> dict[str, str]:
    return {path: _shown(content) for path, content in contents.items()}


def _shown(content: Content) -> str:
    return "nothing" if content is None else f"{digest_of(content)} ({len(content)} bytes)"
