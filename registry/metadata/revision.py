"""The revision of access: raised with every change, so that each process learns of it with one cheap read."""

from sqlalchemy import Connection, select, update

from registry.metadata.access_models import access_state
from registry.metadata.database import Prepared, by_key

_READ = Prepared(select(access_state.c.revision))


@by_key
def read(connection: Connection) -> int:
    row = _READ.one(connection)
    assert row is not None, "the migration made this row"
    return int(row[0])


def bump(connection: Connection) -> None:
    """Call it in the transaction of each change to users, groups, robots, grants, rules and keys."""
    connection.execute(update(access_state).values(revision=access_state.c.revision + 1))
