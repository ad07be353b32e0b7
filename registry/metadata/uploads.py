"""Uploads: their rows, leases and durable offsets.

A lease fences by `version`: every lease and every rollback raises it, and each later statement of the lease's
holder names the version it was given (design P1, P6, P7). A lease is lost too when the upload's repository is deleted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, CursorResult, Row, and_, delete, func, insert, or_, select, update

from registry.domain.names import Digest, RepositoryName
from registry.domain.uploads import UploadKey
from registry.metadata.columns import now
from registry.metadata.database import on_full_disk
from registry.metadata.models import blob, link, repository, upload
from storage.backend import Segment, Staged

# The expiry of an upload that is over
ENDED = 0

_LIVE = (
    select(repository.c.id).where(repository.c.id == upload.c.repository_id, repository.c.deleted_at.is_(None)).exists()
)


@dataclass(frozen=True, slots=True)
class UploadRow:
    id: str
    algorithm: str
    version: int
    staged: Staged
    candidate: Digest | None
    finished: Digest | None
    # Some process holds a lease that has not run out
    leased: bool
    # The last lease was given back, so its segment can be continued
    released: bool

    @property
    def offset(self) -> int:
        return self.staged.size


def _dump(staged: Staged) -> str:
    return json.dumps([[segment.version, segment.size] for segment in staged.segments])


def parse_segments(upload_id: str, text: str) -> Staged:
    return Staged(upload_id, tuple(Segment(version, size) for version, size in json.loads(text)))


@dataclass(frozen=True, slots=True)
class Opening:
    """A new upload; times in milliseconds. With an owner it starts under that owner's lease."""

    key: UploadKey
    algorithm: str
    expiry: int
    owner: str | None = None
    lease: int = 0


def open_upload(connection: Connection, repository_id: int, opening: Opening) -> UploadRow:
    """Insert the row that precedes the first byte."""
    first = Staged(opening.key.id, (Segment(1, 0),))
    connection.execute(
        insert(upload).values(
            id=opening.key.id,
            repository_id=repository_id,
            identity=opening.key.identity,
            algorithm=opening.algorithm,
            offset=0,
            segments=_dump(first),
            version=1,
            lease_owner=opening.owner,
            lease_until=now() + opening.lease if opening.owner else None,
            started_at=now(),
            expires_at=now() + opening.expiry,
        )
    )
    held = opening.owner is not None
    return UploadRow(opening.key.id, opening.algorithm, 1, first, None, None, leased=held, released=not held)


def find(connection: Connection, key: UploadKey) -> UploadRow | None:
    """The upload, finished ones included. Only `remove_expired` judges its time, since clocks jump (P13)."""
    found = (
        select(upload, (upload.c.lease_until > now()).label("leased"))
        .join(repository, repository.c.id == upload.c.repository_id)
        .where(
            upload.c.id == key.id,
            upload.c.identity == key.identity,
            repository.c.name == key.repository,
            repository.c.deleted_at.is_(None),
            upload.c.expires_at > ENDED,
        )
    )
    row = connection.execute(found).one_or_none()
    return _row(row) if row else None


def _row(row: Row[Any]) -> UploadRow:
    return UploadRow(
        id=row.id,
        algorithm=row.algorithm,
        version=row.version,
        staged=parse_segments(row.id, row.segments),
        candidate=Digest(row.candidate) if row.candidate else None,
        finished=Digest(row.finished_digest) if row.finished_digest else None,
        leased=bool(row.leased),
        released=row.lease_owner is None,
    )


def count_unfinished(connection: Connection, identity: str, most: int) -> int:
    """How many uploads this identity has open; counted up to `most`."""
    open_ones = select(upload.c.id).where(upload.c.identity == identity, upload.c.finished_digest.is_(None))
    return int(connection.execute(select(func.count()).select_from(open_ones.limit(most).subquery())).scalar_one())


def list_unfinished(connection: Connection, after: str, limit: int) -> list[tuple[UploadRow, UploadKey]]:
    """Open uploads by id, those after `after`, with what names them."""
    found = (
        select(upload, (upload.c.lease_until > now()).label("leased"), repository.c.name.label("repository"))
        .join(repository, repository.c.id == upload.c.repository_id)
        .where(upload.c.finished_digest.is_(None), upload.c.id > after)
        .order_by(upload.c.id)
        .limit(limit)
    )
    return [
        (_row(row), UploadKey(row.id, RepositoryName(row.repository), row.identity))
        for row in connection.execute(found)
    ]


def lease(connection: Connection, row: UploadRow, owner: str, duration: int) -> UploadRow:
    """Take the lease of an upload that nobody holds; return the row as it stands then.

    A segment whose lease ran out may still get bytes from its holder: leave it and start a new one (P7).
    """
    version = row.version + 1
    staged = row.staged
    if not row.released:
        staged = Staged(row.id, (*staged.segments, Segment(version, 0)))
    connection.execute(
        update(upload)
        .where(upload.c.id == row.id)
        .values(version=version, segments=_dump(staged), lease_owner=owner, lease_until=now() + duration)
    )
    return UploadRow(row.id, row.algorithm, version, staged, row.candidate, None, leased=True, released=False)


def _held(upload_id: str, version: int) -> ColumnElement[bool]:
    return and_(upload.c.id == upload_id, upload.c.version == version, _LIVE)


