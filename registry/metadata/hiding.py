"""Manifests that are deleted softly: the rows and their refs stay, so their bytes can't go (design P3).

Each function takes as many digests as fit a statement (`database.batches`): what goes along may be thousands.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Select, exists, select, update

from registry.domain.names import Digest
from registry.metadata.columns import later_of, now
from registry.metadata.hints import among
from registry.metadata.models import link, manifest, ref, tag


def hide(connection: Connection, repository_id: int, digests: Sequence[Digest], lease: int) -> None:
    """Hide manifests; what they name gets a fresh lease (design P9)."""
    connection.execute(
        update(link)
        .where(link.c.repository_id == repository_id, link.c.digest.in_(_named_by(repository_id, digests)))
        .values(keep_until=later_of(link.c.keep_until, now() + lease))
    )
    connection.execute(update(manifest).where(_these(repository_id, digests)).values(deleted_at=now()))


def reveal(connection: Connection, repository_id: int, digests: Sequence[Digest]) -> None:
    """Undo `hide`, for the manifests and the blobs that they name."""
    named = link.c.digest.in_(_named_by(repository_id, digests))
    connection.execute(
        update(link)
        .where(link.c.repository_id == repository_id, named, link.c.deleted_at.is_not(None))
        .values(deleted_at=None)
    )
    connection.execute(update(manifest).where(_these(repository_id, digests)).values(deleted_at=None))


def _these(repository_id: int, digests: Sequence[Digest]) -> ColumnElement[bool]:
    return (manifest.c.repository_id == repository_id) & manifest.c.digest.in_(digests)


def _named_by(repository_id: int, parents: Sequence[Digest]) -> Select[tuple[str]]:
    return select(ref.c.link_digest).where(ref.c.repository_id == repository_id, ref.c.parent.in_(parents))


def hidden_of(connection: Connection, repository_id: int, digests: Sequence[Digest]) -> list[Digest]:
    """Those that were deleted and are not gone yet."""
    found = select(manifest.c.digest).where(_these(repository_id, digests), manifest.c.deleted_at.is_not(None))
    return [Digest(digest) for digest in connection.scalars(found)]


def hidden_children(connection: Connection, repository_id: int, parents: Sequence[Digest]) -> list[Digest]:
    """Manifests that these indexes name and that are deleted."""
    found = (
        select(manifest.c.digest)
        .distinct()
        .join(ref, (ref.c.repository_id == manifest.c.repository_id) & (ref.c.manifest_digest == manifest.c.digest))
        .where(
            among(ref.c.repository_id == repository_id, ref.c.parent.in_(parents)), manifest.c.deleted_at.is_not(None)
        )
    )
    return [Digest(digest) for digest in connection.scalars(found)]


def lone_referrers(connection: Connection, repository_id: int, subjects: Sequence[Digest]) -> list[Digest]:
    """Live manifests that have one of these subjects, and that neither a tag nor a live index names."""
    parent = manifest.alias("parent")
    indexed = (
        exists()
        .where(among(ref.c.repository_id == manifest.c.repository_id, ref.c.manifest_digest == manifest.c.digest))
        .where(parent.c.repository_id == ref.c.repository_id, parent.c.digest == ref.c.parent)
        .where(parent.c.deleted_at.is_(None))
    )
    tagged = exists().where(among(tag.c.repository_id == manifest.c.repository_id, tag.c.digest == manifest.c.digest))
    found = select(manifest.c.digest).where(
        manifest.c.repository_id == repository_id,
        manifest.c.subject.in_(subjects),
        manifest.c.deleted_at.is_(None),
        ~indexed,
        ~tagged,
    )
    return [Digest(digest) for digest in connection.scalars(found)]
