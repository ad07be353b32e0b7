"""The catalog: which repositories there are, for those who may pull from them."""

from collections.abc import Iterator

from sqlalchemy import Connection

from registry.domain.action import Action
from registry.domain.grants import Rights
from registry.domain.paging import Page, PageRequest
from registry.metadata import repositories
from registry.metadata.database import Database

# Fetched at once at least: of those that some grant may give, not all are given
ROWS = 100


class Catalog:
    """The service behind `_catalog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, page: PageRequest, rights: Rights) -> Page[str]:
        """Names of repositories that hold a manifest and may be pulled, in byte order."""
        return page.cut(await self._database.read(pullable, page, rights))


def pullable(connection: Connection, page: PageRequest, rights: Rights, part: str = "") -> list[str]:
    """Names with `part` in them, one more than the page when there is.

    Only the ranges of names that some grant gives are looked through.
    """
    found: list[str] = []
    for start, end in rights.ranges(Action.PULL):
        if end <= page.last:
            continue
        for name in _names(connection, max(start, page.last + "\0"), end, max(page.limit + 1, ROWS), part):
            if rights.allow(Action.PULL, name):
                found.append(name)
            if len(found) > page.limit:
                return found
    return found


def _names(connection: Connection, start: str, end: str, rows: int, part: str) -> Iterator[str]:
    while names := repositories.list_names(connection, start, end, rows, part):
        yield from names
        start = names[-1] + "\0"
