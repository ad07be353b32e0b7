"""What every change of access does beside the change: raise the revision, and leave an event."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from registry.domain.access import Caller
from registry.domain.problems import Conflict
from registry.metadata import events, grants, revision


def record(connection: Connection, caller: Caller, action: str, **details: object) -> None:
    """Call it once in the transaction of a change; every process sees the change from then on."""
    revision.bump(connection)
    events.append_access(connection, caller, action, details)


@contextmanager
def keeping_an_administrator(connection: Connection) -> Iterator[None]:
    """Raise Conflict, which undoes the block, when it leaves nobody who administers everything (reliability A-20)."""
    had_one = grants.has_administrator(connection)
    yield
    if had_one and not grants.has_administrator(connection):
        raise Conflict("nobody would be left with admin on **; give that to another user first")
