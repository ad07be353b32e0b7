"""Grants: given and taken."""

from collections.abc import Sequence

from sqlalchemy import Connection

from registry.access.changes import keeping_an_administrator, record
from registry.domain.access import Caller
from registry.domain.action import Action
from registry.domain.grants import Grant
from registry.domain.problems import Invalid, Missing
from registry.metadata import ci, grants, robots, users
from registry.metadata.database import Database, on_full_disk


class Grants:
    """The service of grants. Raises Invalid, Missing and Conflict."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, subject: str | None, after: int, limit: int) -> Sequence[Grant]:
        """By id, those after `after`."""
        return await self._database.read(grants.list_grants, subject, after, limit)

    async def get(self, grant_id: int) -> Grant:
        found = await self._database.read(grants.find, grant_id)
        if found is None:
            raise Missing(f"there is no grant {grant_id}; `digestry grant list` shows them")
        return found

    async def find_for(self, grant: Grant) -> Grant:
        """What the subject holds on just this pattern."""
        found = await self._database.read(grants.find_for, grant.subject, grant.pattern)
        if found is None:
            raise Missing(
                f"{grant.subject} has no grant on {grant.pattern.text}; "
                f"`digestry grant list --subject {grant.subject}` shows what it has"
            )
        return found

    async def add(self, grant: Grant, caller: Caller) -> Grant:
        """Give these verbs, beside those that the subject has on the pattern; return all of them."""
        return await self._database.write(_add, grant, caller)

    async def remove(self, grant_id: int, caller: Caller) -> None:
        await self._database.write(_remove, grant_id, caller)


def _add(connection: Connection, grant: Grant, caller: Caller) -> Grant:
    _check_subject(connection, grant)
    held = grants.find_for(connection, grant.subject, grant.pattern)
    if held is not None and grant.verbs <= held.verbs:
        return held
    verbs = grant.verbs | (held.verbs if held else frozenset())
    if held is None:
        grant_id = grants.insert_grant(connection, grant, caller.identity.name)
    else:
        grant_id = held.id
        grants.set_verbs(connection, grant_id, verbs)
    record(
        connection,
        caller,
        "grant.add",
        subject=grant.subject,
        pattern=grant.pattern.text,
        verbs=sorted(grant.verbs),
    )
    return Grant(grant.subject, grant.pattern, verbs, grant_id)


@on_full_disk
def _remove(connection: Connection, grant_id: int, caller: Caller) -> None:
    held = grants.find(connection, grant_id)
    if held is None:
        raise Missing(f"there is no grant {grant_id}; `digestry grant list` shows them")
    with keeping_an_administrator(connection):
        grants.delete_grant(connection, grant_id)
    record(
        connection, caller, "grant.remove", subject=held.subject, pattern=held.pattern.text, verbs=sorted(held.verbs)
    )


def _check_subject(connection: Connection, grant: Grant) -> None:
    """A mistyped name would be granted to whoever takes it later. Users may also be those of an htpasswd file."""
    kind, _, name = grant.subject.partition(":")
    if Action.ADMIN in grant.verbs and kind not in ("user", "group"):
        raise Invalid("only users and groups can have admin: no credential may make another one")
    missing = (
        (kind == "group" and not users.group_exists(connection, name))
        or (kind == "robot" and robots.find(connection, name) is None)
        or (kind == "ci" and ci.find_rule(connection, name) is None)
    )
    if missing:
        raise Missing(f"there is no {grant.subject}; make it first")
