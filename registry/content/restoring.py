"""Bringing back what is in the trash, as far as nothing newer stands in its place."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from registry.domain.access import Action, Caller, Decide
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.problems import Conflict, Missing
from registry.metadata import events, hiding, merging, repositories, tags, trash
from registry.metadata.database import batches
from registry.metadata.events import Scene
from registry.metadata.trash import Entry
from storage.crashpoints import crash_point


@dataclass(frozen=True, slots=True)
class Kept:
    """A tag that stayed what it is by now; what it would have come back to is there, without the tag."""

    tag: Tag
    kept: Digest
    restored: Digest


@dataclass(slots=True)
class Restored:
    """What came back, in numbers; `conflicts` are the tags that did not."""

    repository: RepositoryName
    manifests: int = 0
    tags: int = 0
    conflicts: list[Kept] = field(default_factory=list)


def restore(connection: Connection, entry_id: int, caller: Caller, decide: Decide, new_name: str | None) -> Restored:
    """Bring an entry back with what was deleted together with it; raise Missing, Conflict or Denied.

    With `new_name` a repository or a tag comes back under that name.
    """
    entry = find(connection, entry_id)
    match entry.kind:
        case "repository":
            return _repository(connection, entry, caller, decide, new_name)
        case "manifest":
            if new_name is not None:
                raise Conflict("a manifest has no other name than its digest")
            return _manifest(connection, entry, caller, decide)
        case "tag":
            return _tag(connection, entry, caller, decide, new_name)


def find(connection: Connection, entry_id: int) -> Entry:
    """Raise Missing."""
    entry = trash.find(connection, entry_id)
    if entry is None:
        raise Missing(f"there is nothing under {entry_id} in the trash; it may have expired, or come back")
    return entry


def revive(connection: Connection, scene: Scene, digest: Digest) -> int:
    """Bring a hidden manifest back with all that it needs; return how many manifests came back."""
    return _revive(connection, scene, [digest])


def _revive(connection: Connection, scene: Scene, digests: Sequence[Digest]) -> int:
    """Level by level: an index may name ten thousand."""
    revived, level = 0, list(digests)
    while level:
        below: set[Digest] = set()
        for some in batches(level):
            hiding.reveal(connection, scene.repository_id, some)
            crash_point("manifest.revived")
            trash.forget_manifests(connection, scene.repository_id, some)
            for digest in some:
                events.append(connection, scene, "manifest.restore", new=digest)
        for some in batches(level):
            below.update(hiding.hidden_children(connection, scene.repository_id, some))
        revived += len(level)
        level = sorted(below)
    return revived


def _repository(connection: Connection, entry: Entry, caller: Caller, decide: Decide, new_name: str | None) -> Restored:
    name = entry.repository if new_name is None else RepositoryName.parse(new_name)
    check_move(decide, caller, entry.repository, name)
    newer = repositories.find(connection, name)
    if newer is None:
        repositories.reveal(connection, entry.repository_id, name)
        restored = Restored(name, *merging.counts(connection, entry.repository_id))
    elif new_name is not None:
        raise Conflict(f"there is a repository {name} already; choose another name")
    else:
        restored = _merge(connection, entry, Scene(caller, newer, name))
    scene = Scene(caller, newer or entry.repository_id, name)
    details = {"entry": entry.id, "from": entry.repository, "merged": newer is not None}
    events.append(connection, scene, "repository.restore", details=details)
    trash.remove(connection, entry.id)
    return restored


def _merge(connection: Connection, entry: Entry, newer: Scene) -> Restored:
    """Into the repository that has taken the name meanwhile; its tags stay what they are."""
    conflicts = merging.conflicts(connection, entry.repository_id, newer.repository_id)
    counts = merging.merge(connection, entry.repository_id, newer)
    crash_point("repository.merged")
    repositories.give_up(connection, entry.repository_id)
    return Restored(newer.repository, *counts, [Kept(*conflict) for conflict in conflicts])


def _manifest(connection: Connection, entry: Entry, caller: Caller, decide: Decide) -> Restored:
    scene = _scene(entry, caller, decide)
    restored = Restored(entry.repository, manifests=revive(connection, scene, _digest(entry)))
    for some in batches(trash.manifests_of(connection, entry.id)):
        hidden = hiding.hidden_of(connection, scene.repository_id, some)
        restored.manifests += _revive(connection, scene, hidden)
    restored.conflicts = [Kept(*taken) for taken in trash.taken_tags(connection, entry.id)]
    restored.tags = _make_tags(connection, scene, entry.id)
    return restored


def _make_tags(connection: Connection, scene: Scene, act: int) -> int:
    """All that a deletion took along and whose names are free: there may be tens of thousands."""
    free = trash.tags_of(act)
    events.append_each(connection, scene, "tag.restore", ("tag", "new_digest"), free)
    made = tags.make_each(connection, scene.repository_id, free, scene.caller.identity.name)
    trash.forget_tags(connection, act)
    return made


def _tag(connection: Connection, entry: Entry, caller: Caller, decide: Decide, new_name: str | None) -> Restored:
    scene = _scene(entry, caller, decide)
    digest, restored = _digest(entry), Restored(entry.repository)
    if hiding.hidden_of(connection, scene.repository_id, [digest]):
        restored.manifests = revive(connection, scene, digest)
    _point(connection, scene, entry, entry.tag if new_name is None else Tag.parse(new_name), restored)
    return restored


def _point(connection: Connection, scene: Scene, entry: Entry, tag: Tag | None, restored: Restored) -> None:
    """Make the tag again; one that is there stays, and the entry too when it points elsewhere."""
    assert tag is not None
    digest = _digest(entry)
    pointed = tags.find(connection, scene.repository_id, tag)
    if pointed is not None and pointed.digest != digest:
        restored.conflicts.append(Kept(tag, pointed.digest, digest))
        return
    if pointed is None:
        by = scene.caller.identity.name
        tags.point(connection, scene.repository_id, tag, digest, by, is_new=True)
        events.append(connection, scene, "tag.restore", tag=tag, new=digest)
        restored.tags += 1
    trash.remove(connection, entry.id)


def _scene(entry: Entry, caller: Caller, decide: Decide) -> Scene:
    """Where a manifest or a tag comes back to; raise Conflict while that is in the trash itself."""
    _check(decide(caller.identity, Action.PUSH, entry.repository, None, None))
    if not entry.is_live:
        raise Conflict(f"the repository {entry.repository} is in the trash itself; restore that first")
    return Scene(caller, entry.repository_id, entry.repository)


def _digest(entry: Entry) -> Digest:
    assert entry.digest is not None
    return entry.digest


def check_move(decide: Decide, caller: Caller, name: RepositoryName, new_name: RepositoryName) -> None:
    """Raise the refusal for content that gets another name: who may pull there would see it, as after a mount."""
    if new_name != name:
        _check(decide(caller.identity, Action.PULL, name, None, None))
    _check(decide(caller.identity, Action.PUSH, new_name, None, None))


def _check(refusal: Exception | None) -> None:
    if refusal is not None:
        raise refusal
