"""`digestry group add|remove|list|members|join|leave`."""

import json
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from registry.assembly import Registry
from registry.cli.acting import OPERATING, every, note_unknown_user, say
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags
from registry.cli.tables import print_table

Group: TypeAlias = Annotated[str, Parameter(help="The group's name, such as team.")]
Members: TypeAlias = Annotated[tuple[str, ...], Parameter(help="Names of users, one or more.")]


def add(group: Group, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Make a group."""

    async def make(registry: Registry) -> None:
        await registry.access.users.add_group(group, OPERATING)
        text = (
            f"made the group {group}\n"
            f"its members: digestry group join {group} alice\n"
            f"what they may do: digestry grant add group:{group} 'team/**' pull,push"
        )
        say(text, {"name": group}, as_json=as_json)

    return run_on(config, flags, make, as_json=as_json)


def remove(group: Group, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Remove a group, with its grants."""

    async def delete(registry: Registry) -> None:
        await registry.access.users.delete_group(group, OPERATING)
        say(f"removed the group {group}, with its grants", {"name": group}, as_json=as_json)

    return run_on(config, flags, delete, as_json=as_json)


def list_groups(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Groups with their members, by name."""

    async def show(registry: Registry) -> None:
        users = registry.access.users
        found = {name: list(await users.members_of(name)) for name in await every(users.list_groups)}
        if as_json:
            print(json.dumps([{"name": name, "members": members} for name, members in found.items()], indent=2))
        else:
            print_table(["name", "members"], [[name, ", ".join(members)] for name, members in found.items()])

    return run_on(config, flags, show, as_json=as_json)


def members(group: Group, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """The members of a group, one a line."""

    async def show(registry: Registry) -> None:
        _say_members(group, list(await registry.access.users.members_of(group)), as_json=as_json)

    return run_on(config, flags, show, as_json=as_json)


def join(
    group: Group, users: Members, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False
) -> int:
    """Put users into a group; then tell its members."""

    async def change(registry: Registry) -> None:
        for user in users:
            await registry.access.users.add_member(group, user, OPERATING)
            await note_unknown_user(registry, user)
        _say_members(group, list(await registry.access.users.members_of(group)), as_json=as_json)

    return run_on(config, flags, change, as_json=as_json)


def leave(
    group: Group, users: Members, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False
) -> int:
    """Take users out of a group; then tell its members."""

    async def change(registry: Registry) -> None:
        for user in users:
            await registry.access.users.remove_member(group, user, OPERATING)
        _say_members(group, list(await registry.access.users.members_of(group)), as_json=as_json)

    return run_on(config, flags, change, as_json=as_json)


def _say_members(group: str, found: list[str], *, as_json: bool) -> None:
    text = "\n".join(found) or f"{group} has no members: digestry group join {group} alice"
    say(text, {"name": group, "members": found}, as_json=as_json)
