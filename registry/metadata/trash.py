"""The trash: what was deleted and can still be restored. The rows of what it names are hidden, not gone (design P3).

Tags are really deleted: an entry remembers what they pointed to.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, insert, literal, or_, select, update

from registry.domain.names import Digest, RepositoryName, Tag
from registry.metadata.columns import now
from registry.metadata.database import batches
from registry.metadata.hints import among
from registry.metadata.models import manifest, repository, tag, trash

Kind: TypeAlias = Literal["repository", "manifest", "tag"]


class Entry(NamedTuple):
    """`act` is the entry of the deletion that took it along; `is_live`: its repository is there."""

    id: int
    kind: Kind
    repository_id: int
    repository: RepositoryName
    is_live: bool
    digest: Digest | None
    tag: Tag | None
    deleted_at: int
    deleted_by: str
    act: int | None


def put(
    connection: Connection,
    repository_id: int,
    kind: Kind,
    by: str,
    *,
    digest: Digest | None = None,
    tag: Tag | None = None,
    act: int | None = None,
) -> int:
    """Remember a deletion, in the transaction that does it; return the entry's id."""
    made = insert(trash).values(
        kind=kind, repository_id=repository_id, digest=digest, tag=tag, deleted_at=now(), deleted_by=by, act=act
    )
    return int(connection.execute(made.returning(trash.c.id)).scalar_one())


def put_manifests(connection: Connection, repository_id: int, digests: Sequence[Digest], by: str, act: int) -> None:
    """Remember those that were taken along."""
    rows = [
        {"kind": "manifest", "repository_id": repository_id, "digest": digest, "deleted_by": by, "act": act}
        for digest in digests
    ]
    if rows:
        connection.execute(insert(trash).values(deleted_at=now()), rows)


def put_tags(connection: Connection, repository_id: int, digest: Digest, by: str, act: int) -> None:
    """Remember the tags of a manifest, which go along with it."""
    found = select(
        literal("tag"), literal(repository_id), tag.c.digest, tag.c.name, now(), literal(by), literal(act)
    ).where(among(tag.c.repository_id == repository_id, tag.c.digest == digest))
    columns = ["kind", "repository_id", "digest", "tag", "deleted_at", "deleted_by", "act"]
    connection.execute(insert(trash).from_select(columns, found))


def manifests_of(connection: Connection, act: int) -> list[Digest]:
    """Manifests that were taken along."""
    found = select(trash.c.digest).where(trash.c.act == act, trash.c.kind == "manifest").order_by(trash.c.id)
    return [Digest(digest) for digest in connection.scalars(found)]


def tags_of(act: int) -> Select[Any]:
    """Name and digest of the tags that were taken along and whose names are free."""
    taken = exists().where(tag.c.repository_id == trash.c.repository_id, tag.c.name == trash.c.tag)
    return select(trash.c.tag, trash.c.digest).where(trash.c.act == act, trash.c.kind == "tag", ~taken)


def taken_tags(connection: Connection, act: int) -> list[tuple[Tag, Digest, Digest]]:
    """Tags that were taken along and point elsewhere by now: to what, and to what they would come back."""
    same = (tag.c.repository_id == trash.c.repository_id) & (tag.c.name == trash.c.tag)
    found = (
        select(tag.c.name, tag.c.digest, trash.c.digest)
        .join(trash, same)
        .where(trash.c.act == act, trash.c.kind == "tag", tag.c.digest != trash.c.digest)
        .order_by(tag.c.name)
    )
    return [(Tag(name), Digest(one), Digest(other)) for name, one, other in connection.execute(found)]


def forget_tags(connection: Connection, act: int) -> None:
    """Those that point again to what they did."""
    back = exists().where(
        tag.c.repository_id == trash.c.repository_id, tag.c.name == trash.c.tag, tag.c.digest == trash.c.digest
    )
    connection.execute(delete(trash).where(trash.c.act == act, trash.c.kind == "tag", back))


