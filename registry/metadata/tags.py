"""Tags: mutable names of manifests."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, insert, literal, select, update

from registry.domain.names import Digest, Tag
from registry.domain.paging import PageRequest
from registry.metadata.columns import now
from registry.metadata.database import Prepared
from registry.metadata.hints import among
from registry.metadata.models import tag


class Pointed(NamedTuple):
    digest: Digest
    version: int


_FIND = Prepared(
    select(tag.c.digest, tag.c.version).where(
        tag.c.repository_id == bindparam("repository_id"), tag.c.name == bindparam("name")
    )
)


def find(connection: Connection, repository_id: int, name: Tag) -> Pointed | None:
    """What the tag points to."""
    row = _FIND.one(connection, repository_id=repository_id, name=name)
    return Pointed(Digest(row[0]), row[1]) if row else None


def point(connection: Connection, repository_id: int, name: Tag, digest: Digest, by: str, *, is_new: bool) -> None:
    """Make the tag, or move it, to this manifest."""
    if is_new:
        connection.execute(
            insert(tag).values(
                repository_id=repository_id, name=name, digest=digest, version=1, moved_at=now(), moved_by=by
            )
        )
        return
    connection.execute(
        update(tag)
        .where(tag.c.repository_id == repository_id, tag.c.name == name)
        .values(digest=digest, version=tag.c.version + 1, moved_at=now(), moved_by=by)
    )


def delete_tag(connection: Connection, repository_id: int, name: Tag) -> None:
    connection.execute(delete(tag).where(tag.c.repository_id == repository_id, tag.c.name == name))


def each(connection: Connection, repository_id: int) -> Iterator[tuple[Tag, Digest]]:
    """All tags with what they point to."""
    found = select(tag.c.name, tag.c.digest).where(tag.c.repository_id == repository_id)
    for name, digest in connection.execute(found):
        yield Tag(name), Digest(digest)


def of_manifest(repository_id: int, digest: Digest) -> Select[tuple[str, str]]:
    """Name and digest of the tags that point to this manifest."""
    return select(tag.c.name, tag.c.digest).where(among(tag.c.repository_id == repository_id, tag.c.digest == digest))


def delete_of(connection: Connection, repository_id: int, digest: Digest) -> None:
    """All tags that point to this manifest."""
    connection.execute(delete(tag).where(among(tag.c.repository_id == repository_id, tag.c.digest == digest)))


def make_each(connection: Connection, repository_id: int, rows: Select[Any], by: str) -> int:
    """New tags, from rows of name and digest; return how many."""
    found = rows.subquery()
    values = select(literal(repository_id), *found.c, literal(1), now(), literal(by))
    columns = ["repository_id", "name", "digest", "version", "moved_at", "moved_by"]
    return connection.execute(insert(tag).from_select(columns, values)).rowcount


def names_of(connection: Connection, repository_id: int, digest: Digest) -> list[Tag]:
    """The tags that point to this manifest."""
    found = select(tag.c.name).where(tag.c.repository_id == repository_id, tag.c.digest == digest)
    return [Tag(name) for name in connection.scalars(found)]


def list_names(connection: Connection, repository_id: int, page: PageRequest) -> list[str]:
    """Tags in byte order; one more than the page when there is."""
    found = (
        select(tag.c.name)
        .where(tag.c.repository_id == repository_id, tag.c.name > page.last)
        .order_by(tag.c.name)
        .limit(page.limit + 1)
    )
    return list(connection.scalars(found))
