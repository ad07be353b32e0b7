"""Seals over the events: a chain that only grows."""

from typing import NamedTuple

from sqlalchemy import Connection, Row, func, insert, select

from registry.domain.audit import Seal
from registry.metadata.access_models import event_seal
from registry.metadata.columns import now
from registry.metadata.event_lists import after
from registry.metadata.models import event


class Waiting(NamedTuple):
    """Events that the seal after `previous` will cover, up to `last_event`."""

    previous: Seal | None
    last_event: int
    now: int


class Unsealed(NamedTuple):
    events: int
    # milliseconds since the oldest
    age: int


def waiting(connection: Connection, limit: int) -> Waiting | None:
    """What there is to seal, at most `limit` events; None when all are sealed."""
    previous = newest(connection)
    last = _last_settled(connection, previous.last_event if previous else None, limit)
    return Waiting(previous, last, connection.execute(select(now())).scalar_one()) if last is not None else None


def _last_settled(connection: Connection, sealed: int | None, limit: int) -> int | None:
    """The last of the next events that none can come before any more.

    On SQLite ids commit in order. On PostgreSQL it must stay below the id of any transaction that is still open.
    """
    following = select(event.c.id).where(after(sealed)).order_by(event.c.id).limit(limit).subquery()
    last: int | None = connection.scalar(select(func.max(following.c.id)))
    return last


def newest(connection: Connection) -> Seal | None:
    row = connection.execute(select(event_seal).order_by(event_seal.c.id.desc()).limit(1)).one_or_none()
    return _seal(row) if row else None


def following(connection: Connection, seal: Seal | None) -> Seal | None:
    """The next one in the chain; the first after None."""
    found = select(event_seal).order_by(event_seal.c.id).limit(1)
    if seal is not None:
        found = found.where(event_seal.c.id > seal.id)
    row = connection.execute(found).one_or_none()
    return _seal(row) if row else None


def over(connection: Connection, last: int, end: int) -> list[Seal]:
    """The seals that cover events after `last` up to `end`; the last of them may go beyond."""
    reached = select(event_seal).where(event_seal.c.last_event > last, event_seal.c.first_event <= end)
    return [_seal(row) for row in connection.execute(reached.order_by(event_seal.c.id))]


def append(connection: Connection, seal: Seal) -> bool:
    """False when somebody else has sealed these events since."""
    previous = newest(connection)
    if seal.id != (previous.id + 1 if previous else 1):
        return False
    connection.execute(
        insert(event_seal).values(
            id=seal.id,
            first_event=seal.first_event,
            last_event=seal.last_event,
            events=seal.events,
            hash=seal.hash,
            sealed_at=seal.sealed_at,
        )
    )
    return True


def unsealed(connection: Connection, sealed: int | None) -> Unsealed:
    """The events after the last sealed one."""
    tail = select(func.count(), func.coalesce(now() - func.min(event.c.at), 0)).where(after(sealed))
    return Unsealed(*connection.execute(tail).one())


def _seal(row: Row[tuple[object, ...]]) -> Seal:
    return Seal(row.id, row.first_event, row.last_event, row.events, row.hash, row.sealed_at)
