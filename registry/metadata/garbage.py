"""What nothing needs any more. Each function is a small transaction, and checks all it rests on by itself.

manifest (its time in the trash is over) → its refs → its links under review → link (no ref, lease over)
→ blob (no link) → doomed → bytes. The foreign keys refuse whatever these conditions would overlook.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    Column,
    Connection,
    Delete,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from registry.domain.names import Digest
from registry.metadata.blobs import review_links
from registry.metadata.columns import current_time, now
from registry.metadata.database import on_full_disk
from registry.metadata.hints import among
from registry.metadata.integrity import unknown_keys
from registry.metadata.models import blob, doomed, link, manifest, ref, repository, tag, trash, upload

_REFERENCED = exists().where(among(ref.c.repository_id == link.c.repository_id, ref.c.link_digest == link.c.digest))

_THIS_LINK = (link.c.repository_id == bindparam("of")) & (link.c.digest == bindparam("named"))
_Key: TypeAlias = dict[str, int | str]


class Freed(NamedTuple):
    """`seen` candidates were looked at; `blobs` of so many `bytes` are doomed now."""

    seen: int
    links: int
    blobs: int
    bytes: int


class Orphan(NamedTuple):
    """Bytes that no row knows."""

    key: str
    size: int


class Doomed(NamedTuple):
    """Bytes that may go."""

    key: str
    size: int
    doomed_at: int


def remove_manifest(connection: Connection, repository_id: int, digest: Digest) -> bool:
    """Remove a hidden manifest with its refs, and have its links looked at; False while something needs it."""
    here = (manifest.c.repository_id == repository_id) & (manifest.c.digest == digest)
    hidden = connection.scalar(select(manifest.c.digest).where(here, manifest.c.deleted_at.is_not(None)))
    if hidden is None:
        return True  # it lives again, or is gone
    if connection.scalar(_parents(repository_id, digest)) is not None:
        return False
    _remove(connection, repository_id, [digest])
    return True


def _parents(repository_id: int, digest: str) -> Select[tuple[str]]:
    named = among(ref.c.repository_id == repository_id, ref.c.manifest_digest == digest)
    return select(ref.c.parent).where(named).limit(1)


def _remove(connection: Connection, repository_id: int, digests: Sequence[str]) -> None:
    """Manifests that no ref names, with all that hangs on them."""
    refs = (ref.c.repository_id == repository_id) & ref.c.parent.in_(digests)
    named = select(ref.c.link_digest).where(refs)
    review_links(connection, repository_id, named)
    connection.execute(delete(ref).where(refs))
    connection.execute(delete(trash).where(trash.c.repository_id == repository_id, trash.c.digest.in_(digests)))
    connection.execute(
        delete(manifest).where(manifest.c.repository_id == repository_id, manifest.c.digest.in_(digests))
    )


@on_full_disk
def remove_links(connection: Connection, limit: int) -> Freed:
    """Look at the links whose time has come, oldest first: some are needed, some have a newer lease, the others go."""
    due = connection.execute(
        select(link.c.repository_id, link.c.digest, _REFERENCED, link.c.keep_until > now())
        .where(link.c.review_at <= now())
        .order_by(link.c.review_at)
        .limit(limit)
    ).all()
    needed, leased, gone = list[_Key](), list[_Key](), list[_Key]()
    for repository_id, digest, is_referenced, is_leased in due:
        fate = needed if is_referenced else leased if is_leased else gone
        fate.append({"of": repository_id, "named": digest})
    _each(connection, update(link).where(_THIS_LINK).values(review_at=None), needed)
    _each(connection, update(link).where(_THIS_LINK).values(review_at=link.c.keep_until), leased)
    _each(connection, delete(link).where(_THIS_LINK), gone)
    return Freed(len(due), len(gone), *_remove_blobs(connection, {str(key["named"]) for key in gone}))


def _each(connection: Connection, statement: Update | Delete, keys: Sequence[_Key]) -> None:
    """By key, one after the other: SQLite looks through the whole table for a list of pairs."""
    if keys:
        connection.execute(statement, keys)


def _remove_blobs(connection: Connection, digests: set[str]) -> tuple[int, int]:
    """Blobs that no repository holds; their keys are doomed in the same transaction (reliability D4)."""
    gone = connection.execute(
        delete(blob)
        .where(blob.c.digest.in_(digests), ~exists().where(link.c.digest == blob.c.digest))
        .returning(blob.c.key, blob.c.size)
    ).all()
    if gone:
        connection.execute(
            insert(doomed).values(doomed_at=now(), reason="unused"),
            [{"key": row.key, "size": row.size} for row in gone],
        )
    return len(gone), sum(row.size for row in gone)


def given_up(connection: Connection) -> list[int]:
    """The ids of repositories that can't come back and still have rows."""
    return list(connection.scalars(select(repository.c.id).where(repository.c.purged_at.is_not(None))))


