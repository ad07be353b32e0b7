"""The catalog: which repositories there are."""

from registry.domain.paging import Page, PageRequest
from registry.metadata import repositories
from registry.metadata.database import Database


class Catalog:
    """The service behind `_catalog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, page: PageRequest) -> Page[str]:
        """Names of repositories that hold a manifest, in byte order."""
        return page.cut(await self._database.read(repositories.list_names, page))
