"""Which repository is meant: names are resolved inside the transaction that uses them (design P4)."""

from sqlalchemy import Connection

from registry.domain.access import Caller
from registry.domain.errors import NameUnknown
from registry.domain.names import RepositoryName
from registry.metadata import repositories
from registry.metadata.events import Scene


def repository_id(connection: Connection, name: RepositoryName) -> int:
    """Raise NameUnknown."""
    found = repositories.find(connection, name)
    if found is None:
        raise NameUnknown()
    return found


def scene_of(connection: Connection, name: RepositoryName, caller: Caller) -> Scene:
    """Raise NameUnknown."""
    return Scene(caller, repository_id(connection, name), name)
