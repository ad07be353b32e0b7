"""Users and groups: made, changed, removed."""

import secrets
from collections.abc import Sequence

from sqlalchemy import Connection

from registry.access.changes import keeping_an_administrator, record
from registry.access.passwords import Passwords
from registry.domain.access import OPERATOR, Caller
from registry.domain.action import Action
from registry.domain.grants import ALL, Grant, parse_account
from registry.domain.paging import Page, PageRequest
from registry.domain.problems import Conflict, Missing
from registry.metadata import grants, tokens, users
from registry.metadata.database import Database, on_full_disk
from registry.metadata.users import User

FIRST_ADMINISTRATOR = "admin"


class Users:
    """The service of users and groups. Raises Invalid, Missing and Conflict."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    async def list(self, page: PageRequest) -> Page[User]:
        """By name."""
        found = await self._database.read(users.list_users, page)
        return page.cut_by(found, lambda user: user.name)

    async def get(self, name: str) -> User:
        found = await self._database.read(users.find, name)
        if found is None:
            raise Missing(f"there is no user {name}; `digestry user list` shows them")
        return found

    async def groups_of(self, name: str) -> Sequence[str]:
        return await self._database.read(users.groups_of, name)

    async def add(self, name: str, password: str, caller: Caller) -> None:
        """A new user, who may do nothing until granted."""
        hashed = await self._passwords.hash(password)
        await self._database.write(_add, parse_account(name), hashed, caller)

    async def adopt(self, name: str, hashed: str, caller: Caller) -> None:
        """A new user with the bcrypt hash of an htpasswd file."""
        await self._database.write(_add, parse_account(name), hashed, caller)

    async def set_password(self, name: str, password: str, caller: Caller) -> None:
        """What was handed out for the old password ends."""
        hashed = await self._passwords.hash(password)
        await self._database.write(_set_password, name, hashed, caller)

    async def set_disabled(self, name: str, caller: Caller, *, disabled: bool) -> None:
        await self._database.write(_set_disabled, name, disabled, caller)

    async def delete(self, name: str, caller: Caller) -> None:
        """With grants and memberships; robots of the user stop working."""
        await self._database.write(_delete, name, caller)

    async def first_administrator(self, secret: str) -> str | None:
        """Make one when there is none: return the secret, `secret` if given; None when there is one already."""
        if await self._database.read(grants.has_administrator):
            return None
        secret = secret or secrets.token_urlsafe(24)
        hashed = await self._passwords.hash(secret)
        await self._database.write(_make_administrator, hashed, Caller(OPERATOR, ""))
        return secret

    async def list_groups(self, page: PageRequest) -> Page[str]:
        """By name."""
        return page.cut(await self._database.read(users.list_groups, page))

    async def members_of(self, group: str) -> Sequence[str]:
        return await self._database.read(_members_of, group)

    async def add_group(self, group: str, caller: Caller) -> None:
        await self._database.write(_add_group, parse_account(group), caller)

    async def delete_group(self, group: str, caller: Caller) -> None:
        """With its grants."""
        await self._database.write(_delete_group, group, caller)

    async def add_member(self, group: str, user: str, caller: Caller) -> None:
        """The user may also be one of an htpasswd file."""
        await self._database.write(_add_member, group, parse_account(user), caller)

    async def remove_member(self, group: str, user: str, caller: Caller) -> None:
        await self._database.write(_remove_member, group, user, caller)


def _get(connection: Connection, name: str) -> User:
    found = users.find(connection, name)
    if found is None:
        raise Missing(f"there is no user {name}; `digestry user list` shows them")
    return found


def _add(connection: Connection, name: str, hashed: str, caller: Caller) -> None:
    if users.find(connection, name) is not None:
        raise Conflict(f"there is a user {name} already; take another name, or `digestry user password {name}`")
    users.insert_user(connection, name, hashed)
    record(connection, caller, "user.create", user=name)


@on_full_disk
def _set_password(connection: Connection, name: str, hashed: str, caller: Caller) -> None:
    _get(connection, name)
    users.set_password(connection, name, hashed)
    tokens.delete_refresh_of(connection, f"user:{name}")
    record(connection, caller, "user.password", user=name)


@on_full_disk
def _set_disabled(connection: Connection, name: str, disabled: bool, caller: Caller) -> None:
    _get(connection, name)
    with keeping_an_administrator(connection):
        users.set_disabled(connection, name, disabled=disabled)
    record(connection, caller, "user.disable" if disabled else "user.enable", user=name)


@on_full_disk
def _delete(connection: Connection, name: str, caller: Caller) -> None:
    _get(connection, name)
    with keeping_an_administrator(connection):
        users.delete_user(connection, name)
    grants.delete_of_subject(connection, f"user:{name}")
    tokens.delete_refresh_of(connection, f"user:{name}")
    record(connection, caller, "user.delete", user=name)


def _make_administrator(connection: Connection, hashed: str, caller: Caller) -> None:
    name = FIRST_ADMINISTRATOR
    if users.find(connection, name) is None:
        users.insert_user(connection, name, hashed)
    else:
        users.set_password(connection, name, hashed)
        users.set_disabled(connection, name, disabled=False)
    record(connection, caller, "user.create", user=name)
    subject = f"user:{name}"
    held = grants.find_for(connection, subject, ALL)
    if held is None:
        grants.insert_grant(connection, Grant(subject, ALL, frozenset({Action.ADMIN})), caller.identity.name)
    else:
        grants.set_verbs(connection, held.id, {*held.verbs, Action.ADMIN})
    record(connection, caller, "grant.add", subject=subject, pattern=ALL.text, verbs=[Action.ADMIN])


def _check_group(connection: Connection, group: str) -> None:
    if not users.group_exists(connection, group):
        raise Missing(f"there is no group {group}; `digestry group list` shows them")


def _members_of(connection: Connection, group: str) -> list[str]:
    _check_group(connection, group)
    return users.members_of(connection, group)


def _add_group(connection: Connection, group: str, caller: Caller) -> None:
    if users.group_exists(connection, group):
        raise Conflict(f"there is a group {group} already; `digestry group join {group}` puts users into it")
    users.insert_group(connection, group)
    record(connection, caller, "group.create", group=group)


@on_full_disk
def _delete_group(connection: Connection, group: str, caller: Caller) -> None:
    _check_group(connection, group)
    with keeping_an_administrator(connection):
        users.delete_group(connection, group)
        grants.delete_of_subject(connection, f"group:{group}")
    record(connection, caller, "group.delete", group=group)


def _add_member(connection: Connection, group: str, user: str, caller: Caller) -> None:
    _check_group(connection, group)
    if user in users.members_of(connection, group):
        return
    users.insert_member(connection, group, user)
    record(connection, caller, "group.add", group=group, user=user)


@on_full_disk
def _remove_member(connection: Connection, group: str, user: str, caller: Caller) -> None:
    _check_group(connection, group)
    with keeping_an_administrator(connection):
        if not users.delete_member(connection, group, user):
            raise Missing(f"{user} is not in the group {group}; `digestry group members {group}` shows who is")
    record(connection, caller, "group.remove", group=group, user=user)
