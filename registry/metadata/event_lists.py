"""Reading events: for people, for export, and row by row for seals."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, true

from registry.domain.audit import SEALED, Event, EventFilter
from registry.metadata.models import event

_SEALED = [event.c[name] for name in SEALED]


def after(event_id: int | None) -> ColumnElement[bool]:
    """Events with a greater id; after None all of them, whatever id somebody gave to one."""
    return event.c.id > event_id if event_id is not None else true()


def sealed_rows(connection: Connection, last: int | None, end: int, limit: int) -> Sequence[Sequence[Any]]:
    """Events after `last` up to `end`, as they are sealed."""
    rows = select(*_SEALED).where(after(last), event.c.id <= end).order_by(event.c.id).limit(limit)
    return connection.execute(rows).all()


def newest_first(connection: Connection, wanted: EventFilter, before: int | None, limit: int) -> list[Event]:
    """Events that match, those with an id below `before`."""
    found = select(event).where(*_conditions(wanted)).order_by(event.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(event.c.id < before)
    return [_event(row) for row in connection.execute(found)]


def oldest_first(connection: Connection, wanted: EventFilter, last: int | None, limit: int) -> list[Event]:
    """Events that match, those with an id above `last`."""
    found = select(event).where(after(last), *_conditions(wanted)).order_by(event.c.id).limit(limit)
    return [_event(row) for row in connection.execute(found)]


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.identity is not None:
        conditions.append(event.c.identity == wanted.identity)
    if wanted.repository is not None:
        conditions.append(event.c.repository == wanted.repository)
    if wanted.action is not None:
        conditions.append(_action(wanted.action))
    if wanted.since is not None:
        conditions.append(event.c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(event.c.at < wanted.until)
    return conditions


def _action(wanted: str) -> ColumnElement[bool]:
    if not wanted.endswith(".*"):
        return event.c.action == wanted
    prefix = wanted.removesuffix("*")
    return func.substr(event.c.action, 1, len(prefix)) == prefix  # LIKE would ignore case on SQLite


def _event(row: Row[Any]) -> Event:
    values = row._asdict()
    if row.details is not None:
        values["details"] = json.loads(row.details)
    return Event(**values)
