"""Deleting tags, manifests and repositories: hidden at once, in the trash until the time to restore them is over."""

from collections.abc import Sequence

from sqlalchemy import Connection

from registry.content.conditions import Conditions
from registry.content.scenes import scene_of
from registry.domain.access import Action, Caller, Decide
from registry.domain.errors import ManifestUnknown, Unsupported
from registry.domain.names import Digest, RepositoryName, Tag
from registry.metadata import events, hiding, manifests, repositories, tags, trash, uploads
from registry.metadata.database import batches, on_full_disk
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
    _check(scene, tag, pointed.digest, decide)
    tags.delete_tag(connection, scene.repository_id, tag)
    events.append(connection, scene, "tag.delete", tag=tag, old=pointed.digest)
    trash.put(connection, scene.repository_id, "tag", caller.identity.name, digest=pointed.digest, tag=tag)


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
    for tag in tags.names_of(connection, scene.repository_id, digest):
        _check(scene, tag, digest, decide)
    act = trash.put(connection, scene.repository_id, "manifest", caller.identity.name, digest=digest)
    _hide(connection, scene, [digest], lease)
    _remove_tags(connection, scene, digest, act)
    _take_referrers_along(connection, scene, digest, lease, act)


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
        _check(scene, tag, digest, decide)


def _check(scene: Scene, tag: Tag, digest: Digest, decide: Decide) -> None:
    refusal = decide(scene.caller.identity, Action.DELETE, scene.repository, tag, digest)
    if refusal is not None:
        raise refusal


def _hide(connection: Connection, scene: Scene, digests: Sequence[Digest], lease: int) -> None:
    hiding.hide(connection, scene.repository_id, digests, lease)
    crash_point("manifest.hidden")
    for digest in digests:
        events.append(connection, scene, "manifest.delete", old=digest)


def _remove_tags(connection: Connection, scene: Scene, digest: Digest, act: int) -> None:
    """All of a manifest: there may be tens of thousands."""
    trash.put_tags(connection, scene.repository_id, digest, scene.caller.identity.name, act)
    events.append_each(
        connection, scene, "tag.delete", ("tag", "old_digest"), tags.of_manifest(scene.repository_id, digest)
    )
    tags.delete_of(connection, scene.repository_id, digest)


def _take_referrers_along(connection: Connection, scene: Scene, digest: Digest, lease: int, act: int) -> None:
    subjects = [digest]
    while subjects:
        found: list[Digest] = []
        for some in batches(subjects):
            found += hiding.lone_referrers(connection, scene.repository_id, some)
        for some in batches(found):
            _hide(connection, scene, some, lease)
            trash.put_manifests(connection, scene.repository_id, some, scene.caller.identity.name, act)
        subjects = found
