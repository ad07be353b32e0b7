"""What a registry holds, as plain data, and the rules that many acts share. None of the product's code."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, NamedTuple

from tests.model.answers import Refusal
from tests.model.content import Document, Part

HOUR = 3_600_000
DAY = 24 * HOUR
# The settings' defaults
LEASE = DAY
UPLOAD_EXPIRY = DAY
TRASH_KEEP = 14 * DAY
DOOMED_KEEP = DAY

Damage = Literal["", "lost", "short", "rotten"]
Kind = Literal["repository", "manifest", "tag"]


class Refused(Exception):
    """A service refuses; `why` is the name of its error."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Stored:
    """A blob. `damage` happened behind the registry's back; once noticed, the blob is hidden until a push heals it."""

    data: bytes
    verified_at: int
    damage: Damage = ""
    hidden: bool = False

    @property
    def on_disk(self) -> bytes | None:
        """The bytes at its key, None when there is no file."""
        match self.damage:
            case "lost":
                return None
            case "short":
                return self.data[:-1]
            case "rotten":
                return bytes([self.data[0] ^ 1]) + self.data[1:]
            case _:
                return self.data

    @property
    def readable(self) -> bool:
        return not self.damage and not self.hidden


@dataclass
class Link:
    """A repository holds a blob, until its lease is over and nothing names it."""

    keep_until: int
    hidden: bool = False


@dataclass
class Held:
    """A manifest in a repository. `needs` says what each part was when it came: a blob or a manifest."""

    document: Document
    needs: Mapping[str, str]
    depth: int
    keep_until: int
    live: bool = True


class Move(NamedTuple):
    """What happened to a tag."""

    at: int
    action: str
    tag: str
    old: str | None
    new: str | None


@dataclass(eq=False)
class Repository:
    """`moves` and `comings` are its past: how its tags moved, and when it was there as a whole."""

    id: int
    name: str
    links: dict[str, Link] = field(default_factory=dict)
    manifests: dict[str, Held] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    comings: list[tuple[int, bool]] = field(default_factory=list)
    deleted: bool = False
    given_up: bool = False

    @property
    def blobs(self) -> set[str]:
        return {digest for digest, link in self.links.items() if not link.hidden}

    def live(self, digest: str) -> Held | None:
        held = self.manifests.get(digest)
        return held if held and held.live else None

    def hidden(self, digest: str) -> bool:
        return digest in self.manifests and not self.manifests[digest].live

    def parents(self, digest: str) -> list[Held]:
        """What names a manifest, in the trash or not."""
        return [held for held in self.manifests.values() if held.needs.get(digest) == "manifest"]

    def needed(self, digest: str) -> bool:
        """Whether something names a blob, in the trash or not."""
        return any(held.needs.get(digest) == "blob" for held in self.manifests.values())


@dataclass
class Upload:
    repository: Repository
    expires: int
    data: bytes = b""
    finished: str = ""


@dataclass
class Entry:
    """Of the trash. `act`: the entry of the deletion that took it along."""

    id: int
    kind: Kind
    repository: Repository
    digest: str | None
    tag: str | None
    deleted_at: int
    act: int | None


@dataclass(eq=False)
class Doom:
    """Bytes that nothing names any more; `data` is None when their file is gone."""

    digest: str
    size: int
    reason: str
    at: int
    data: bytes | None


class Event(NamedTuple):
    at: int
    action: str
    repository_id: int | None
    repository: str | None
    tag: str | None
    old: str | None
    new: str | None


class State:
    """All that a registry remembers. `repositories` are the live ones, `gone` those in the trash and given up."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.repositories: dict[str, Repository] = {}
        self.gone: list[Repository] = []
        self.blobs: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.trash: dict[int, Entry] = {}
        self.dooms: list[Doom] = []
        self.orphans: dict[str, bytes] = {}
        self.events: list[Event] = []
        self._repository_ids, self._entry_ids, self._push_ids = count(1), count(1), count(1)

    @property
    def every(self) -> list[Repository]:
        return [*self.repositories.values(), *self.gone]

    def everything(self) -> Iterator[tuple[Repository, str, Held]]:
        for repository in self.every:
            for digest, held in repository.manifests.items():
                yield repository, digest, held

    def _made(self, name: str) -> Repository:
        if name not in self.repositories:
            self.repositories[name] = Repository(next(self._repository_ids), name)
        return self.repositories[name]

    def _named(self, name: str) -> Repository:
        if name not in self.repositories:
            raise Refused("NameUnknown")
        return self.repositories[name]

    def holds(self, name: str, digest: str) -> bool:
        """Whether a repository holds the blob, as far as anybody knows."""
        return name in self.repositories and digest in self.repositories[name].blobs and not self.blobs[digest].hidden

    def _find(self, name: str, reference: str) -> tuple[str, Held]:
        if name not in self.repositories:
            raise Refusal(404, "NAME_UNKNOWN")
        repository = self.repositories[name]
        digest = reference if ":" in reference else repository.tags.get(reference, "")
        held = repository.live(digest)
        if held is None:
            raise Refusal(404, "MANIFEST_UNKNOWN")
        return digest, held

    def _keep(self, repository: Repository, digest: str, data: bytes) -> None:
        """Store bytes, unless good ones seem to be here; a push that finds bad ones brings its own."""
        stored = self.blobs.get(digest)
        if stored is not None and (stored.hidden or stored.damage in ("lost", "short")):
            self.dooms.append(Doom(digest, len(data), "replaced", self.now, stored.on_disk))
            stored = None
        if stored is None:
            self.blobs[digest] = Stored(data, self.now)
        self._link(repository, digest)

    def _link(self, repository: Repository, digest: str) -> None:
        """A lease is never shortened (P9)."""
        link = repository.links.setdefault(digest, Link(0))
        link.keep_until, link.hidden = max(link.keep_until, self.now + LEASE), False

    def _size(self, repository: Repository, part: Part) -> int | None:
        known = part.digest in repository.blobs and not self.blobs[part.digest].hidden
        return len(self.blobs[part.digest].data) if known else None

    def _point(self, action: str, repository: Repository, tag: str, digest: str) -> None:
        old = repository.tags.get(tag)
        if old != digest:
            repository.tags[tag] = digest
            self._event(action, repository, tag, old, digest)

    def _put_in_trash(
        self,
        kind: Kind,
        repository: Repository,
        digest: str | None = None,
        tag: str | None = None,
        act: int | None = None,
    ) -> int:
        entry = Entry(next(self._entry_ids), kind, repository, digest, tag, self.now, act)
        self.trash[entry.id] = entry
        return entry.id

    def _forget_manifest(self, repository: Repository, digest: str) -> None:
        """It lives again."""
        self._forget(
            lambda entry: entry.kind == "manifest" and (entry.repository, entry.digest) == (repository, digest)
        )

    def _forget(self, over: Callable[[Entry], bool]) -> None:
        self.trash = {key: entry for key, entry in self.trash.items() if not over(entry)}

    def _event(
        self,
        action: str,
        repository: Repository | None = None,
        tag: str | None = None,
        old: str | None = None,
        new: str | None = None,
        name: str | None = None,
    ) -> None:
        """`name`: the one that a repository had then, where it has another by now."""
        if repository is None:
            self.events.append(Event(self.now, action, None, None, None, None, None))
            return
        self.events.append(Event(self.now, action, repository.id, name or repository.name, tag, old, new))
        if tag is not None and action != "trash.purge":
            repository.moves.append(Move(self.now, action, tag, old, new))
