"""What the database says of itself, for fsck: rows in pages, and the checks that SQL can do."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select, text

from registry.metadata.models import blob, doomed, manifest, ref, upload
from registry.metadata.uploads import parse_segments
from storage.backend import Staged

PAGE = 500


class BlobRow(NamedTuple):
    digest: str
    key: str
    size: int
    state: str
    verified_at: int | None


class ManifestRow(NamedTuple):
    repository_id: int
    digest: str
    media_type: str
    size: int
    payload: bytes


def structure(connection: Connection) -> list[str]:
    """SQLite's own findings: damaged pages, foreign keys that point nowhere."""
    found = [row[0] for row in connection.execute(text("PRAGMA integrity_check(20)")) if row[0] != "ok"]
    strays = connection.execute(text("PRAGMA foreign_key_check"))
    return found + [f"a row of {row[0]} points to a row of {row[2]} that is not there" for row in strays]


def blobs_after(connection: Connection, last: str) -> list[BlobRow]:
    page = (
        select(blob.c.digest, blob.c.key, blob.c.size, blob.c.state, blob.c.verified_at)
        .where(blob.c.digest > last)
        .order_by(blob.c.digest)
        .limit(PAGE)
    )
    return [BlobRow(*row) for row in connection.execute(page)]


def manifests_after(connection: Connection, repository_id: int, last: str) -> list[ManifestRow]:
    """Manifests in the order of repository and digest; few at a time, a payload may have 4 MiB."""
    columns = (
        manifest.c.repository_id,
        manifest.c.digest,
        manifest.c.media_type,
        manifest.c.size,
        manifest.c.payload,
    )
    after = (manifest.c.repository_id > repository_id) | (
        (manifest.c.repository_id == repository_id) & (manifest.c.digest > last)
    )
    page = select(*columns).where(after).order_by(manifest.c.repository_id, manifest.c.digest).limit(20)
    return [ManifestRow(*row) for row in connection.execute(page)]


def refs_of(connection: Connection, repository_id: int, parent: str) -> list[tuple[str, int]]:
    """Digest and size of all that a manifest names, in its order."""
    found = (
        select(ref.c.digest, ref.c.size)
        .where(ref.c.repository_id == repository_id, ref.c.parent == parent)
        .order_by(ref.c.position)
    )
    return [(row[0], row[1]) for row in connection.execute(found)]


def uploads_after(connection: Connection, last: str) -> list[Staged]:
    """Unfinished uploads that no writer holds, with the bytes that they count on."""
    page = (
        select(upload.c.id, upload.c.segments, upload.c.offset)
        .where(upload.c.id > last, upload.c.finished_digest.is_(None), upload.c.lease_owner.is_(None))
        .order_by(upload.c.id)
        .limit(PAGE)
    )
    return [parse_segments(row.id, row.segments) for row in connection.execute(page)]


def doomed_blobs(connection: Connection) -> list[str]:
    """Digests whose bytes are doomed though their blob still names them: never."""
    return list(connection.scalars(select(blob.c.digest).join(doomed, doomed.c.key == blob.c.key)))


def unknown_keys(connection: Connection, keys: Sequence[str]) -> list[str]:
    """Those keys that are neither a blob's nor doomed, and whose upload no row knows."""
    known = set(connection.scalars(select(blob.c.key).where(blob.c.key.in_(keys))))
    known |= set(connection.scalars(select(doomed.c.key).where(doomed.c.key.in_(keys))))
    strange = [key for key in keys if key not in known]
    ids = [key.rpartition(".")[2] for key in strange]
    uploading = set(connection.scalars(select(upload.c.id).where(upload.c.id.in_(ids))))
    return [key for key in strange if key.rpartition(".")[2] not in uploading]


def upload_exists(connection: Connection, upload_id: str) -> bool:
    return connection.scalar(select(upload.c.id).where(upload.c.id == upload_id)) is not None


def counts(connection: Connection) -> dict[str, int]:
    """Rows that matter, for the report."""
    tables = (blob, manifest, ref, upload, doomed)
    return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
