"""Robots: names for machines, with secrets that expire and rotate, and rights that never exceed their creator's."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from registry.access.changes import record
from registry.domain.access import ANYBODY, OPERATOR, Caller, Identity
from registry.domain.grants import parse_account
from registry.domain.paging import Page, PageRequest
from registry.domain.problems import Conflict, Invalid, Missing
from registry.domain.secret_text import ROBOT_PREFIX, hash_of, make_secret
from registry.metadata import grants, robots, tokens, users
from registry.metadata.database import Database, on_full_disk
from registry.metadata.robots import Robot, Secret

DAY = 86_400_000
SECRET_LIFETIME = 90 * DAY
LONGEST_LIFETIME = 3650 * DAY
# How long the secrets before a new one stay good
OVERLAP = DAY


@dataclass(frozen=True, slots=True)
class Made:
    """A secret in the clear: shown once, stored nowhere."""

    id: str
    secret: str


class Robots:
    """The service of robots. Times in milliseconds. Raises Invalid, Missing and Conflict."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, page: PageRequest, creator: Identity | None = None) -> Page[Robot]:
        """By name; those of one creator if given."""
        creator_id = None if creator is None else await self._database.read(_creator_id, creator)
        found = await self._database.read(robots.list_robots, page, creator_id)
        return page.cut_by(found, lambda robot: robot.name)

    async def get(self, name: str) -> Robot:
        return await self._database.read(_get, name)

    async def secrets_of(self, robot: Robot) -> Sequence[Secret]:
        """Oldest first, expired ones too."""
        return await self._database.read(robots.secrets_of, robot.id)

    async def add(self, name: str, about: str, lifetime: int, caller: Caller) -> Made:
        """A new robot, which may do nothing until granted, with its first secret."""
        _check_lifetime(lifetime)
        return await self._database.write(_add, parse_account(name), about, lifetime, caller)

    async def rotate(self, name: str, lifetime: int, overlap: int, caller: Caller) -> Made:
        """One more secret; the others end within `overlap`."""
        _check_lifetime(lifetime)
        return await self._database.write(_rotate, name, lifetime, overlap, caller)

    async def revoke(self, name: str, secret_id: str, caller: Caller) -> None:
        """End one secret at once."""
        await self._database.write(_revoke, name, secret_id, caller)

    async def set_disabled(self, name: str, caller: Caller, *, disabled: bool) -> None:
        await self._database.write(_set_disabled, name, disabled, caller)

    async def delete(self, name: str, caller: Caller) -> None:
        """With its secrets and grants."""
        await self._database.write(_delete, name, caller)


def _check_lifetime(lifetime: int) -> None:
    if not 0 < lifetime <= LONGEST_LIFETIME:
        raise Invalid("a secret lives at most ten years; 90 days are the default")


def _get(connection: Connection, name: str) -> Robot:
    found = robots.find(connection, name)
    if found is None:
        raise Missing(f"there is no robot {name}; `digestry robot list` shows them")
    return found


def _creator_id(connection: Connection, creator: Identity) -> int | None:
    """The user's id; None for whoever runs commands, and in open mode, where nobody's rights are less."""
    if creator in (OPERATOR, ANYBODY):
        return None
    user = users.find(connection, creator.name.removeprefix("user:"))
    if user is None:
        raise Conflict("users of an htpasswd file can't own robots; import the user first")
    return user.id


def _add(connection: Connection, name: str, about: str, lifetime: int, caller: Caller) -> Made:
    if robots.find(connection, name) is not None:
        raise Conflict(f"there is a robot {name} already; `digestry robot rotate {name}` makes another secret")
    creator_id = _creator_id(connection, caller.identity)
    robot_id = robots.insert_robot(connection, name, about, caller.identity.name, creator_id)
    made = _insert_secret(connection, robot_id, lifetime)
    record(connection, caller, "robot.create", robot=name, secret=made.id)
    return made


def _insert_secret(connection: Connection, robot_id: int, lifetime: int) -> Made:
    secret, secret_id = make_secret(ROBOT_PREFIX)
    robots.insert_secret(connection, robot_id, secret_id, hash_of(secret), lifetime)
    return Made(secret_id, secret)


def _rotate(connection: Connection, name: str, lifetime: int, overlap: int, caller: Caller) -> Made:
    robot = _get(connection, name)
    made = _insert_secret(connection, robot.id, lifetime)
    robots.shorten_secrets(connection, robot.id, made.id, overlap)
    record(connection, caller, "robot.rotate", robot=name, secret=made.id)
    return made


@on_full_disk
def _revoke(connection: Connection, name: str, secret_id: str, caller: Caller) -> None:
    robot = _get(connection, name)
    if not robots.delete_secret(connection, robot.id, secret_id):
        raise Missing(f"the robot {name} has no secret {secret_id}; `digestry robot show {name}` shows them")
    record(connection, caller, "robot.revoke", robot=name, secret=secret_id)


@on_full_disk
def _set_disabled(connection: Connection, name: str, disabled: bool, caller: Caller) -> None:
    robots.set_disabled(connection, _get(connection, name).id, disabled=disabled)
    record(connection, caller, "robot.disable" if disabled else "robot.enable", robot=name)


@on_full_disk
def _delete(connection: Connection, name: str, caller: Caller) -> None:
    robots.delete_robot(connection, _get(connection, name).id)
    grants.delete_of_subject(connection, f"robot:{name}")
    tokens.delete_refresh_of(connection, f"robot:{name}")
    record(connection, caller, "robot.delete", robot=name)
