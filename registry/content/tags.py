"""Tags: list them. They are made and removed with manifests."""

from sqlalchemy import Connection

from registry.content.scenes import repository_id
from registry.domain.names import RepositoryName
from registry.domain.paging import Page, PageRequest
from registry.metadata import tags
from registry.metadata.database import Database


class Tags:
    """The service of tags."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, repository: RepositoryName, page: PageRequest) -> Page[str]:
        """Tags in byte order (end-8); raise NameUnknown."""
        return page.cut(await self._database.read(_list, repository, page))


def _list(connection: Connection, name: RepositoryName, page: PageRequest) -> list[str]:
    return tags.list_names(connection, repository_id(connection, name), page)
