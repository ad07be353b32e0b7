"""Manifests: their payloads, byte for byte, and the refs that tie them to what they need."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from registry.domain.descriptor import Descriptor
from registry.domain.manifest import Manifest
from registry.domain.names import Digest, RepositoryName, Tag
from registry.metadata import blobs
from registry.metadata.columns import later_of, now
from registry.metadata.database import Prepared, batches, by_key
from registry.metadata.models import manifest, ref, repository, tag


class StoredManifest(NamedTuple):
    digest: Digest
    media_type: str
    size: int
    payload: bytes


class StoredHead(NamedTuple):
    """`left`: milliseconds until its lease is over."""

    digest: Digest
    media_type: str
    size: int
    left: int


class Child(NamedTuple):
    """What a ref needs to know of a manifest that another names."""

    size: int
    depth: int


class Referrer(NamedTuple):
    digest: str
    media_type: str
    artifact_type: str | None
    size: int
    annotations: str


@dataclass(frozen=True, slots=True)
class Ref:
    """A descriptor of a manifest, and what it was found to be: 'config', 'layer', 'child' or 'foreign'."""

    descriptor: Descriptor
    kind: str
    is_manifest: bool = False

    @property
    def link_digest(self) -> Digest | None:
        """The blob that it needs."""
        return None if self.kind == "foreign" or self.is_manifest else self.descriptor.digest


def _in_repository(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .join(repository, repository.c.id == manifest.c.repository_id)
        .where(
            repository.c.name == bindparam("name"),
            repository.c.deleted_at.is_(None),
            manifest.c.deleted_at.is_(None),
        )
    )


def _by_tag(*columns: Any) -> Prepared:
    return Prepared(
        _in_repository(*columns)
        .join(tag, (tag.c.repository_id == manifest.c.repository_id) & (tag.c.digest == manifest.c.digest))
        .where(tag.c.name == bindparam("tag"))
    )


def _by_digest(*columns: Any) -> Prepared:
    return Prepared(_in_repository(*columns).where(manifest.c.digest == bindparam("digest")))


_HEAD = (manifest.c.digest, manifest.c.media_type, manifest.c.size)
_LEFT = manifest.c.keep_until - now()
_HEAD_BY_TAG, _HEAD_BY_DIGEST = _by_tag(*_HEAD, _LEFT), _by_digest(*_HEAD, _LEFT)
_FIND_BY_TAG, _FIND_BY_DIGEST = (
    _by_tag(*_HEAD, manifest.c.payload),
    _by_digest(*_HEAD, manifest.c.payload),
)


@by_key
def find(connection: Connection, name: RepositoryName, reference: Tag | Digest) -> StoredManifest | None:
    """The live manifest that a tag or a digest names, in one statement."""
    if isinstance(reference, Tag):
        row = _FIND_BY_TAG.one(connection, name=name, tag=reference)
    else:
        row = _FIND_BY_DIGEST.one(connection, name=name, digest=reference)
    return StoredManifest(*row) if row else None


@by_key
def find_head(connection: Connection, name: RepositoryName, reference: Tag | Digest) -> StoredHead | None:
    """`find` without the payload, with what is left of the lease."""
    if isinstance(reference, Tag):
        row = _HEAD_BY_TAG.one(connection, name=name, tag=reference)
    else:
        row = _HEAD_BY_DIGEST.one(connection, name=name, digest=reference)
    return StoredHead(*row) if row else None


def is_live(connection: Connection, repository_id: int, digest: Digest) -> bool:
    found = select(manifest.c.digest).where(
        manifest.c.repository_id == repository_id,
        manifest.c.digest == digest,
        manifest.c.deleted_at.is_(None),
    )
    return connection.scalar(found) is not None


def children_in(connection: Connection, repository_id: int, digests: Iterable[Digest]) -> Mapping[str, Child]:
    """Those live manifests of the repository that have these digests."""
    found: dict[str, Child] = {}
    for some in batches(digests):
        rows = connection.execute(
            select(manifest.c.digest, manifest.c.size, manifest.c.depth).where(
                manifest.c.repository_id == repository_id,
                manifest.c.digest.in_(some),
                manifest.c.deleted_at.is_(None),
            )
        )
        found.update((row.digest, Child(row.size, row.depth)) for row in rows)
    return found


@dataclass(frozen=True, slots=True)
class Placement:
    """What the columns need beside the manifest itself; `lease` in milliseconds."""

    repository_id: int
    platform: str | None
    depth: int
    lease: int


def put(connection: Connection, pushed: Manifest, refs: Sequence[Ref], placement: Placement) -> None:
    """Store the manifest with its refs; the same bytes again renew it and bring it back when it was hidden."""
    made = upsert(manifest).values(
        repository_id=placement.repository_id,
        digest=pushed.digest,
        media_type=pushed.media_type,
        artifact_type=pushed.referrer_type,
        config_digest=pushed.config.digest if pushed.config else None,
        subject=pushed.subject.digest if pushed.subject else None,
        platform=placement.platform,
        annotations=json.dumps(pushed.annotations, ensure_ascii=False, separators=(",", ":")),
        size=len(pushed.payload),
        content_size=sum(descriptor.size for descriptor in pushed.references),
        depth=placement.depth,
        pushed_at=now(),
        keep_until=now() + placement.lease,
        payload=pushed.payload,
    )
    connection.execute(
        made.on_conflict_do_update(
            index_elements=[manifest.c.repository_id, manifest.c.digest],
            set_={
                "deleted_at": None,
                "depth": made.excluded.depth,
                "pushed_at": made.excluded.pushed_at,
                "keep_until": later_of(manifest.c.keep_until, made.excluded.keep_until),
            },
        )
    )
    _put_refs(connection, placement.repository_id, pushed.digest, refs)


def _put_refs(connection: Connection, repository_id: int, parent: Digest, refs: Sequence[Ref]) -> None:
    """Pushed again, a manifest may need less: what it needed as a blob may be a manifest by now, or lie elsewhere."""
    before = connection.scalars(
        delete(ref).where(ref.c.repository_id == repository_id, ref.c.parent == parent).returning(ref.c.link_digest)
    )
    dropped = set(before) - {part.link_digest for part in refs} - {None}
    if dropped:
        blobs.review_links(connection, repository_id, dropped)
    if not refs:
        return
    connection.execute(
        insert(ref),
        [
            {
                "repository_id": repository_id,
                "parent": parent,
                "position": position,
                "kind": part.kind,
                "digest": part.descriptor.digest,
                "media_type": part.descriptor.media_type,
                "size": part.descriptor.size,
                "platform": part.descriptor.platform,
                "link_digest": part.link_digest,
                "manifest_digest": part.descriptor.digest if part.is_manifest else None,
            }
            for position, part in enumerate(refs)
        ],
    )


def live_parents(connection: Connection, repository_id: int, digest: Digest, limit: int) -> list[str]:
    """Live indexes that name this manifest."""
    parent = manifest.alias("parent")
    found = (
        select(ref.c.parent)
        .distinct()
        .join(parent, (parent.c.repository_id == ref.c.repository_id) & (parent.c.digest == ref.c.parent))
        .where(
            ref.c.repository_id == repository_id,
            ref.c.manifest_digest == digest,
            parent.c.deleted_at.is_(None),
        )
        .limit(limit)
    )
    return list(connection.scalars(found))


def list_referrers(
    connection: Connection, name: RepositoryName, subject: Digest, types: Sequence[str], last: str, limit: int
) -> list[Referrer]:
    """Live manifests whose subject this is, by digest, those after `last`; of these artifact types if any."""
    found = (
        _in_repository(
            manifest.c.digest,
            manifest.c.media_type,
            manifest.c.artifact_type,
            manifest.c.size,
            manifest.c.annotations,
        )
        .where(manifest.c.subject == subject, manifest.c.digest > last)
        .order_by(manifest.c.digest)
        .limit(limit)
    )
    if types:
        found = found.where(manifest.c.artifact_type.in_(types))
    return [Referrer(*row) for row in connection.execute(found, {"name": name})]
