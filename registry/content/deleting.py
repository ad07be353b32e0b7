"""Deleting tags and manifests: hidden at once, bytes stay until the garbage collection may take them."""

from sqlalchemy import Connection

from registry.content.conditions import Conditions
from registry.domain.access import Action, Caller, Decide
from registry.domain.errors import ManifestUnknown, NameUnknown, Unsupported
from registry.domain.names import Digest, RepositoryName, Tag
from registry.metadata import blobs, events, manifests, repositories, tags
from registry.metadata.database import on_full_disk
from registry.metadata.events import Scene

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
    scene = _scene(connection, name, caller)
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
    """Hide the manifest and remove its tags; raise also Unsupported while a live index needs it."""
    scene = _scene(connection, name, caller)
    repository_id = scene.repository_id
    if not manifests.is_live(connection, repository_id, digest):
        raise ManifestUnknown()
    conditions.check(digest)
    parents = manifests.live_parents(connection, repository_id, digest, PARENTS_NAMED)
    if parents:
        raise Unsupported(f"the manifest is part of index {', '.join(parents)}; delete that first")
    for tag in tags.names_of(connection, repository_id, digest):
        _remove(connection, scene, tag, digest, decide)
    blobs.renew_links_of(connection, repository_id, digest, lease)
    manifests.hide(connection, repository_id, digest)
    events.append(connection, scene, "manifest.delete", old=digest)


def _scene(connection: Connection, name: RepositoryName, caller: Caller) -> Scene:
    repository_id = repositories.find(connection, name)
    if repository_id is None:
        raise NameUnknown()
    return Scene(caller, repository_id, name)


def _remove(connection: Connection, scene: Scene, tag: Tag, digest: Digest, decide: Decide) -> None:
    refusal = decide(scene.caller.identity, Action.DELETE, scene.repository, tag, digest)
    if refusal is not None:
        raise refusal
    tags.delete_tag(connection, scene.repository_id, tag)
    events.append(connection, scene, "tag.delete", tag=tag, old=digest)
