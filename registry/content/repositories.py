"""Repositories as a whole: delete and rename. They are made by the first push."""

from sqlalchemy import Connection

from registry.content.deleting import check_tags, delete_repository
from registry.content.restoring import check_move, find
from registry.content.scenes import scene_of
from registry.domain.access import Caller, Decide
from registry.domain.names import RepositoryName
from registry.domain.problems import Conflict
from registry.metadata import events, repositories, uploads
from registry.metadata.database import Database, on_full_disk
from registry.metadata.trash import Entry


class Repositories:
    """The service of repositories. `some_tags_stay`: each tag is asked about before they all go."""

    def __init__(self, database: Database, decide: Decide, *, some_tags_stay: bool) -> None:
        self._database = database
        self._decide = decide
        self._check_tags = decide if some_tags_stay else None

    async def delete(self, name: RepositoryName, caller: Caller) -> Entry:
        """Hide it with all that is in it; return its entry in the trash. Raise NameUnknown or Denied."""
        return await self._database.write(_delete, name, caller, self._check_tags)

    async def rename(self, name: RepositoryName, new_name: RepositoryName, caller: Caller) -> None:
        """Give it another name, nothing else changes; raise NameUnknown, Conflict or Denied."""
        await self._database.write(_rename, name, new_name, caller, self._decide, self._check_tags)


@on_full_disk
def _delete(connection: Connection, name: RepositoryName, caller: Caller, check: Decide | None) -> Entry:
    return find(connection, delete_repository(connection, name, caller, check))


def _rename(
    connection: Connection,
    name: RepositoryName,
    new_name: RepositoryName,
    caller: Caller,
    decide: Decide,
    check: Decide | None,
) -> None:
    """A push to the new name and a delete of the old one, in one."""
    check_move(decide, caller, name, new_name)
    scene = scene_of(connection, name, caller)
    if repositories.find(connection, new_name) is not None:
        raise Conflict(f"there is a repository {new_name} already; choose another name, or delete it first")
    if check is not None:
        check_tags(connection, scene, check)
    repositories.rename(connection, scene.repository_id, new_name)
    uploads.end_of_repository(connection, scene.repository_id)
    events.append(connection, scene, "repository.rename", details={"from": name, "to": new_name})
