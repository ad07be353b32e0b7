"""The database and the folder against the model, past all of the product's code."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tests.model.model import Model
from tests.model.state import Held, Repository

Row: TypeAlias = tuple[Any, ...]

REPOSITORIES = "SELECT id, name, deleted_at IS NOT NULL, purged_at IS NOT NULL FROM repository"
LINKS = "SELECT repository_id, digest, keep_until, deleted_at IS NOT NULL FROM link"
MANIFESTS = "SELECT repository_id, digest, keep_until, deleted_at IS NOT NULL, payload FROM manifest"
REFS = """
SELECT DISTINCT repository_id, parent, digest, CASE WHEN manifest_digest IS NULL THEN 'blob' ELSE 'manifest' END
FROM ref WHERE link_digest IS NOT NULL OR manifest_digest IS NOT NULL
"""
TAGS = "SELECT repository_id, name, digest FROM tag"
TRASH = "SELECT id, kind, repository_id, digest, tag, deleted_at, act FROM trash"
ALONG = "SELECT id, kind, repository_id, digest, tag, act FROM trash WHERE act IS NOT NULL AND id > ?"
BLOBS = "SELECT digest, size, state, verified_at FROM blob"
DOOMED = "SELECT key, size, doomed_at, reason FROM doomed"
UPLOADS = """
SELECT repository_id, expires_at, finished_digest, CASE WHEN finished_digest IS NULL THEN "offset" END FROM upload
"""
EVENTS = "SELECT at, action, repository_id, repository, tag, old_digest, new_digest FROM event WHERE id > ? ORDER BY id"


class Rows:
    """A connection of its own: it sees what is committed."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._connection = sqlite3.connect(folder / "registry.db")
        self._told, self._last_id = 0, 0

    def query(self, statement: str, *values: object) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()

    def close(self) -> None:
        self._connection.close()

    def check(self, model: Model) -> None:
        """What is stored and remembered is what was done, once."""
        self._adopt_ids(model)
        for statement, expected in EXPECTED.items():
            same(statement, self.query(statement), expected(model))
        dooms = [(doom.digest, doom.size, doom.at, doom.reason) for doom in model.dooms]
        same(DOOMED, [(digest_in(key), *row) for key, *row in self.query(DOOMED)], dooms)
        self._check_events(model)

    def _adopt_ids(self, model: Model) -> None:
        """What went along went in any order."""
        ids = {row[1:]: row[0] for row in self.query(ALONG, self._last_id)}
        self._last_id = max(ids.values(), default=self._last_id)
        for entry in list(model.trash.values()):
            known = ids.get((entry.kind, entry.repository.id, entry.digest, entry.tag, entry.act))
            if known is not None:
                entry.id = known
        model.trash = {entry.id: entry for entry in sorted(model.trash.values(), key=lambda entry: entry.id)}

    def _check_events(self, model: Model) -> None:
        """In the order of acts; of what one transaction does, the order tells nothing."""
        same(EVENTS, self.query(EVENTS, self._told), model.events[self._told :])
        self._told = len(model.events)

    def check_files(self, model: Model, *, everywhere: bool) -> None:
        """The bytes on disk: of digests that the model knows, or `everywhere`."""
        expected = files_of(model)
        if everywhere:
            folders = {path for algorithm in ("sha256", "sha512") for path in (self._blobs / algorithm).iterdir()}
        else:
            folders = {self._folder(digest) for digest, _ in expected}
        found = [(digest_in(_key(path)), path.read_bytes()) for folder in folders for path in folder.iterdir()]
        same("files", found, expected)

    def file_of(self, digest: str) -> Path:
        ((key,),) = self.query("SELECT key FROM blob WHERE digest = ?", digest)
        return self._blobs / str(key)

    def path_of(self, key: str) -> Path:
        return self._blobs / key

    def left(self) -> Callable[..., bool]:
        """Whether a row is there, as long as nothing is written."""
        keys = {
            *(("repository", row[0]) for row in self.query(REPOSITORIES)),
            *(("link", *row[:2]) for row in self.query(LINKS)),
            *(("manifest", *row[:2]) for row in self.query(MANIFESTS)),
            *(("tag", *row[:2]) for row in self.query(TAGS)),
            *(("trash", row[0]) for row in self.query(TRASH)),
        }
        doomed = Counter(("doomed", digest_in(key), *row) for key, *row in self.query(DOOMED))

        def has(*key: object) -> bool:
            if key[0] != "doomed":
                return key in keys
            doomed[key] -= 1
            return doomed[key] >= 0

        return has

    def files(self, digest: str) -> int:
        """How many hold bytes of a digest."""
        encoded = digest.partition(":")[2]
        return sum(path.name.startswith(encoded) for path in self._folder(digest).iterdir())

    def _folder(self, digest: str) -> Path:
        algorithm, _, encoded = digest.partition(":")
        return self._blobs / algorithm / encoded[:2]


