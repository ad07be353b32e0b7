"""Deleting tags, manifests and repositories: hidden at once, in the trash until the time to restore them is over."""

from sqlalchemy import Connection

from registry.content.conditions import Conditions
from registry.content.scenes import scene_of
from registry.domain.access import Action, Caller, Decide
from registry.domain.errors import ManifestUnknown, Unsupported
from registry.domain.names import Digest, RepositoryName, Tag
from registry.metadata import blobs, events, manifests, repositories, tags, trash, uploads
from registry.metadata.database import on_full_disk
from registry.metadata.events import Scene
from storage.crashpoints import crash_point

PARENTS_NAMED = 5


@on_full_disk
def delete_tag(
    connection: Connection,
    name: RepositoryName,
    tag: Tag,
    conditions: Conditions,
    caller: Caller,
    decide: Decide,
) -> None:
    """Remove the tag alone; raise ManifestUnknown, NameUnknown, Denied or PreconditionFailed."""
    scene = scene_of(connection, name, caller)
    pointed = tags.find(connection, scene.repository_id, tag)
    if pointed is None:
        raise ManifestUnknown("this repository has no such tag")
    conditions.check(pointed.digest)
    _remove(connection, scene, tag, pointed.digest, decide)


@on_full_disk
def delete_manifest(
    connection: Connection,
    name: RepositoryName,
    digest: Digest,
    conditions: Conditions,
    caller: Caller,
    lease: int,
    decide: Decide,
) -> None:
    """Hide the manifest; its tags and untagged referrers go along.

    Raise also Unsupported while a live index needs it.
    """
    scene = scene_of(connection, name, caller)
    if not manifests.is_live(connection, scene.repository_id, digest):
        raise ManifestUnknown()
    conditions.check(digest)
    parents = manifests.live_parents(connection, scene.repository_id, digest, PARENTS_NAMED)
    if parents:
        raise Unsupported(f"the manifest is part of index {', '.join(parents)}; delete that first")
    act = _hide(connection, scene, digest, lease)
    for tag in tags.names_of(connection, scene.repository_id, digest):
        _remove(connection, scene, tag, digest, decide, act)
    subjects = [digest]
    while subjects:
        for referrer in manifests.lone_referrers(connection, scene.repository_id, subjects.pop()):
            _hide(connection, scene, referrer, lease, act)
            subjects.append(referrer)


@on_full_disk
def delete_repository(connection: Connection, name: RepositoryName, caller: Caller, decide: Decide | None) -> int:
    """Hide a repository of any size; return its entry in the trash.

    Raise NameUnknown, and what `decide` says of a tag that must stay; None where there are no such tags.
    """
    scene = scene_of(connection, name, caller)
    if decide is not None:
        check_tags(connection, scene, decide)
    repositories.hide(connection, scene.repository_id)
    crash_point("repository.hidden")
    uploads.end_of_repository(connection, scene.repository_id)
    events.append(connection, scene, "repository.delete")
    return trash.put(connection, scene.repository_id, "repository", caller.identity.name)


def check_tags(connection: Connection, scene: Scene, decide: Decide) -> None:
    """Raise the refusal for the first tag that may not go."""
    for tag, digest in tags.each(connection, scene.repository_id):
        refusal = decide(scene.caller.identity, Action.DELETE, scene.repository, tag, digest)
        if refusal is not None:
            raise refusal


def _hide(connection: Connection, scene: Scene, digest: Digest, lease: int, act: int | None = None) -> int:
    blobs.renew_links_of(connection, scene.repository_id, digest, lease)
    manifests.hide(connection, scene.repository_id, digest)
    crash_point("manifest.hidden")
    events.append(connection, scene, "manifest.delete", old=digest)
    by = scene.caller.identity.name
    return trash.put(connection, scene.repository_id, "manifest", by, digest=digest, act=act)


def _remove(
    connection: Connection, scene: Scene, tag: Tag, digest: Digest, decide: Decide, act: int | None = None
) -> None:
    refusal = decide(scene.caller.identity, Action.DELETE, scene.repository, tag, digest)
    if refusal is not None:
        raise refusal
    tags.delete_tag(connection, scene.repository_id, tag)
    events.append(connection, scene, "tag.delete", tag=tag, old=digest)
    by = scene.caller.identity.name
    trash.put(connection, scene.repository_id, "tag", by, digest=digest, tag=tag, act=act)
