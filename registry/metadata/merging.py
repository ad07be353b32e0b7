"""Two repositories made one, by statements over all their rows: what the target has already stays as it is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from registry.domain.names import Digest, Tag
from registry.metadata import events, trash
from registry.metadata.blobs import review_links
from registry.metadata.columns import later_of
from registry.metadata.events import Scene
from registry.metadata.models import link, manifest, ref, tag


class TagConflict(NamedTuple):
    tag: Tag
    kept: Digest
    other: Digest


class Counts(NamedTuple):
    manifests: int
    tags: int


def counts(connection: Connection, repository_id: int) -> Counts:
    """Live manifests and tags."""
    live = select(func.count()).where(manifest.c.repository_id == repository_id, manifest.c.deleted_at.is_(None))
    tagged = select(func.count()).where(tag.c.repository_id == repository_id)
    return Counts(connection.execute(live).scalar_one(), connection.execute(tagged).scalar_one())


def conflicts(connection: Connection, source: int, target: int) -> list[TagConflict]:
    """Tags of both that point to different manifests."""
    kept = tag.alias("kept")
    found = (
        select(kept.c.name, kept.c.digest, tag.c.digest)
        .join(tag, tag.c.name == kept.c.name)
        .where(kept.c.repository_id == target, tag.c.repository_id == source, tag.c.digest != kept.c.digest)
        .order_by(kept.c.name)
    )
    return [TagConflict(Tag(name), Digest(one), Digest(other)) for name, one, other in connection.execute(found)]


def merge(connection: Connection, source: int, target: Scene) -> Counts:
    """Give the target all content and all tags of the source; return how much of it came to life there.

    What was in the trash for itself comes along, and stays there.
    """
    to = target.repository_id
    _reveal_links(connection, source, to)
    _copy(connection, link, source, to, changed={"review_at": link.c.keep_until})
    manifests = _reveal_manifests(connection, source, to)
    manifests += _copy(connection, manifest, source, to, manifest.c.deleted_at.is_(None))
    _copy(connection, manifest, source, to)
    _copy(connection, ref, source, to)
    trash.move(connection, source, to)
    _tell_tags(connection, source, target)
    return Counts(manifests, _copy(connection, tag, source, to))


def _reveal_links(connection: Connection, source: int, target: int) -> None:
    """What both hold is held as long as either wanted it."""
    theirs = link.alias("theirs")
    same = (theirs.c.repository_id == source) & (theirs.c.digest == link.c.digest) & theirs.c.deleted_at.is_(None)
    until = select(later_of(theirs.c.keep_until, link.c.keep_until)).where(same).scalar_subquery()
    connection.execute(
        update(link)
        .where(link.c.repository_id == target, exists().where(same))
        .values(deleted_at=None, keep_until=until, review_at=until)
    )


def _reveal_manifests(connection: Connection, source: int, target: int) -> int:
    theirs = manifest.alias("theirs")
    same = exists().where(
        theirs.c.repository_id == source, theirs.c.digest == manifest.c.digest, theirs.c.deleted_at.is_(None)
    )
    here = (manifest.c.repository_id == target) & manifest.c.deleted_at.is_not(None) & same
    _drop_refs(connection, target, select(manifest.c.digest).where(here))
    depth = select(theirs.c.depth).where(theirs.c.repository_id == source, theirs.c.digest == manifest.c.digest)
    revealed = connection.execute(update(manifest).where(here).values(deleted_at=None, depth=depth.scalar_subquery()))
    return revealed.rowcount


def _drop_refs(connection: Connection, repository_id: int, parents: Select[Any]) -> None:
    """They come back with those of the other repository: what they needed in this one may be deleted."""
    dropped = (ref.c.repository_id == repository_id) & ref.c.parent.in_(parents)
    review_links(connection, repository_id, select(ref.c.link_digest).where(dropped, ref.c.link_digest.is_not(None)))
    connection.execute(delete(ref).where(dropped))


def _copy(
    connection: Connection,
    table: Table,
    source: int,
    target: int,
    wanted: ColumnElement[bool] | None = None,
    changed: Mapping[str, ColumnElement[Any]] | None = None,
) -> int:
    """Those rows whose key the target lacks."""
    values = {column.name: column for column in table.c} | dict(changed or {}) | {"repository_id": literal(target)}
    rows = select(*values.values()).where(table.c.repository_id == source, _lacks(table, target))
    if wanted is not None:
        rows = rows.where(wanted)
    return connection.execute(insert(table).from_select(list(values), rows)).rowcount


def _lacks(table: Table, target: int) -> ColumnElement[bool]:
    present = table.alias("present")
    key = [column.name for column in table.primary_key if column.name != "repository_id"]
    return ~exists().where(present.c.repository_id == target, *(present.c[name] == table.c[name] for name in key))


def _tell_tags(connection: Connection, source: int, target: Scene) -> None:
    """An event for each tag: it is new in this repository."""
    new = select(tag.c.name, tag.c.digest).where(tag.c.repository_id == source, _lacks(tag, target.repository_id))
    events.append_each(connection, target, "tag.restore", ("tag", "new_digest"), new)
