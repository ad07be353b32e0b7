"""`digestry repository list|show|delete|rename`."""

import json
from dataclasses import asdict
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter

from registry.assembly import Registry
from registry.cli.acting import OPERATING, confirm, every, say, told_time
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags, Repository, Yes
from registry.cli.tables import print_table
from registry.content.overview import RepositoryOverview
from registry.domain.access import OPERATOR
from registry.domain.names import RepositoryName
from registry.domain.times import rfc3339
from registry.values import counted, rounded_size

NewName: TypeAlias = Annotated[str, Parameter(name="new-name", help="The name that it gets.")]


def list_repositories(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Repositories, by name."""

    async def show_all(registry: Registry) -> None:
        found = await every(lambda page: registry.overview.repositories(page, OPERATOR.rights))
        if as_json:
            print(json.dumps([_told(repository) for repository in found], indent=2))
        else:
            print_table(["name", "tags", "size", "last push"], [_row(repository) for repository in found])

    return run_on(config, flags, show_all, as_json=as_json)


def show(name: Repository, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """How much a repository holds, and when a tag of it last moved."""

    async def tell(registry: Registry) -> None:
        found = await registry.overview.repository(RepositoryName.parse(name))
        if as_json:
            print(json.dumps(_told(found), indent=2))
        else:
            print_table(["name", "tags", "size", "last push"], [_row(found)])

    return run_on(config, flags, tell, as_json=as_json)


def delete(
    name: Repository, /, *, yes: Yes = False, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False
) -> int:
    """Delete a repository with all that is in it. It can be restored for as long as `trash.keep` says."""

    async def remove(registry: Registry) -> None:
        found = await registry.overview.repository(RepositoryName.parse(name))
        if not yes:
            tags = f"{found.tags}+ tags" if found.more_tags else counted(found.tags, "tag")
            confirm(f"{name}: {tags}, {_row(found)[2]}; it goes into the trash", name)
        entry = await registry.repositories.delete(RepositoryName(name), OPERATING)
        until = rfc3339(entry.deleted_at + registry.trash.keep)
        say(
            f"deleted {name}\nuntil {until} it comes back by: digestry trash restore {entry.id}",
            {"repository": name, "entry": entry.id, "restorable_until": until},
            as_json=as_json,
        )

    return run_on(config, flags, remove, as_json=as_json)


def rename(
    name: Repository, new_name: NewName, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False
) -> int:
    """Give a repository another name. Whoever pulls or pushes needs to know it, and a grant on it."""

    async def change(registry: Registry) -> None:
        await registry.repositories.rename(RepositoryName.parse(name), RepositoryName.parse(new_name), OPERATING)
        say(f"{name} is {new_name} now", {"repository": new_name, "before": name}, as_json=as_json)

    return run_on(config, flags, change, as_json=as_json)


def _told(found: RepositoryOverview) -> dict[str, Any]:
    return {**asdict(found), "moved_at": told_time(found.moved_at)}


def _row(found: RepositoryOverview) -> list[str]:
    tags = f"{found.tags}{'+' if found.more_tags else ''}"
    size = f"{'over ' if found.more_size else ''}{rounded_size(found.size)}"
    return [found.name, tags, size, told_time(found.moved_at) or ""]
