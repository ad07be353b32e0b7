"""What keeps a digest: each row that stands between it and the garbage collection."""

from typing import NamedTuple

from sqlalchemy import Connection, func, select, union

from registry.domain.names import Digest, RepositoryName, Tag
from registry.metadata.columns import now
from registry.metadata.hints import among
from registry.metadata.models import blob, doomed, link, manifest, ref, repository, tag, trash


class Holder(NamedTuple):
    """A repository that has the digest as a blob or as a manifest; `left` of its lease in milliseconds."""

    repository_id: int
    name: RepositoryName
    is_deleted: bool
    is_hidden: bool
    left: int

    @property
    def is_live(self) -> bool:
        return not (self.is_deleted or self.is_hidden)


class Parent(NamedTuple):
    """A manifest that names the digest."""

    digest: Digest
    is_hidden: bool


class Doom(NamedTuple):
    key: str
    doomed_at: int
    reason: str


def blob_holders(connection: Connection, digest: Digest, limit: int) -> list[Holder]:
    """Repositories that hold it as a blob."""
    found = (
        select(
            link.c.repository_id,
            repository.c.name,
            repository.c.deleted_at.is_not(None),
            link.c.deleted_at.is_not(None),
            link.c.keep_until - now(),
        )
        .join(repository, repository.c.id == link.c.repository_id)
        .where(link.c.digest == digest)
        .order_by(link.c.repository_id)
        .limit(limit)
    )
    return [_holder(*row) for row in connection.execute(found)]


def manifest_holders(connection: Connection, digest: Digest, limit: int) -> list[Holder]:
    """Repositories that hold it as a manifest."""
    found = (
        select(
            manifest.c.repository_id,
            repository.c.name,
            repository.c.deleted_at.is_not(None),
            manifest.c.deleted_at.is_not(None),
            manifest.c.keep_until - now(),
        )
        .join(repository, repository.c.id == manifest.c.repository_id)
        .where(manifest.c.digest == digest)
        .order_by(manifest.c.repository_id)
        .limit(limit)
    )
    return [_holder(*row) for row in connection.execute(found)]


def _holder(repository_id: int, name: str, is_deleted: bool, is_hidden: bool, left: int) -> Holder:
    return Holder(repository_id, RepositoryName(name), bool(is_deleted), bool(is_hidden), left)


def parents(connection: Connection, repository_id: int, digest: Digest, limit: int) -> list[Parent]:
    """Manifests of the repository that need it, as a blob or as a manifest."""
    here = ref.c.repository_id == repository_id
    as_blob, as_manifest = among(here, ref.c.link_digest == digest), among(here, ref.c.manifest_digest == digest)
    naming = union(select(ref.c.parent).where(as_blob), select(ref.c.parent).where(as_manifest)).subquery()
    found = (
        select(manifest.c.digest, manifest.c.deleted_at.is_not(None))
        .where(manifest.c.repository_id == repository_id, manifest.c.digest.in_(select(naming.c.parent)))
        .limit(limit)
    )
    return [Parent(Digest(row[0]), bool(row[1])) for row in connection.execute(found)]


def tags(connection: Connection, repository_id: int, digest: Digest, limit: int) -> list[Tag]:
    """Tags that point to it."""
    found = select(tag.c.name).where(among(tag.c.repository_id == repository_id, tag.c.digest == digest)).limit(limit)
    return [Tag(name) for name in connection.scalars(found)]


def restorable_until(connection: Connection, repository_id: int, digest: Digest, keep: int) -> int | None:
    """When its time in the trash, or that of its repository, ends; None when it is in no trash."""
    entries = select(func.max(trash.c.deleted_at)).where(
        trash.c.repository_id == repository_id, (trash.c.digest == digest) | (trash.c.kind == "repository")
    )
    deleted_at = connection.scalar(entries)
    return None if deleted_at is None else deleted_at + keep


def dooms(connection: Connection, digest: Digest) -> list[Doom]:
    """Bytes of this digest that nothing names any more. A key begins with the digest (storage/keys.py)."""
    start = f"{digest.algorithm}/{digest.encoded[:2]}/{digest.encoded}."
    found = select(doomed.c.key, doomed.c.doomed_at, doomed.c.reason).where(
        doomed.c.key > start, doomed.c.key < start + "g"
    )
    return [Doom(*row) for row in connection.execute(found)]


def state(connection: Connection, digest: Digest) -> str | None:
    """Of the blob: ok or quarantined."""
    return connection.scalar(select(blob.c.state).where(blob.c.digest == digest))