def checkpoint(connection: Connection, version: int, staged: Staged, lease_duration: int, expiry: int) -> bool:
    """Record durable bytes and renew the lease; False when the lease was lost."""
    changed = connection.execute(
        update(upload)
        .where(_held(staged.upload_id, version))
        .values(
            offset=staged.size,
            segments=_dump(staged),
            candidate=None,
            lease_until=now() + lease_duration,
            expires_at=now() + expiry,
        )
    )
    return changed.rowcount == 1


@on_full_disk
def renew(connection: Connection, upload_id: str, version: int, duration: int) -> None:
    """Prolong a lease that is still held."""
    connection.execute(
        update(upload)
        .where(upload.c.id == upload_id, upload.c.version == version, upload.c.lease_owner.is_not(None))
        .values(lease_until=now() + duration)
    )


@on_full_disk
def clear_leases(connection: Connection, owners: Sequence[str]) -> None:
    """Free what workers held that are gone: nobody writes to their segments any more, so these can be continued."""
    connection.execute(
        update(upload).where(upload.c.lease_owner.in_(owners)).values(lease_owner=None, lease_until=None)
    )


@on_full_disk
def release(connection: Connection, version: int, staged: Staged, candidate: Digest | None, expiry: int) -> bool:
    """Record durable bytes and give the lease back; False when it was lost."""
    changed = _release(connection, version, staged, candidate, version, expiry)
    return changed.rowcount == 1


@on_full_disk
def roll_back(connection: Connection, version: int, staged: Staged, candidate: Digest | None, expiry: int) -> bool:
    """`release` that sets the upload back: live hashes of what was written since are void."""
    changed = _release(connection, version, staged, candidate, version + 1, expiry)
    return changed.rowcount == 1


def _release(
    connection: Connection,
    version: int,
    staged: Staged,
    candidate: Digest | None,
    next_version: int,
    expiry: int,
) -> CursorResult[tuple[()]]:
    return connection.execute(
        update(upload)
        .where(_held(staged.upload_id, version))
        .values(
            offset=staged.size,
            segments=_dump(staged),
            candidate=candidate,
            version=next_version,
            lease_owner=None,
            lease_until=None,
            expires_at=now() + expiry,
        )
    )


def finish(connection: Connection, upload_id: str, version: int, digest: Digest, memory: int) -> bool:
    """Mark the upload finished, to be remembered for `memory` milliseconds; False when the lease was lost."""
    changed = connection.execute(
        update(upload)
        .where(_held(upload_id, version), upload.c.finished_digest.is_(None))
        .values(
            finished_digest=digest,
            version=version + 1,
            lease_owner=None,
            lease_until=None,
            expires_at=now() + memory,
        )
    )
    return changed.rowcount == 1


def repository_of(connection: Connection, upload_id: str) -> int:
    """The id of the repository that the upload is for."""
    found = select(upload.c.repository_id).where(upload.c.id == upload_id)
    return int(connection.execute(found).scalar_one())


def is_linked(connection: Connection, upload_id: str, digest: Digest) -> bool:
    """Whether the repository of a finished upload still holds the blob, whole as far as is known."""
    found = (
        select(link.c.digest)
        .join(upload, upload.c.repository_id == link.c.repository_id)
        .join(blob, blob.c.digest == link.c.digest)
        .where(upload.c.id == upload_id, _LIVE)
        .where(link.c.digest == digest, link.c.deleted_at.is_(None), blob.c.state == "ok")
    )
    return connection.scalar(found) is not None


@on_full_disk
def remove(connection: Connection, upload_id: str, version: int | None = None) -> bool:
    """Forget an upload, at `version` if given; a writer that still runs finds its lease lost."""
    wanted = delete(upload).where(upload.c.id == upload_id)
    if version is not None:
        wanted = wanted.where(upload.c.version == version)
    return connection.execute(wanted).rowcount == 1


@on_full_disk
def end_of_repository(connection: Connection, repository_id: int) -> None:
    """End the uploads of a repository that is deleted or renamed: who writes has lost the lease, nobody gets another.

    Their rows and bytes go with the next expiry, each once that lease is over.
    """
    held = update(upload).where(upload.c.repository_id == repository_id)
    connection.execute(held.values(expires_at=ENDED, version=upload.c.version + 1))


@on_full_disk
def end_orphan(connection: Connection, upload_id: str) -> bool:
    """Whether nobody can finish the upload any more: it is gone, or its repository is, and then the row goes too."""
    unfinished = (upload.c.id == upload_id) & upload.c.finished_digest.is_(None)
    connection.execute(delete(upload).where(unfinished, ~_LIVE | (upload.c.expires_at == ENDED)))
    return not exists(connection, upload_id)


@on_full_disk
def remove_expired(connection: Connection, limit: int) -> list[tuple[Staged, bool]]:
    """Forget uploads whose time is over and that nobody writes to; return what they staged, and which had finished."""
    over = and_(upload.c.expires_at < now(), or_(upload.c.lease_until.is_(None), upload.c.lease_until < now()))
    expired = select(upload.c.id).where(over).limit(limit)
    removed = connection.execute(
        delete(upload)
        .where(upload.c.id.in_(expired))
        .returning(upload.c.id, upload.c.segments, upload.c.finished_digest)
    )
    return [(parse_segments(row.id, row.segments), row.finished_digest is not None) for row in removed]


def exists(connection: Connection, upload_id: str) -> bool:
    return connection.scalar(select(upload.c.id).where(upload.c.id == upload_id)) is not None
