"""Blobs and the links by which repositories hold them."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from registry.domain.names import Digest, RepositoryName
from registry.metadata.columns import later_of, now
from registry.metadata.database import Prepared, batches, by_key, on_full_disk
from registry.metadata.models import blob, doomed, link, manifest, ref, repository


class StoredBlob(NamedTuple):
    """Where a blob's bytes are. `sound` is false for one that is quarantined."""

    key: str
    size: int
    sound: bool


class BlobHead(NamedTuple):
    """`left`: milliseconds until the link's lease is over."""

    digest: Digest
    size: int
    left: int


def _in_repository(*columns: Any) -> Prepared:
    return Prepared(
        select(*columns)
        .select_from(blob)
        .join(link, link.c.digest == blob.c.digest)
        .join(repository, repository.c.id == link.c.repository_id)
        .where(
            repository.c.name == bindparam("name"),
            blob.c.digest == bindparam("digest"),
            blob.c.state == "ok",
            link.c.deleted_at.is_(None),
            repository.c.deleted_at.is_(None),
        )
    )


_FIND_IN, _HEAD_IN = _in_repository(blob.c.key, blob.c.size), _in_repository(blob.c.size, link.c.keep_until - now())
_FIND = Prepared(select(blob.c.key, blob.c.size, blob.c.state).where(blob.c.digest == bindparam("digest")))


@by_key
def find_in(connection: Connection, name: RepositoryName, digest: Digest) -> StoredBlob | None:
    """The blob, if this repository holds it: membership decides, on every read."""
    row = _FIND_IN.one(connection, name=name, digest=digest)
    return StoredBlob(row[0], row[1], sound=True) if row else None


@by_key
def find_head(connection: Connection, name: RepositoryName, digest: Digest) -> BlobHead | None:
    """`find_in` for whoever does not want the bytes."""
    row = _HEAD_IN.one(connection, name=name, digest=digest)
    return BlobHead(digest, *row) if row else None


def list_holders(connection: Connection, digest: Digest, after: int, limit: int) -> list[tuple[int, RepositoryName]]:
    """Live repositories that hold the blob, by id, those after `after`."""
    found = (
        select(repository.c.id, repository.c.name)
        .join(link, link.c.repository_id == repository.c.id)
        .join(blob, blob.c.digest == link.c.digest)
        .where(
            link.c.digest == digest,
            link.c.repository_id > after,
            link.c.deleted_at.is_(None),
            repository.c.deleted_at.is_(None),
            blob.c.state == "ok",
        )
        .order_by(repository.c.id)
        .limit(limit)
    )
    return [(row.id, RepositoryName(row.name)) for row in connection.execute(found)]


@by_key
def find(connection: Connection, digest: Digest) -> StoredBlob | None:
    """The blob's row, whoever holds it and whatever its state."""
    row = _FIND.one(connection, digest=digest)
    return StoredBlob(row[0], row[1], sound=row[2] == "ok") if row else None


def insert_blob(connection: Connection, digest: Digest, key: str, size: int) -> None:
    connection.execute(
        insert(blob).values(digest=digest, key=key, size=size, state="ok", created_at=now(), verified_at=now())
    )


def replace_bytes(connection: Connection, digest: Digest, old_key: str, key: str, size: int) -> None:
    """Point a blob whose bytes are lost or rotten at good ones, and doom the old."""
    connection.execute(
        update(blob).where(blob.c.digest == digest).values(key=key, size=size, state="ok", verified_at=now())
    )
    doom(connection, old_key, size, "replaced")


def doom(connection: Connection, key: str, size: int, reason: str) -> None:
    """Give the bytes at a key that no row names any more to the garbage collection. One-way (design P2)."""
    made = upsert(doomed).values(key=key, doomed_at=now(), reason=reason, size=size)
    connection.execute(made.on_conflict_do_nothing())


@on_full_disk
def quarantine(connection: Connection, digest: Digest, key: str) -> bool:
    """Hide a blob whose bytes at `key` are not what they should be; the next push of it heals it."""
    return _judge(connection, digest, key, "ok", "quarantined")


def release(connection: Connection, digest: Digest, key: str) -> bool:
    """Undo `quarantine`, for bytes that hash to the digest after all."""
    return _judge(connection, digest, key, "quarantined", "ok")


def _judge(connection: Connection, digest: Digest, key: str, old: str, new: str) -> bool:
    changed = connection.execute(
        update(blob)
        .where(blob.c.digest == digest, blob.c.key == key, blob.c.state == old)
        .values(state=new, verified_at=now())
    )
    return changed.rowcount == 1


def put_link(connection: Connection, repository_id: int, digest: Digest, lease: int) -> None:
    """Let the repository hold the blob, for at least `lease` milliseconds from now."""
    until = now() + lease
    made = upsert(link).values(
        repository_id=repository_id, digest=digest, linked_at=now(), keep_until=until, review_at=until
    )
    connection.execute(
        made.on_conflict_do_update(
            index_elements=[link.c.repository_id, link.c.digest],
            set_={
                "keep_until": later_of(link.c.keep_until, made.excluded.keep_until),
                "review_at": made.excluded.review_at,
                "deleted_at": None,
            },
        )
    )


def delete_link(connection: Connection, repository_id: int, digest: Digest) -> bool:
    """Hide the blob from the repository; False when it was not held."""
    changed = connection.execute(
        update(link)
        .where(link.c.repository_id == repository_id, link.c.digest == digest, link.c.deleted_at.is_(None))
        .values(deleted_at=now(), review_at=link.c.keep_until)
    )
    return changed.rowcount == 1


def review_links(connection: Connection, repository_id: int, digests: Collection[str] | Select[Any]) -> None:
    """Have the garbage collection look at links that something does not need any more."""
    connection.execute(
        update(link)
        .where(link.c.repository_id == repository_id, link.c.digest.in_(digests))
        .values(review_at=link.c.keep_until)
    )


def find_referrer(connection: Connection, repository_id: int, digest: Digest) -> str | None:
    """A live manifest that needs the blob."""
    needs = (
        select(ref.c.parent)
        .join(
            manifest,
            (manifest.c.repository_id == ref.c.repository_id) & (manifest.c.digest == ref.c.parent),
        )
        .where(
            ref.c.repository_id == repository_id,
            ref.c.link_digest == digest,
            manifest.c.deleted_at.is_(None),
        )
        .limit(1)
    )
    return connection.scalar(needs)


def sizes_in(connection: Connection, repository_id: int, digests: Iterable[Digest]) -> dict[str, int]:
    """The sizes of those blobs that the repository holds and that are sound (design P8)."""
    found: dict[str, int] = {}
    for some in batches(digests):
        rows = connection.execute(
            select(blob.c.digest, blob.c.size)
            .join(link, link.c.digest == blob.c.digest)
            .where(
                link.c.repository_id == repository_id,
                link.c.digest.in_(some),
                link.c.deleted_at.is_(None),
                blob.c.state == "ok",
            )
        )
        found.update((row.digest, row.size) for row in rows)
    return found