def find(connection: Connection, entry_id: int) -> Entry | None:
    return next(iter(_entries(connection, _ENTRIES.where(trash.c.id == entry_id))), None)


def taken_along(connection: Connection, act: int, limit: int | None = None) -> list[Entry]:
    """What went with the thing of this entry, in the order in which it went."""
    return _entries(connection, _ENTRIES.where(trash.c.act == act).order_by(trash.c.id).limit(limit))


def newest_first(
    connection: Connection, names: Iterable[tuple[str, str]], before: int | None, limit: int
) -> list[Entry]:
    """Entries that were deleted for themselves, in repositories whose name lies in one of these ranges.

    What was taken along counts too once the entry that took it is gone: it stayed behind, or that came back.
    """
    act = trash.alias("act")
    is_alone = trash.c.act.is_(None) | ~exists().where(act.c.id == trash.c.act)
    wanted = _ENTRIES.where(is_alone).order_by(trash.c.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(trash.c.id < before)
    found = [entry for some in batches(names) for entry in _entries(connection, wanted.where(_in_ranges(some)))]
    return sorted(found, key=lambda entry: entry.id, reverse=True)[:limit]


def _in_ranges(names: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    return or_(*((repository.c.name >= start) & (repository.c.name < end) for start, end in names))


def due(connection: Connection, before: int, after: tuple[int, int], limit: int) -> list[Entry]:
    """Entries deleted before a time, oldest first, those after (`deleted_at`, `id`)."""
    at, entry_id = after
    later = (trash.c.deleted_at > at) | ((trash.c.deleted_at == at) & (trash.c.id > entry_id))
    found = _ENTRIES.where(trash.c.deleted_at >= at, trash.c.deleted_at < before, later)
    return _entries(connection, found.order_by(trash.c.deleted_at, trash.c.id).limit(limit))


def remove(connection: Connection, entry_id: int) -> None:
    connection.execute(delete(trash).where(trash.c.id == entry_id))


def forget_manifests(connection: Connection, repository_id: int, digests: Sequence[Digest]) -> None:
    """They are there again, however they came back."""
    connection.execute(
        delete(trash).where(
            trash.c.repository_id == repository_id, trash.c.digest.in_(digests), trash.c.kind == "manifest"
        )
    )


def move(connection: Connection, source: int, target: int) -> None:
    """To the repository that has got what the entries name; those of manifests that live there are done with.

    A manifest that was deleted in both can be restored for as long as the later entry says.
    """
    connection.execute(
        update(trash).where(trash.c.repository_id == source, trash.c.kind != "repository").values(repository_id=target)
    )
    is_live = exists().where(
        manifest.c.repository_id == target, manifest.c.digest == trash.c.digest, manifest.c.deleted_at.is_(None)
    )
    later = trash.alias("later")
    is_repeated = exists().where(
        later.c.repository_id == target,
        later.c.digest == trash.c.digest,
        later.c.kind == "manifest",
        later.c.id > trash.c.id,
    )
    connection.execute(
        delete(trash).where(trash.c.repository_id == target, trash.c.kind == "manifest", is_live | is_repeated)
    )


_ENTRIES = (
    select(
        trash.c.id,
        trash.c.kind,
        trash.c.repository_id,
        repository.c.name,
        repository.c.deleted_at.is_(None),
        trash.c.digest,
        trash.c.tag,
        trash.c.deleted_at,
        trash.c.deleted_by,
        trash.c.act,
    )
    .join(repository, repository.c.id == trash.c.repository_id)
    .where(repository.c.purged_at.is_(None))
)


def _entries(connection: Connection, found: Select[Any]) -> list[Entry]:
    return [
        Entry(
            id=row[0],
            kind=row[1],
            repository_id=row[2],
            repository=RepositoryName(row[3]),
            is_live=bool(row[4]),
            digest=Digest(row[5]) if row[5] else None,
            tag=Tag(row[6]) if row[6] else None,
            deleted_at=row[7],
            deleted_by=row[8],
            act=row[9],
        )
        for row in connection.execute(found)
    ]
