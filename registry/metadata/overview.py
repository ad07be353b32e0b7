"""What lists show of repositories and tags. Each query is bounded, however much there is in a repository."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from registry.metadata.database import batches
from registry.metadata.models import blob, link, manifest, ref, tag

# Of a repository's tags, and of its blobs: to count a million takes 200 ms
COUNTED = 1000
# Of an index: real ones have a few platforms
CHILDREN = 100


class Counted(NamedTuple):
    """`tags` and `blobs` stop at one more than COUNTED; `size` is that of those blobs."""

    tags: int
    moved_at: int | None
    blobs: int
    size: int


class TagRow(NamedTuple):
    """A tag with what is known of its manifest."""

    name: str
    digest: str
    moved_at: int
    moved_by: str
    media_type: str
    artifact_type: str | None
    platform: str | None
    content_size: int


class ChildRow(NamedTuple):
    """What an index names: a manifest, or a blob without `content_size`. `platform` is the index's word for it."""

    parent: str
    digest: str
    size: int
    platform: str | None
    own_platform: str | None
    content_size: int | None


def count(connection: Connection, repository_id: int) -> Counted:
    """Of all blobs that the repository holds, each once. `moved_at`: of the tags that were counted."""
    some = select(tag.c.moved_at).where(tag.c.repository_id == repository_id).limit(COUNTED + 1).subquery()
    tags, moved_at = connection.execute(select(func.count(), func.max(some.c.moved_at)).select_from(some)).one()
    held = (
        select(blob.c.size)
        .join(link, link.c.digest == blob.c.digest)
        .where(link.c.repository_id == repository_id, link.c.deleted_at.is_(None))
        .limit(COUNTED + 1)
        .subquery()
    )
    totals = select(func.count(), func.coalesce(func.sum(held.c.size), 0)).select_from(held)
    blobs, size = connection.execute(totals).one()
    return Counted(tags, moved_at, blobs, size)


def tags_after(connection: Connection, repository_id: int, last: str, limit: int) -> list[TagRow]:
    """Tags behind `last`, in byte order."""
    found = (
        select(
            tag.c.name,
            tag.c.digest,
            tag.c.moved_at,
            tag.c.moved_by,
            manifest.c.media_type,
            manifest.c.artifact_type,
            manifest.c.platform,
            manifest.c.content_size,
        )
        .join(manifest, (manifest.c.repository_id == tag.c.repository_id) & (manifest.c.digest == tag.c.digest))
        .where(tag.c.repository_id == repository_id, tag.c.name > last)
        .order_by(tag.c.name)
        .limit(limit)
    )
    return [TagRow(*row) for row in connection.execute(found)]


def children(connection: Connection, repository_id: int, indexes: Iterable[str]) -> list[ChildRow]:
    """The first CHILDREN of what each of these indexes names, in its order."""
    child = manifest.alias("child")
    found = []
    for some in batches(indexes):
        rows = (
            select(ref.c.parent, ref.c.digest, ref.c.size, ref.c.platform, child.c.platform, child.c.content_size)
            .outerjoin(
                child, (child.c.repository_id == ref.c.repository_id) & (child.c.digest == ref.c.manifest_digest)
            )
            .where(ref.c.repository_id == repository_id, ref.c.parent.in_(some), ref.c.position < CHILDREN)
            .order_by(ref.c.parent, ref.c.position)
        )
        found += [ChildRow(*row) for row in connection.execute(rows)]
    return found
