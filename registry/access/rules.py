"""Rules for CI: which jobs of which issuer may log in, under which name."""

from sqlalchemy import Connection

from registry.access.changes import record
from registry.domain.access import Caller
from registry.domain.ci import Rule
from registry.domain.paging import Page, PageRequest
from registry.domain.problems import Conflict, Missing
from registry.metadata import ci, grants, tokens
from registry.metadata.database import Database, on_full_disk


class Rules:
    """The service of rules for CI. Raises Missing and Conflict."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, page: PageRequest) -> Page[Rule]:
        """By name."""
        found = await self._database.read(ci.list_rules, page)
        return page.cut_by(found, lambda rule: rule.name)

    async def get(self, name: str) -> Rule:
        found = await self._database.read(ci.find_rule, name)
        if found is None:
            raise Missing(f"there is no rule {name}; `digestry ci list` shows them")
        return found

    async def add(self, rule: Rule, caller: Caller) -> None:
        """A new rule; its jobs may do nothing until `ci:NAME` is granted something."""
        await self._database.write(_add, rule, caller)

    async def delete(self, name: str, caller: Caller) -> None:
        """With its grants; its jobs are logged out."""
        await self._database.write(_delete, name, caller)


def _add(connection: Connection, rule: Rule, caller: Caller) -> None:
    if ci.find_rule(connection, rule.name) is not None:
        raise Conflict(
            f"there is a rule {rule.name} already; take another name, or `digestry ci remove {rule.name}` first"
        )
    ci.insert_rule(connection, rule)
    record(connection, caller, "ci.create", rule=rule.name, issuer=rule.issuer, audience=rule.audience)


@on_full_disk
def _delete(connection: Connection, name: str, caller: Caller) -> None:
    if ci.find_rule(connection, name) is None:
        raise Missing(f"there is no rule {name}; `digestry ci list` shows them")
    ci.delete_rule(connection, name)
    grants.delete_of_subject(connection, f"ci:{name}")
    tokens.delete_refresh_of(connection, f"ci:{name}")
    record(connection, caller, "ci.delete", rule=name)