@on_full_disk
def empty_repository(connection: Connection, repository_id: int, limit: int) -> int:
    """Take rows of a repository away that can't come back: tags, then its trash, then manifests; return how many.

    Its links go like all others, its uploads expire; with the last row the repository goes too.
    """
    return (
        _delete_some(connection, tag, repository_id, limit)
        or _delete_some(connection, trash, repository_id, limit)
        or _remove_some(connection, repository_id, limit)
        or _delete_empty(connection, repository_id)
    )


def _delete_some(connection: Connection, table: Table, repository_id: int, limit: int) -> int:
    key = next(column for column in table.primary_key if column.name != "repository_id")
    some = select(key).where(table.c.repository_id == repository_id).limit(limit)
    removed = connection.execute(delete(table).where(table.c.repository_id == repository_id, key.in_(some)))
    return removed.rowcount


def _remove_some(connection: Connection, repository_id: int, limit: int) -> int:
    """Indexes before what they name."""
    named = exists().where(
        among(ref.c.repository_id == manifest.c.repository_id, ref.c.manifest_digest == manifest.c.digest)
    )
    found = select(manifest.c.digest).where(manifest.c.repository_id == repository_id, ~named).limit(limit)
    digests = connection.scalars(found).all()
    if digests:
        _remove(connection, repository_id, digests)
    return len(digests)


def _delete_empty(connection: Connection, repository_id: int) -> int:
    """The newest stays: SQLite would give its id again, and with it the past of its tags."""
    used = (exists().where(table.c.repository_id == repository.c.id) for table in (link, manifest, tag, upload, trash))
    newer = repository.alias("newer")
    gone = connection.execute(
        delete(repository).where(
            repository.c.id == repository_id, exists().where(newer.c.id > repository_id), *(~each for each in used)
        )
    )
    return gone.rowcount


def dead(connection: Connection, before: int, after: tuple[int, str], limit: int) -> list[Doomed]:
    """Bytes doomed before a time, oldest first, those after (`doomed_at`, `key`)."""
    at, key = after
    later = (doomed.c.doomed_at > at) | ((doomed.c.doomed_at == at) & (doomed.c.key > key))
    found = select(doomed.c.key, doomed.c.size, doomed.c.doomed_at).where(
        doomed.c.doomed_at >= at, doomed.c.doomed_at < before, later
    )
    rows = connection.execute(found.order_by(doomed.c.doomed_at, doomed.c.key).limit(limit))
    return [Doomed(row.key, row.size or 0, row.doomed_at) for row in rows]


@on_full_disk
def forget_dead(connection: Connection, keys: Sequence[str]) -> None:
    """The bytes are gone."""
    connection.execute(delete(doomed).where(doomed.c.key.in_(keys)))


@on_full_disk
def doom_orphans(connection: Connection, orphans: Sequence[Orphan]) -> int:
    """Bytes that no row knows: they lost their row in a crash, or are older than the database. Return how many."""
    unknown = set(unknown_keys(connection, [orphan.key for orphan in orphans]))
    values = [orphan._asdict() for orphan in orphans if orphan.key in unknown]
    if values:
        connection.execute(insert(doomed).values(doomed_at=now(), reason="orphan"), values)
    return len(values)


class Waiting(NamedTuple):
    """Candidates: entries of the trash, links to look at, keys whose bytes go. `late`: milliseconds since the first
    of them could have gone, 0 when there is none.
    """

    entries: int
    links: int
    keys: int
    bytes: int
    late: int


def waiting(connection: Connection, trash_keep: int, doomed_keep: int) -> Waiting:
    """What the garbage collection has before it now."""
    time = current_time(connection)
    entries, entry_at = _due(connection, trash.c.deleted_at, time - trash_keep)
    links, link_at = _due(connection, link.c.review_at, time)
    keys, key_at = _due(connection, doomed.c.doomed_at, time - doomed_keep)
    size = connection.scalar(select(func.sum(doomed.c.size)).where(doomed.c.doomed_at < time - doomed_keep))
    late = max(time - trash_keep - entry_at, time - link_at, time - doomed_keep - key_at)
    return Waiting(entries, links, keys, size or 0, late)


def _due(connection: Connection, column: Column[Any], before: int) -> tuple[int, int]:
    """How many are due, and since when the first is."""
    count, first = connection.execute(select(func.count(), func.min(column)).where(column < before)).one()
    return count, before if first is None else first
