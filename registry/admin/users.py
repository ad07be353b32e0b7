"""Users."""

from msgspec import Struct, field

from registry.admin.answers import Listed, PageQuery, listed, told
from registry.admin.inputs import Input, Name, Password, Time
from registry.admin.operation import Call


class User(Struct, frozen=True, kw_only=True):
    name: str
    is_disabled: bool = field(name="disabled")
    created_at: Time


class UserDetail(User, frozen=True, kw_only=True):
    groups: list[str]


class NewUser(Input, frozen=True, kw_only=True):
    name: Name
    password: Password


class UserChange(Input, frozen=True, kw_only=True):
    disabled: bool


class NewPassword(Input, frozen=True, kw_only=True):
    password: Password


async def list_users(call: Call, query: PageQuery) -> Listed[User]:
    """Users of the database, by name."""
    page = await call.registry.access.users.list(query.page)
    return listed(page, lambda user: told(User, user))


async def add_user(call: Call, body: NewUser) -> UserDetail:
    """Make a user, who may do nothing until granted."""
    await call.registry.access.users.add(body.name, body.password, call.caller)
    return await get_user(call, body.name)


async def get_user(call: Call, name: str) -> UserDetail:
    """A user, with the groups they are in."""
    users = call.registry.access.users
    return told(UserDetail, await users.get(name), groups=list(await users.groups_of(name)))


async def change_user(call: Call, name: str, body: UserChange) -> UserDetail:
    """Disable a user, or let them in again."""
    await call.registry.access.users.set_disabled(name, call.caller, disabled=body.disabled)
    return await get_user(call, name)


async def delete_user(call: Call, name: str) -> None:
    """Delete a user, with grants and memberships. Robots that they made stop working."""
    await call.registry.access.users.delete(name, call.caller)


async def set_password(call: Call, name: str, body: NewPassword) -> None:
    """Give a user another password. Logins by the old one end."""
    await call.registry.access.users.set_password(name, body.password, call.caller)
