"""Which blobs are to be looked at, when each last was, and what depends on one.

`blob.verified_at` is when its bytes were last looked at, whatever they were found to be: `state` says that.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Select, bindparam, func, select, update

from registry.domain.names import Digest
from registry.metadata.columns import current_time, now
from registry.metadata.models import blob, link, ref, repository, tag

STATES = ("ok", "quarantined")


class Place(NamedTuple):
    """A blob, and where it stands in the order of the scrub."""

    verified_at: int
    digest: Digest
    size: int = 0


class Extent(NamedTuple):
    """How much there is to look at."""

    blobs: int
    bytes: int


class Seen(NamedTuple):
    """Bytes that were looked at."""

    digest: Digest
    key: str


class QuarantinedRow(NamedTuple):
    """`found_at`: when its bytes were last found wrong."""

    digest: Digest
    size: int
    found_at: int


START = Place(-1, Digest())


def due(connection: Connection, interval: int, limit: int) -> list[Place]:
    """Blobs that nobody has looked at for so long, oldest first."""
    return oldest(connection, current_time(connection) - interval, START, limit)


def oldest(connection: Connection, before: int, after: Place, limit: int) -> list[Place]:
    """Blobs last looked at before a time, in the order of the scrub, those after `after`."""
    rows = [row for state in STATES for row in connection.execute(_oldest(state, before, after, limit))]
    return sorted(Place(row.verified_at, Digest(row.digest), row.size) for row in rows)[:limit]


def _oldest(state: str, before: int, after: Place, limit: int) -> Select[tuple[int, str, int]]:
    later = (blob.c.verified_at > after.verified_at) | (blob.c.digest > after.digest)
    return (
        select(blob.c.verified_at, blob.c.digest, blob.c.size)
        .where(blob.c.state == state, blob.c.verified_at >= after.verified_at, blob.c.verified_at < before, later)
        .order_by(blob.c.verified_at, blob.c.digest)
        .limit(limit)
    )


def in_repository(connection: Connection, repository_id: int, before: int, after: str, limit: int) -> list[Digest]:
    """Blobs that a repository holds, by digest; also those that are hidden from it, since they can come back."""
    found = (
        select(blob.c.digest)
        .join(link, link.c.digest == blob.c.digest)
        .where(link.c.repository_id == repository_id, link.c.digest > after, blob.c.verified_at < before)
        .order_by(link.c.digest)
        .limit(limit)
    )
    return [Digest(digest) for digest in connection.scalars(found)]


def extent(connection: Connection, before: int, repository_id: int | None) -> Extent:
    """Of all blobs last looked at before a time, or of those that a repository holds."""
    found = select(func.count(), func.coalesce(func.sum(blob.c.size), 0)).where(blob.c.verified_at < before)
    if repository_id is not None:
        found = found.join(link, link.c.digest == blob.c.digest).where(link.c.repository_id == repository_id)
    return Extent(*connection.execute(found).one())


def mark_seen(connection: Connection, seen: Sequence[Seen]) -> None:
    """They were looked at now. Bytes that have made way for others meanwhile tell nothing of those."""
    connection.execute(
        update(blob)
        .where(blob.c.digest == bindparam("seen_digest"), blob.c.key == bindparam("seen_key"))
        .values(verified_at=now()),
        [{"seen_digest": one.digest, "seen_key": one.key} for one in seen],
    )


def put_first(connection: Connection, digest: Digest) -> bool:
    """Let the scrub look at this blob next; False when there is none."""
    changed = connection.execute(update(blob).where(blob.c.digest == digest).values(verified_at=0))
    return changed.rowcount == 1


def count_quarantined(connection: Connection) -> int:
    return connection.execute(select(func.count()).where(blob.c.state == "quarantined")).scalar_one()


def list_quarantined(connection: Connection, after: str, limit: int) -> list[QuarantinedRow]:
    """By digest, those after `after`."""
    found = (
        select(blob.c.digest, blob.c.size, blob.c.verified_at)
        .where(blob.c.state == "quarantined", blob.c.digest > after)
        .order_by(blob.c.digest)
        .limit(limit)
    )
    return [QuarantinedRow(Digest(row[0]), row[1], row[2]) for row in connection.execute(found)]


def tags_needing(connection: Connection, digest: Digest, limit: int) -> list[str]:
    """`repository:tag` of tags whose manifest needs the blob, itself or through indexes."""
    needing = (
        select(ref.c.repository_id, ref.c.parent)
        .join(link, (link.c.repository_id == ref.c.repository_id) & (link.c.digest == ref.c.link_digest))
        .where(link.c.digest == digest)
        .cte("needing", recursive=True)
    )
    needing = needing.union(
        select(ref.c.repository_id, ref.c.parent).join(
            needing, (needing.c.repository_id == ref.c.repository_id) & (needing.c.parent == ref.c.manifest_digest)
        )
    )
    found = (
        select(repository.c.name, tag.c.name)
        .select_from(needing)
        .join(tag, (tag.c.repository_id == needing.c.repository_id) & (tag.c.digest == needing.c.parent))
        .join(repository, repository.c.id == tag.c.repository_id)
        .where(repository.c.deleted_at.is_(None))
        .limit(limit)
    )
    return sorted(f"{name}:{tag_name}" for name, tag_name in connection.execute(found))