def same(what: str, found: Iterable[Row], expected: Iterable[Row]) -> None:
    """In any order."""
    has, wants = Counter(map(tuple, found)), Counter(map(tuple, expected))
    assert has == wants, f"{what.strip()}\n  too many: {list(has - wants)}\n  missing: {list(wants - has)}"


def digest_in(key: str) -> str:
    algorithm, _, name = key.split("/")
    return f"{algorithm}:{name.partition('.')[0]}"


def files_of(model: Model) -> list[tuple[str, bytes]]:
    """Digest and bytes of each file that should be there."""
    held = [(digest, stored.on_disk) for digest, stored in model.blobs.items()]
    held += [(doom.digest, doom.data) for doom in model.dooms]
    held += [(digest_in(key), data) for key, data in model.orphans.items()]
    return [(digest, data) for digest, data in held if data is not None]


def _key(path: Path) -> str:
    return "/".join(path.parts[-3:])


def _repositories(model: Model) -> list[Row]:
    return [(one.id, one.name, one.deleted, one.given_up) for one in model.every]


def _links(model: Model) -> list[Row]:
    return [(one.id, digest, link.keep_until, link.hidden) for one in model.every for digest, link in one.links.items()]


def _manifests(model: Model) -> list[Row]:
    return [
        (one.id, digest, held.keep_until, not held.live, held.document.payload)
        for one, digest, held in model.everything()
    ]


def _refs(model: Model) -> list[Row]:
    return [(one.id, digest, *need) for one, digest, held in model.everything() for need in held.needs.items()]


def _tags(model: Model) -> list[Row]:
    return [(one.id, tag, digest) for one in model.every for tag, digest in one.tags.items()]


def _trash(model: Model) -> list[Row]:
    return [
        (one.id, one.kind, one.repository.id, one.digest, one.tag, one.deleted_at, one.act)
        for one in model.trash.values()
    ]


def _blobs(model: Model) -> list[Row]:
    return [
        (digest, len(one.data), "quarantined" if one.hidden else "ok", one.verified_at)
        for digest, one in model.blobs.items()
    ]


def _uploads(model: Model) -> list[Row]:
    return [
        (one.repository.id, one.expires, one.finished or None, None if one.finished else len(one.data))
        for one in model.uploads.values()
    ]


EXPECTED: Mapping[str, Callable[[Model], list[Row]]] = {
    REPOSITORIES: _repositories,
    LINKS: _links,
    MANIFESTS: _manifests,
    REFS: _refs,
    TAGS: _tags,
    TRASH: _trash,
    BLOBS: _blobs,
    UPLOADS: _uploads,
}


def check_whole(model: Model) -> None:
    """I1: whatever can be read, or brought back, is whole; and no promise ends before its time (I2)."""
    for repository, digest, held in model.everything():
        for part, kind in held.needs.items():
            _check_part(repository, held, part, kind, f"{digest} in {repository.name} lacks {part}")


def _check_part(repository: Repository, held: Held, part: str, kind: str, story: str) -> None:
    if kind == "manifest":
        assert part in repository.manifests, story
        assert repository.manifests[part].live or not held.live, story
    else:
        assert part in repository.links, story
        assert not (repository.links[part].hidden and held.live), story


def reachable(model: Model) -> set[str]:
    """Digests of blobs that live manifests need: all that should be left when time is over for everything else."""
    found: set[str] = set()
    for repository in model.repositories.values():
        waiting = [digest for digest, held in repository.manifests.items() if held.live]
        seen: set[str] = set()
        while waiting:
            digest = waiting.pop()
            if digest in seen:
                continue
            seen.add(digest)
            for part, kind in repository.manifests[digest].needs.items():
                if kind == "manifest":
                    waiting.append(part)
                else:
                    found.add(part)
    return found
