"""What tags pointed to: told by the events that moved them (design P15)."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, literal_column, select

from registry.domain.names import Digest, Tag
from registry.metadata.models import event

# Exactly the condition of the index `event_repository`, or SQLite would not use it
_WHOLE: ColumnElement[bool] = literal_column(
    "action IN ('repository.delete', 'repository.restore', 'repository.rename')"
)


class Move(NamedTuple):
    """`new` is None where the tag was deleted; `request_id` leads to the log."""

    id: int
    at: int
    action: str
    old: Digest | None
    new: Digest | None
    identity: str
    address: str | None
    request_id: str | None


_MOVES = select(
    event.c.id,
    event.c.at,
    event.c.action,
    event.c.old_digest,
    event.c.new_digest,
    event.c.identity,
    event.c.address,
    event.c.request_id,
)


def newest_first(connection: Connection, repository_id: int, tag: Tag, before: int | None, limit: int) -> list[Move]:
    """How the tag moved; those with an id below `before`."""
    found = _MOVES.where(event.c.repository_id == repository_id, event.c.tag == tag, event.c.action != "trash.purge")
    if before is not None:
        found = found.where(event.c.id < before)
    return [_move(row) for row in connection.execute(found.order_by(event.c.id.desc()).limit(limit))]


def last_before(connection: Connection, repository_id: int, tag: Tag, at: int) -> Move | None:
    """The last move up to a time."""
    found = _MOVES.where(
        event.c.repository_id == repository_id, event.c.tag == tag, event.c.action != "trash.purge", event.c.at <= at
    )
    row = connection.execute(found.order_by(event.c.id.desc()).limit(1)).one_or_none()
    return _move(row) if row else None


def was_deleted(connection: Connection, repository_id: int, at: int) -> bool:
    """Whether the repository as a whole was in the trash at a time."""
    found = select(event.c.action).where(event.c.repository_id == repository_id, _WHOLE, event.c.at <= at)
    found = found.where(event.c.action != "repository.rename").order_by(event.c.id.desc()).limit(1)
    return connection.scalar(found) == "repository.delete"


def _move(row: Sequence[object]) -> Move:
    move = Move(*row)  # type: ignore[arg-type]
    return move._replace(old=Digest(move.old) if move.old else None, new=Digest(move.new) if move.new else None)
