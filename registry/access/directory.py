"""Who there is and what they may do, as of at most a second ago, whichever process changed it.

Each answer is kept until the revision moves; one cheap read a second tells whether it did.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from sqlalchemy import Connection

from registry.access.htpasswd import Htpasswd
from registry.domain.grants import (
    ACCOUNT_LIMIT,
    ALL,
    ANONYMOUS_SUBJECT,
    AUTHENTICATED,
    CONTENT_VERBS,
    NO_RIGHTS,
    Grant,
    Rights,
)
from registry.metadata import ci, grants, revision, robots, users
from registry.metadata.database import Database
from registry.metadata.robots import Robot, Secret
from registry.metadata.users import User

FRESH_SECONDS = 1.0
# Names that nobody has are remembered too; strangers make them up
ENTRIES_LIMIT = 10_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a password. `password` is a bcrypt hash; `credential` changes with it."""

    password: str
    credential: str
    rights: Rights
    is_from_file: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """A robot that works: enabled, its creator too."""

    robot: Robot
    secrets: Sequence[Secret]
    rights: Rights


class Directory:
    """Looks up whom a credential belongs to. `now` in milliseconds.

    `everything_for_file`: users of the htpasswd file need no grants.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], int],
        htpasswd: Htpasswd | None = None,
        everything_for_file: bool = False,
    ) -> None:
        self._database = database
        self._now = now
        self._htpasswd = htpasswd
        self._everything_for_file = everything_for_file
        self._entries: dict[str, object] = {}
        # When the revision was last read, by the monotonic clock
        self.as_of = -FRESH_SECONDS
        self.revision = 0

    def is_fresh(self) -> bool:
        """Whether nothing known is older than a second."""
        return time.monotonic() - self.as_of < FRESH_SECONDS

    async def renew(self) -> None:
        """Forget what has changed. Raises Unavailable when nobody can tell: then nothing is decided."""
        began = time.monotonic()
        if began - self.as_of < FRESH_SECONDS:
            return
        found = await self._database.read(revision.read)
        if found != self.revision:
            self.revision = found
            self._entries.clear()
        self.as_of = began

    @property
    def costliest(self) -> str | None:
        """The hash that a check of an unknown name imitates, where all names come from a file."""
        return self._htpasswd.costliest if self._htpasswd and self._everything_for_file else None

    async def anonymous(self) -> Rights:
        """What everybody may do."""
        return await self._entry(ANONYMOUS_SUBJECT, lambda: self._database.read(_rights, [ANONYMOUS_SUBJECT]))

    async def person(self, name: str) -> Person | None:
        """The user, in the database or else in the file; None for one who is unknown or disabled."""
        if len(name) > ACCOUNT_LIMIT:
            return None
        password = self._htpasswd.find(name) if self._htpasswd else None
        extra = _everything(name) if password and self._everything_for_file else []
        key = f"{'user' if password is None else 'file'}:{name}"
        user, rights = await self._entry(key, lambda: self._database.read(_user, name, password is not None, extra))
        if user is not None:
            return None if user.is_disabled else Person(user.password, f"user.{user.id}.{user.version}", rights)
        if password is None:
            return None
        return Person(password, f"file.{sha256(password.encode()).hexdigest()[:16]}", rights, is_from_file=True)

    async def machine(self, name: str) -> Machine | None:
        """The robot; None for one that is unknown, disabled, or whose creator is."""
        if len(name) > ACCOUNT_LIMIT:
            return None
        return await self._entry(f"robot:{name}", lambda: self._load_machine(name))

    async def _load_machine(self, name: str) -> Machine | None:
        found = await self._database.read(_robot, name)
        if found is None or found[0].is_disabled:
            return None
        robot, secrets, granted = found
        if robot.creator_id is None:
            return Machine(robot, secrets, granted)
        creator = await self.person(robot.created_by.removeprefix("user:"))
        if creator is None or not creator.credential.startswith(f"user.{robot.creator_id}."):
            return None
        return Machine(robot, secrets, Rights(granted.grants, within=creator.rights))

    async def rule(self, name: str) -> tuple[int, Rights] | None:
        """The id and the rights of a rule for CI."""
        return await self._entry(f"ci:{name}", lambda: self._database.read(_rule, name))

    async def rights_of(self, subject: str, credential: str | None = None) -> Rights | None:
        """What a subject may do now; None for one that can't log in, or whose credential is good no more."""
        kind, _, name = subject.partition(":")
        if kind == "user":
            person = await self.person(name)
            return person.rights if person and credential in (None, person.credential) else None
        if kind == "robot":
            machine = await self.machine(name)
            return machine.rights if machine and (credential is None or self.has_secret(machine, credential)) else None
        if kind == "ci":
            rule = await self.rule(name)
            return rule[1] if rule and (credential is None or credential.startswith(f"ci.{rule[0]}.")) else None
        return await self.anonymous() if subject == ANONYMOUS_SUBJECT else None

    def has_secret(self, machine: Machine, credential: str) -> bool:
        """Whether the credential is one of a robot's secrets, and not expired."""
        now = self._now()
        return any(robot_credential(secret) == credential and secret.expires_at > now for secret in machine.secrets)

    async def _entry(self, key: str, load: Callable[[], Awaitable[T]]) -> T:
        known = self._entries.get(key)
        if known is not None:
            return known[0]  # type: ignore[index,no-any-return]
        as_of = self.revision
        found = await load()
        if as_of == self.revision:  # else it may be older than what made the revision move
            if len(self._entries) >= ENTRIES_LIMIT:
                self._entries.clear()
            self._entries[key] = (found,)
        return found


def robot_credential(secret: Secret) -> str:
    return f"robot.{secret.robot_id}.{secret.id}"


def _everything(name: str) -> list[Grant]:
    return [Grant(f"user:{name}", ALL, CONTENT_VERBS, source="auth.mode = htpasswd")]


def _rights(connection: Connection, subjects: Sequence[str]) -> Rights:
    return Rights(grants.of_subjects(connection, subjects))


def _known_rights(connection: Connection, *subjects: str) -> Rights:
    return _rights(connection, [*subjects, AUTHENTICATED, ANONYMOUS_SUBJECT])


def _user(connection: Connection, name: str, is_in_file: bool, extra: Sequence[Grant]) -> tuple[User | None, Rights]:
    """Whom the database has goes before the file. Nothing is built for names that strangers make up."""
    user = users.find(connection, name)
    if user is None and not is_in_file:
        return None, NO_RIGHTS
    groups = [f"group:{group}" for group in users.groups_of(connection, name)]
    rights = _known_rights(connection, f"user:{name}", *groups)
    return user, rights if user else Rights([*rights.grants, *extra])


def _robot(connection: Connection, name: str) -> tuple[Robot, Sequence[Secret], Rights] | None:
    robot = robots.find(connection, name)
    if robot is None:
        return None
    return robot, robots.secrets_of(connection, robot.id), _known_rights(connection, f"robot:{name}")


def _rule(connection: Connection, name: str) -> tuple[int, Rights] | None:
    rule = ci.find_rule(connection, name)
    return (rule.id, _known_rights(connection, f"ci:{name}")) if rule else None
