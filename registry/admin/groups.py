"""Groups."""

from msgspec import Struct

from registry.admin.answers import Listed, PageQuery, listed
from registry.admin.inputs import Input, Name
from registry.admin.operation import Call


class Group(Struct, frozen=True, kw_only=True):
    name: str


class GroupDetail(Group, frozen=True, kw_only=True):
    members: list[str]


class NewGroup(Input, frozen=True, kw_only=True):
    name: Name


async def list_groups(call: Call, query: PageQuery) -> Listed[Group]:
    """Groups, by name."""
    return listed(await call.registry.access.users.list_groups(query.page), lambda name: Group(name=name))


async def add_group(call: Call, body: NewGroup) -> GroupDetail:
    """Make a group."""
    await call.registry.access.users.add_group(body.name, call.caller)
    return await get_group(call, body.name)


async def get_group(call: Call, name: str) -> GroupDetail:
    """A group, with its members."""
    return GroupDetail(name=name, members=list(await call.registry.access.users.members_of(name)))


async def delete_group(call: Call, name: str) -> None:
    """Delete a group, with its grants."""
    await call.registry.access.users.delete_group(name, call.caller)


async def add_member(call: Call, name: str, user: str) -> None:
    """Put a user into a group; it may be one of the htpasswd file."""
    await call.registry.access.users.add_member(name, user, call.caller)


async def remove_member(call: Call, name: str, user: str) -> None:
    """Take a user out of a group."""
    await call.registry.access.users.remove_member(name, user, call.caller)
