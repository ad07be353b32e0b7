"""Repositories. Every write resolves a name to its id inside its own transaction (design P4)."""

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from registry.domain.names import RepositoryName
from registry.metadata.columns import now
from registry.metadata.database import Prepared, by_key
from registry.metadata.models import manifest, repository

_FIND = Prepared(
    select(repository.c.id).where(repository.c.name == bindparam("name"), repository.c.deleted_at.is_(None))
)


@by_key
def find(connection: Connection, name: RepositoryName) -> int | None:
    """The id of the live repository of this name."""
    row = _FIND.one(connection, name=name)
    return int(row[0]) if row else None


def get_or_create(connection: Connection, name: RepositoryName) -> int:
    """The id of the live repository of this name, made when there is none."""
    found = find(connection, name)
    if found is not None:
        return found
    made = connection.execute(insert(repository).values(name=name, created_at=now()).returning(repository.c.id))
    return int(made.scalar_one())


def list_names(connection: Connection, start: str, end: str, limit: int, part: str = "") -> list[str]:
    """Names of repositories with a live manifest, in byte order: from `start`, before `end`, with `part` in them."""
    live = exists().where(manifest.c.repository_id == repository.c.id, manifest.c.deleted_at.is_(None))
    names = (
        select(repository.c.name)
        .where(repository.c.deleted_at.is_(None), repository.c.name >= start, repository.c.name < end, live)
        .order_by(repository.c.name)
        .limit(limit)
    )
    if part:
        names = names.where(repository.c.name.contains(part, autoescape=True))
    return list(connection.scalars(names))


def hide(connection: Connection, repository_id: int) -> None:
    """Delete softly, whatever is in it: all its rows stay as they are."""
    connection.execute(update(repository).where(repository.c.id == repository_id).values(deleted_at=now()))


def reveal(connection: Connection, repository_id: int, name: RepositoryName) -> None:
    """Undo `hide`, under a name that no live repository has."""
    connection.execute(update(repository).where(repository.c.id == repository_id).values(deleted_at=None, name=name))


def rename(connection: Connection, repository_id: int, name: RepositoryName) -> None:
    connection.execute(update(repository).where(repository.c.id == repository_id).values(name=name))


def give_up(connection: Connection, repository_id: int) -> None:
    """From now on it can't come back, and the garbage collection takes its rows away."""
    connection.execute(update(repository).where(repository.c.id == repository_id).values(purged_at=now()))
