"""`digestry user add|password|disable|enable|remove|list|import`."""

import getpass
import json
import sys
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter

from registry.access.htpasswd import Htpasswd
from registry.assembly import Registry
from registry.cli.acting import OPERATING, every, interruptible, say, told_time, users_of_file
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags
from registry.cli.tables import print_table
from registry.domain.action import Action
from registry.domain.grants import ALL, Grant, parse_account
from registry.domain.problems import Conflict, Invalid

Name: TypeAlias = Annotated[str, Parameter(help="The user's name, such as alice.")]
PasswordFile: TypeAlias = Annotated[
    Path | None,
    Parameter(name="--password-file", help="A file with the password; else it is asked for, or read from stdin."),
]
Admin: TypeAlias = Annotated[
    bool,
    Parameter(name="--admin", negative="", help="Also grant admin on `**`: every right, and to give it to others."),
]
ImportFile: TypeAlias = Annotated[Path, Parameter(help="What `htpasswd -B` has written.")]


def add(
    name: Name,
    /,
    *,
    password_file: PasswordFile = None,
    admin: Admin = False,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Make a user, who may do nothing until granted."""

    async def make(registry: Registry) -> None:
        await registry.access.users.add(parse_account(name), read_password(password_file), OPERATING)
        if admin:
            grant = Grant(f"user:{name}", ALL, frozenset({Action.ADMIN}))
            await registry.access.grants.add(grant, OPERATING)
        told = "has admin on **" if admin else f"gets rights by: digestry grant add user:{name} 'team/**' pull,push"
        say(f"made the user {name}, who {told}", {"name": name, "admin": admin}, as_json=as_json)

    return run_on(config, flags, make, as_json=as_json)


def password(
    name: Name,
    /,
    *,
    password_file: PasswordFile = None,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Give a user another password; what was handed out for the old one ends."""

    async def change(registry: Registry) -> None:
        await registry.access.users.get(name)
        await registry.access.users.set_password(name, read_password(password_file), OPERATING)
        say(f"{name} has another password; logins by the old one have ended", {"name": name}, as_json=as_json)

    return run_on(config, flags, change, as_json=as_json)


def disable(name: Name, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Keep a user out, with the robots that they made."""

    async def change(registry: Registry) -> None:
        await registry.access.users.set_disabled(name, OPERATING, disabled=True)
        text = f"{name} is kept out, and so are robots that they made"
        say(text, {"name": name, "disabled": True}, as_json=as_json)

    return run_on(config, flags, change, as_json=as_json)


def enable(name: Name, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Let a user in again."""

    async def change(registry: Registry) -> None:
        await registry.access.users.set_disabled(name, OPERATING, disabled=False)
        say(f"{name} is let in again", {"name": name, "disabled": False}, as_json=as_json)

    return run_on(config, flags, change, as_json=as_json)


def remove(name: Name, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Remove a user, with grants and memberships; robots that they made stop working."""

    async def delete(registry: Registry) -> None:
        await registry.access.users.delete(name, OPERATING)
        text = f"removed the user {name}; robots that they made work no more"
        say(text, {"name": name}, as_json=as_json)

    return run_on(config, flags, delete, as_json=as_json)


def list_users(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Users of the database and of the htpasswd file, by name."""

    async def show(registry: Registry) -> None:
        users = await _users(registry)
        if as_json:
            print(json.dumps(users, indent=2))
        else:
            print_table(["name", "state", "groups", "made"], [_row(user) for user in users])

    return run_on(config, flags, show, as_json=as_json)


def import_file(file: ImportFile, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Make users of the lines of an htpasswd file; those who are there already stay as they are."""

    async def adopt(registry: Registry) -> None:
        imported, kept = [], []
        for name, hashed in sorted(Htpasswd(file).hashes().items()):
            try:
                await registry.access.users.adopt(name, hashed, OPERATING)
                imported.append(name)
            except Conflict:
                kept.append(name)
        text = f"imported: {', '.join(imported) or 'nobody'}"
        if kept:
            text += f"\nthere already, left as they are: {', '.join(kept)}"
        if imported:
            text += "\nwhat each of them may do: digestry grant add user:NAME 'team/**' pull,push"
        say(text, {"imported": imported, "kept": kept}, as_json=as_json)

    return run_on(config, flags, adopt, as_json=as_json)


def read_password(file: Path | None) -> str:
    """From the file, from the terminal without echo, or one line of stdin; raise Invalid.

    Never from an argument, which others see. No error tells the file's name: it may be the password itself.
    """
    try:
        with interruptible():
            found = _password(file).rstrip("\r\n")
    except OSError as error:
        raise Invalid(f"the password file can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise Invalid("a password is text in UTF-8") from None
    if not found:
        raise Invalid("no password came: put it into --password-file, or send it as one line to stdin")
    return found


def _password(file: Path | None) -> str:
    if file is not None:
        return file.read_bytes().decode()
    if not sys.stdin.isatty():
        return sys.stdin.buffer.readline().decode()
    try:
        found = getpass.getpass("Password: ")
        if found and getpass.getpass("Once more: ") != found:
            raise Invalid("these were two passwords; nothing was changed")
    except EOFError:
        return ""
    return found


async def _users(registry: Registry) -> list[dict[str, Any]]:
    users = registry.access.users
    known = {user.name: user for user in await every(users.list)}
    found = []
    for name in sorted({*known, *users_of_file(registry)}):
        user = known.get(name)
        found.append(
            {
                "name": name,
                "disabled": user is not None and user.is_disabled,
                "created_at": told_time(user.created_at if user else None),
                "groups": list(await users.groups_of(name)),
                "source": "database" if user else "htpasswd",
            }
        )
    return found


def _row(user: dict[str, Any]) -> list[str]:
    state = "disabled" if user["disabled"] else "in the htpasswd file" if user["source"] == "htpasswd" else ""
    return [user["name"], state, ", ".join(user["groups"]), user["created_at"] or ""]
