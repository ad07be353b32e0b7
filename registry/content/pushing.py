"""Storing a manifest: one transaction for payload, refs, tags and events (reliability c-7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from registry.content.conditions import Conditions
from registry.domain.access import Action, Caller, Decide
from registry.domain.descriptor import Descriptor
from registry.domain.errors import ManifestBlobUnknown, ManifestInvalid
from registry.domain.manifest import NESTING_LIMIT, Manifest
from registry.domain.names import Digest, Reference, RepositoryName, Tag
from registry.metadata import blobs, events, manifests, repositories, tags, trash
from registry.metadata.events import Scene
from registry.metadata.manifests import Child, Placement, Ref
from registry.metadata.tags import Pointed
from storage.crashpoints import crash_point


@dataclass(frozen=True, slots=True)
class Push:
    """A manifest that is to be stored and tagged; `content_type` as sent, "" when it was not."""

    repository: RepositoryName
    reference: Reference
    payload: bytes
    content_type: str
    tags: Sequence[Tag]
    conditions: Conditions


def put(
    connection: Connection,
    push: Push,
    manifest: Manifest,
    platform: str | None,
    caller: Caller,
    lease: int,
    decide: Decide,
) -> None:
    """Raise ManifestBlobUnknown, ManifestInvalid, Denied or PreconditionFailed; then nothing has changed."""
    repository_id = repositories.get_or_create(connection, push.repository)
    scene = Scene(caller, repository_id, push.repository)
    is_new = not manifests.is_live(connection, repository_id, manifest.digest)
    if not push.tags:
        push.conditions.check(None if is_new else manifest.digest)
    refs, depth = _resolve(connection, repository_id, manifest)
    manifests.put(connection, manifest, refs, Placement(repository_id, platform, depth, lease))
    crash_point("manifest.stored")
    if is_new:
        trash.forget_manifests(connection, repository_id, [manifest.digest])
        events.append(connection, scene, "manifest.push", new=manifest.digest)
    for tag in push.tags:
        pointed = tags.find(connection, repository_id, tag)
        push.conditions.check(pointed.digest if pointed else None)
        _point(connection, scene, tag, pointed, manifest.digest, decide)
        crash_point("manifest.tagged")


def _point(
    connection: Connection,
    scene: Scene,
    tag: Tag,
    pointed: Pointed | None,
    digest: Digest,
    decide: Decide,
) -> None:
    """Create or move a tag: which of both it is, is known only here (CVE-2026-31801)."""
    if pointed:
        if pointed.digest == digest:
            return
        refusal = decide(scene.caller.identity, Action.OVERWRITE, scene.repository, tag, pointed.digest)
        if refusal is not None:
            raise refusal
    tags.point(connection, scene.repository_id, tag, digest, scene.caller.identity.name, is_new=pointed is None)
    events.append(connection, scene, "tag.point", tag=tag, old=pointed.digest if pointed else None, new=digest)


def _resolve(connection: Connection, repository_id: int, manifest: Manifest) -> tuple[list[Ref], int]:
    """What each descriptor is in this repository, and how deep the indexes below are nested."""
    wanted = {descriptor.digest for descriptor in manifest.references}
    sizes = blobs.sizes_in(connection, repository_id, wanted)
    children = manifests.children_in(connection, repository_id, {descriptor.digest for descriptor in manifest.children})
    refs = [*_content_refs(manifest, sizes), *_child_refs(manifest, sizes, children)]
    missing = [ref.descriptor.digest for ref in refs if ref.kind == "missing"]
    if missing:
        raise ManifestBlobUnknown(list(dict.fromkeys(missing)))
    depth = 1 + max((child.depth for child in children.values()), default=-1) if manifest.is_index else 0
    if depth > NESTING_LIMIT:
        raise ManifestInvalid(f"indexes are nested deeper than {NESTING_LIMIT} levels")
    return refs, depth


def _content_refs(manifest: Manifest, sizes: Mapping[str, int]) -> list[Ref]:
    roles = [("config", manifest.config)] if manifest.config else []
    roles += [("layer", layer) for layer in manifest.layers]
    return [_blob_ref(role, descriptor, sizes) for role, descriptor in roles if descriptor]


def _child_refs(manifest: Manifest, sizes: Mapping[str, int], children: Mapping[str, Child]) -> list[Ref]:
    """An index may name manifests, and blobs: BuildKit's caches are such (spec page, section 6)."""
    refs = []
    for descriptor in manifest.children:
        child = children.get(descriptor.digest)
        if child is None:
            refs.append(_blob_ref("child", descriptor, sizes))
        else:
            _check_size(descriptor, child.size)
            refs.append(Ref(descriptor, "child", is_manifest=True))
    return refs


def _blob_ref(role: str, descriptor: Descriptor, sizes: Mapping[str, int]) -> Ref:
    size = sizes.get(descriptor.digest)
    if size is None:
        return Ref(descriptor, "foreign" if descriptor.is_foreign else "missing")
    _check_size(descriptor, size)
    return Ref(descriptor, role)


def _check_size(descriptor: Descriptor, size: int) -> None:
    if descriptor.size != size:
        raise ManifestInvalid(f"{descriptor.digest} has {size} bytes, not {descriptor.size}")
