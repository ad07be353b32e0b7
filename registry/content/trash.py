"""The trash: list it, bring things back, give them up before their time."""

from sqlalchemy import Connection

from registry.content import restoring
from registry.content.restoring import Restored
from registry.domain.access import Action, Caller, Decide
from registry.domain.grants import Rights
from registry.domain.names import RepositoryName
from registry.domain.paging import Page, PageRequest
from registry.domain.problems import Conflict
from registry.metadata import events, garbage, repositories, trash
from registry.metadata.database import Database, on_full_disk
from registry.metadata.events import Scene
from registry.metadata.trash import Entry

__all__ = ["Entry", "Restored", "Trash"]


class Trash:
    """The service of what was deleted. `keep` in milliseconds: how long it can be restored."""

    def __init__(self, database: Database, *, keep: int, decide: Decide) -> None:
        self.keep = keep
        self._database = database
        self._decide = decide

    async def list(self, page: PageRequest, rights: Rights, repository: RepositoryName | None) -> Page[Entry]:
        """What was deleted for itself, newest first, as far as the caller might delete it; `last` is an entry's id."""
        ranges = rights.ranges(Action.DELETE) if repository is None else [(repository, repository + "\0")]
        before, found = page.last_id(), list[Entry]()
        while True:
            rows = await self._database.read(trash.newest_first, ranges, before, page.limit + 1)
            found += [entry for entry in rows if rights.allow(Action.DELETE, entry.repository)]
            if len(rows) <= page.limit or len(found) > page.limit:
                return page.cut_by(found, lambda entry: str(entry.id))
            before = rows[-1].id

    async def get(self, entry_id: int) -> Entry:
        """Raise Missing."""
        return await self._database.read(restoring.find, entry_id)

    async def taken_along(self, entry_id: int) -> Page[Entry]:
        """What went with it: the first page."""
        page = PageRequest()
        found = await self._database.read(trash.taken_along, entry_id, page.limit + 1)
        return page.cut_by(found, lambda entry: str(entry.id))

    async def restore(self, entry_id: int, caller: Caller, new_name: str | None = None) -> Restored:
        """Bring an entry back, a repository or a tag also under a new name; raise Missing, Conflict or Denied."""
        return await self._database.write(restoring.restore, entry_id, caller, self._decide, new_name)

    async def purge(self, entry_id: int, caller: Caller) -> Entry:
        """Give an entry up before its time: it can't be restored any more. Raise Missing, Conflict or Denied."""
        return await self._database.write(_purge, entry_id, caller, self._decide)


@on_full_disk
def _purge(connection: Connection, entry_id: int, caller: Caller, decide: Decide) -> Entry:
    """On one SQLite host no database is set back but by hand, so nothing must wait (design P17)."""
    entry = restoring.find(connection, entry_id)
    for action in (Action.ADMIN, Action.DELETE):
        refusal = decide(caller.identity, action, entry.repository, None, None)
        if refusal is not None:
            raise refusal
    scene = Scene(caller, entry.repository_id, entry.repository)
    events.append(connection, scene, "trash.purge", tag=entry.tag, old=entry.digest, details={"entry": entry.id})
    if not give_up(connection, entry):
        raise Conflict("an index that is in the trash too names this manifest; purge that first")
    for along in trash.taken_along(connection, entry.id):
        give_up(connection, along)
    return entry


def give_up(connection: Connection, entry: Entry) -> bool:
    """The end of an entry, and of the manifest or repository behind it; False while an index still needs it."""
    if entry.kind == "manifest":
        assert entry.digest is not None
        if not garbage.remove_manifest(connection, entry.repository_id, entry.digest):
            return False
    if entry.kind == "repository":
        repositories.give_up(connection, entry.repository_id)
    trash.remove(connection, entry.id)
    return True
