"""What nothing needs any more, and bytes that are not what they should be."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from tests.model.state import DAY, DOOMED_KEEP, TRASH_KEEP, Doom, Refused, Repository, Stored
from tests.model.trashed import Trashed

SCRUB_INTERVAL = 30 * DAY
ORPHAN_AGE = 2 * DAY

# Whether a row is still there: after a run that was stopped, only the database knows how far it came
Left: TypeAlias = Callable[..., bool]


class Freed(NamedTuple):
    """What a collection took away."""

    rows: int
    links: int
    blobs: int
    doomed_bytes: int
    files: int
    freed_bytes: int


class Checked(NamedTuple):
    digest: str
    wrong: str
    released: bool


def nothing_left(*key: object) -> bool:
    return False


class Garbage(Trashed):
    def collect(self, left: Left = nothing_left) -> Freed:
        """All may go whose time is over and that nothing needs; what is `left` of it stays."""
        self._expire_trash(left)
        rows = sum(self._empty(repository, left) for repository in list(self.gone) if repository.given_up)
        links = self._remove_links(left)
        unused = self._remove_blobs()
        freed = [doom for doom in self.dooms if doom.at < self.now - DOOMED_KEEP and not left("doomed", *key_of(doom))]
        self.dooms = [doom for doom in self.dooms if doom not in freed]
        self.dooms += unused
        return Freed(
            rows, links, len(unused), sum(doom.size for doom in unused), len(freed), sum(doom.size for doom in freed)
        )

    def sweep(self, old: Iterable[str]) -> int:
        """Bytes of these keys are in no row and old."""
        swept = list(old)
        for key in swept:
            data = self.orphans.pop(key)
            digest = f"{key[:6]}:{key[10:].partition('.')[0]}"
            self.dooms.append(Doom(digest, len(data), "orphan", self.now, data))
        return len(swept)

    @property
    def due_for_scrub(self) -> list[str]:
        return [digest for digest, one in self.blobs.items() if one.verified_at < self.now - SCRUB_INTERVAL]

    def scrub(self) -> None:
        """Look at all that nobody has looked at for long."""
        for digest in self.due_for_scrub:
            self._look(digest)

    def verify_all(self) -> list[Checked]:
        """But not at what was pushed this moment."""
        return self._look_at(self.blobs, self.now)

    def verify_repository(self, name: str) -> list[Checked]:
        """Hidden links count: they can come back."""
        if name not in self.repositories:
            raise Refused("Missing")
        return self._look_at(self.repositories[name].links, self.now)

    def verify(self, digest: str) -> list[Checked]:
        if digest not in self.blobs:
            raise Refused("Missing")
        return [self._look(digest)]

    def put_first(self, digest: str) -> None:
        if digest not in self.blobs:
            raise Refused("Missing")
        self.blobs[digest].verified_at = 0
        self._event("blob.verify")

    @property
    def intact(self) -> list[str]:
        return sorted(digest for digest, stored in self.blobs.items() if not stored.damage)

    def notice(self, stored: Stored) -> None:
        """Its bytes were found wrong."""
        if not stored.hidden:
            self._event("blob.quarantine")
            stored.verified_at = self.now
        stored.hidden = True

    def _look_at(self, digests: Iterable[str], before: int) -> list[Checked]:
        return sorted(self._look(digest) for digest in digests if self.blobs[digest].verified_at < before)

    def _look(self, digest: str) -> Checked:
        stored = self.blobs[digest]
        if stored.damage:
            self.notice(stored)
            stored.verified_at = self.now
            return Checked(digest, "missing" if stored.damage == "lost" else "corrupt", released=False)
        if stored.hidden:
            self._event("blob.release")
        released, stored.hidden, stored.verified_at = stored.hidden, False, self.now
        return Checked(digest, "", released)

    def _expire_trash(self, left: Left) -> None:
        before = self.now - TRASH_KEEP
        due = [one for one in self.trash.values() if one.deleted_at < before and not one.repository.given_up]
        for entry in sorted(due, key=lambda entry: (entry.deleted_at, entry.id)):
            if entry.id in self.trash and not left("trash", entry.id):
                self._give_up(entry)

    def _empty(self, repository: Repository, left: Left) -> int:
        """How many rows of a repository that can't come back went."""
        tags = [tag for tag in repository.tags if not left("tag", repository.id, tag)]
        entries = [
            key for key, entry in self.trash.items() if entry.repository is repository and not left("trash", key)
        ]
        manifests = [digest for digest in repository.manifests if not left("manifest", repository.id, digest)]
        for tag in tags:
            del repository.tags[tag]
        self._forget(lambda entry: entry.id in entries)
        for digest in manifests:
            self._remove_manifest(repository, digest)
        return len(tags) + len(entries) + len(manifests) + self._remove_empty(repository, left)

    def _remove_empty(self, repository: Repository, left: Left) -> int:
        """The last id that was given stays, or it would be given again, and with it the past."""
        used_by = [one.repository for one in self.uploads.values()] + [one.repository for one in self.trash.values()]
        used = repository in used_by or any((repository.links, repository.manifests, repository.tags))
        if used or repository.id == max(one.id for one in self.every) or left("repository", repository.id):
            return 0
        self.gone.remove(repository)
        return 1

    def _remove_links(self, left: Left) -> int:
        removed = 0
        for repository in self.every:
            over = [
                digest
                for digest, link in repository.links.items()
                if link.keep_until <= self.now and not repository.needed(digest)
                if not left("link", repository.id, digest)
            ]
            for digest in over:
                del repository.links[digest]
            removed += len(over)
        return removed

    def _remove_blobs(self) -> list[Doom]:
        linked = {digest for repository in self.every for digest in repository.links}
        return [
            Doom(digest, len(stored.data), "unused", self.now, stored.on_disk)
            for digest in set(self.blobs) - linked
            if (stored := self.blobs.pop(digest))
        ]


def key_of(doom: Doom) -> tuple[str, int, int, str]:
    """What tells one from most others: keys are opaque."""
    return doom.digest, doom.size, doom.at, doom.reason
