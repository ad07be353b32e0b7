"""Deletes, the trash, and the ways back out of it, as docs and design have them (P3)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tests.model.answers import Conditions, Expected, Refusal, check_movable
from tests.model.state import LEASE, Entry, Refused, Repository, State


class Kept(NamedTuple):
    """A tag that stayed what it is by now."""

    tag: str
    kept: str
    restored: str


class Restored(NamedTuple):
    repository: str
    manifests: int
    tags: int
    conflicts: tuple[Kept, ...] = ()


class Trashed(State):
    """Each method but those that begin with _ is one act."""

    def delete_tag(self, name: str, tag: str, conditions: Conditions) -> Expected:
        digest, _ = self._find(name, tag)
        conditions.check(digest)
        check_movable(tag)
        self._remove_tag(self.repositories[name], tag)
        return Expected(202)

    def delete_manifest(self, name: str, digest: str, conditions: Conditions) -> Expected:
        """Its tags and untagged referrers go along."""
        self._find(name, digest)
        conditions.check(digest)
        repository = self.repositories[name]
        if any(parent.live for parent in repository.parents(digest)):
            raise Refusal(405, "UNSUPPORTED")
        tags = sorted((tag for tag, pointed in repository.tags.items() if pointed == digest), key=str.encode)
        for tag in tags:
            check_movable(tag)
        act = self._hide(repository, digest)
        for tag in tags:
            self._remove_tag(repository, tag, act)
        subjects = [digest]
        while subjects:
            subjects = [one for subject in sorted(subjects) for one in self._lone_referrers(repository, subject)]
            for referrer in subjects:
                self._hide(repository, referrer, act)
        return Expected(202)

    def delete_blob(self, name: str, digest: str) -> Expected:
        repository = self.repositories.get(name)
        if repository is None:
            raise Refusal(404, "BLOB_UNKNOWN")
        if any(held.live and held.needs.get(digest) == "blob" for held in repository.manifests.values()):
            raise Refusal(405, "UNSUPPORTED")
        if digest not in repository.blobs:
            raise Refusal(404, "BLOB_UNKNOWN")
        repository.links[digest].hidden = True
        self._event("blob.delete", repository, old=digest)
        return Expected(202)

    def delete_repository(self, name: str) -> int:
        repository = self._named(name)
        _check_movable(repository)
        self._leave(repository)
        repository.deleted = True
        self.gone.append(repository)
        self._event("repository.delete", repository)
        repository.comings.append((self.now, False))
        return self._put_in_trash("repository", repository)

    def rename(self, name: str, new_name: str) -> None:
        repository = self._named(name)
        if new_name in self.repositories:
            raise Refused("Conflict")
        _check_movable(repository)
        self._leave(repository)
        repository.name = new_name
        self.repositories[new_name] = repository
        self._event("repository.rename", repository, name=name)

    def listed(self, name: str | None) -> list[int]:
        """Newest first; what was taken along only when the entry that took it is gone."""
        return [
            entry.id
            for entry in reversed(self.trash.values())
            if (entry.act is None or entry.act not in self.trash) and name in (None, entry.repository.name)
            if not entry.repository.given_up
        ]

    def restore(self, entry_id: int, new_name: str | None) -> Restored:
        entry = self._entry(entry_id)
        if entry.kind == "repository":
            return self._restore_repository(entry, new_name)
        if entry.kind == "manifest" and new_name is not None:
            raise Refused("Conflict")
        if entry.repository.deleted:
            raise Refused("Conflict")
        return self._restore_tag(entry, new_name) if entry.kind == "tag" else self._restore_manifest(entry)

    def purge(self, entry_id: int) -> None:
        entry = self._entry(entry_id)
        along = [one for one in self.trash.values() if one.act == entry_id]
        if not self._give_up(entry):
            raise Refused("Conflict")
        for one in along:
            if one.id in self.trash:
                self._give_up(one)
        self._event("trash.purge", entry.repository, entry.tag, entry.digest)

    def _entry(self, entry_id: int) -> Entry:
        if entry_id not in self.trash or self.trash[entry_id].repository.given_up:
            raise Refused("Missing")
        return self.trash[entry_id]

    def _leave(self, repository: Repository) -> None:
        """Nobody finds it under its name; its uploads end with the next sweep."""
        del self.repositories[repository.name]
        for upload in self.uploads.values():
            if upload.repository is repository:
                upload.expires = 0

    def _hide(self, repository: Repository, digest: str, act: int | None = None) -> int:
        """What it names gets a fresh lease (P9)."""
        held = repository.manifests[digest]
        held.live = False
        for part, kind in held.needs.items():
            if kind == "blob":
                link = repository.links[part]
                link.keep_until = max(link.keep_until, self.now + LEASE)
        self._event("manifest.delete", repository, old=digest)
        return self._put_in_trash("manifest", repository, digest, act=act)

    def _remove_tag(self, repository: Repository, tag: str, act: int | None = None) -> None:
        digest = repository.tags.pop(tag)
        self._event("tag.delete", repository, tag, digest)
        self._put_in_trash("tag", repository, digest, tag, act)

    def _lone_referrers(self, repository: Repository, subject: str) -> Sequence[str]:
        return [
            digest
            for digest, held in sorted(repository.manifests.items())
            if held.live and held.document.subject == subject and digest not in repository.tags.values()
            if not any(parent.live for parent in repository.parents(digest))
        ]

    def _revive(self, repository: Repository, digest: str) -> int:
        """Bring it back with all that it needs; how many manifests came back."""
        held = repository.manifests[digest]
        if held.live:
            return 0
        held.live = True
        self._forget_manifest(repository, digest)
        self._event("manifest.restore", repository, new=digest)
        revived = 1
        for part, kind in held.needs.items():
            if kind == "manifest":
                revived += self._revive(repository, part)
            else:
                repository.links[part].hidden = False
        return revived

    def _restore_manifest(self, entry: Entry) -> Restored:
        repository, along = entry.repository, [one for one in self.trash.values() if one.act == entry.id]
        manifests, tags, conflicts = self._revive(repository, _digest(entry)), 0, list[Kept]()
        for one in along:
            if one.kind == "manifest":
                manifests += self._revive(repository, _digest(one))
            else:
                made, kept = self._restore_pointer(one, one.tag or "")
                tags += made
                conflicts += kept
        return Restored(repository.name, manifests, tags, tuple(conflicts))

    def _restore_tag(self, entry: Entry, new_name: str | None) -> Restored:
        manifests = self._revive(entry.repository, _digest(entry))
        made, conflicts = self._restore_pointer(entry, new_name or entry.tag or "")
        return Restored(entry.repository.name, manifests, made, tuple(conflicts))

    def _restore_pointer(self, entry: Entry, tag: str) -> tuple[int, list[Kept]]:
        """A newer tag stays, and then the entry too."""
        repository, digest = entry.repository, _digest(entry)
        pointed = repository.tags.get(tag)
        if pointed not in (None, digest):
            return 0, [Kept(tag, str(pointed), digest)]
        self._point("tag.restore", repository, tag, digest)
        del self.trash[entry.id]
        return int(pointed is None), []

    def _restore_repository(self, entry: Entry, new_name: str | None) -> Restored:
        repository, name = entry.repository, new_name or entry.repository.name
        newer = self.repositories.get(name)
        if newer is not None and new_name is not None:
            raise Refused("Conflict")
        del self.trash[entry.id]
        if newer is not None:
            restored = self._merge(repository, newer)
        else:
            self.gone.remove(repository)
            repository.deleted, repository.name = False, name
            self.repositories[name] = repository
            live = sum(held.live for held in repository.manifests.values())
            restored = Restored(name, live, len(repository.tags))
        self._event("repository.restore", newer or repository)
        (newer or repository).comings.append((self.now, True))
        return restored

    def _merge(self, old: Repository, newer: Repository) -> Restored:
        """The newer one gets all that the old one had, in the trash or not; what it has itself stays."""
        for digest, link in old.links.items():
            mine = newer.links.setdefault(digest, replace(link))
            if not link.hidden:
                mine.keep_until, mine.hidden = max(mine.keep_until, link.keep_until), False
        came = [digest for digest, held in old.manifests.items() if held.live and newer.live(digest) is None]
        for digest, held in old.manifests.items():
            if digest in came or digest not in newer.manifests:
                mine_until = newer.manifests[digest].keep_until if digest in newer.manifests else held.keep_until
                newer.manifests[digest] = replace(held, keep_until=mine_until)
        self._move_entries(old, newer)
        came_tags = sorted(set(old.tags) - set(newer.tags))
        conflicts = [
            Kept(tag, kept, old.tags[tag]) for tag, kept in newer.tags.items() if old.tags.get(tag, kept) != kept
        ]
        for tag in came_tags:
            self._point("tag.restore", newer, tag, old.tags[tag])
        old.given_up = True
        return Restored(newer.name, len(came), len(came_tags), tuple(sorted(conflicts)))

    def _move_entries(self, old: Repository, newer: Repository) -> None:
        """Of two entries of one manifest the later stays: it must be restorable for as long as that says."""
        for entry in self.trash.values():
            if entry.repository is old:
                entry.repository = newer
        last = {entry.digest: entry.id for entry in self.trash.values() if _of_manifest(entry, newer)}
        self._forget(
            lambda entry: (
                _of_manifest(entry, newer)
                and (newer.live(_digest(entry)) is not None or entry.id != last[entry.digest])
            )
        )

    def _give_up(self, entry: Entry) -> bool:
        """The end of an entry and of what is behind it; False while an index in the trash needs it."""
        repository = entry.repository
        if entry.kind == "manifest" and repository.hidden(_digest(entry)):
            if repository.parents(_digest(entry)):
                return False
            self._remove_manifest(repository, _digest(entry))
        if entry.kind == "repository":
            repository.given_up = True
        self.trash.pop(entry.id, None)
        return True

    def _remove_manifest(self, repository: Repository, digest: str) -> None:
        del repository.manifests[digest]
        self._forget(lambda entry: (entry.repository, entry.digest) == (repository, digest))


def _of_manifest(entry: Entry, repository: Repository) -> bool:
    return entry.kind == "manifest" and entry.repository is repository


def _check_movable(repository: Repository) -> None:
    """Tags that may neither move nor go keep their repository where it is."""
    try:
        for tag in repository.tags:
            check_movable(tag)
    except Refusal:
        raise Refused("Denied") from None


def _digest(entry: Entry) -> str:
    assert entry.digest is not None
    return entry.digest
