"""Whether the registry can do its work now: the reasons when it can't."""

from sqlalchemy import Connection, text

from registry.domain.errors import RegistryError
from registry.metadata.database import Database
from storage.backend import BlobStore
from storage.errors import StorageError
from storage.failure import FailureMark


class Readiness:
    """The service behind /readyz."""

    def __init__(self, database: Database, store: BlobStore, mark: FailureMark, *, readonly: bool) -> None:
        self._database = database
        self._store = store
        self._mark = mark
        self._readonly = readonly

    @property
    def store_failed(self) -> bool:
        """Whether nothing more may be written."""
        return bool(self._mark.reason)

    async def reasons(self, *, write: bool) -> list[str]:
        """Why reads, and with `write` also pushes, would fail; empty when they would not."""
        found = [f"writing has stopped until a restart: {self._mark.reason}"] if self._mark.reason else []
        if write and self._readonly:
            found.append("the registry is read-only now (storage.maintenance.readonly.enabled)")
        try:
            await self._database.read(_probe)
            if write:
                await self._database.write(_probe)
        except RegistryError as error:
            found.append(f"database: {error.message}")
        try:
            await self._store.check(write=write)
        except StorageError as error:
            found.append(f"blobs: {error}")
        return found


def _probe(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
