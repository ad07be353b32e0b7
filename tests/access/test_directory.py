"""Who there is and what they may: looked up once a change, never older than a second, never for the wrong one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest

from registry.access import directory
from registry.access.directory import Directory
from registry.access.htpasswd import Htpasswd
from registry.assembly import Registry, open_registry
from registry.domain.access import Caller, Identity
from registry.domain.action import Action
from registry.domain.errors import Unavailable
from registry.metadata import revision
from registry.metadata.database import Database, P, Query, T
from registry.metadata.schema import upgrade
from storage.failure import FailureMark
from tests.support.access import OPERATING, PASSWORD, add_robot, add_user, grant, required_settings, revoke
from tests.support.registry import DAY, Clock, execute

READ_REVISION = revision.read.__name__


class Watched(Database):
    """The real one, which tells what it was asked. It can fail, and keep an answer back until `go_on`."""

    def __init__(self, path: Path, now: Clock) -> None:
        super().__init__(path, now, FailureMark())
        self.asked: list[str] = []
        self.failing = False
        self.answered, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.asked.append(query.__name__)
        if self.failing:
            raise Unavailable
        found = await super().read(query, *args, **kwargs)
        if query.__name__ != READ_REVISION:
            self.answered.set()
            await self.go_on.wait()
        return found


@dataclass
class World:
    """A registry that makes people, and a directory of another process that looks."""

    registry: Registry
    clock: Clock
    database: Watched
    directory: Directory

    @property
    def asked(self) -> list[str]:
        """What was asked since the last look, but for revisions."""
        found = [name for name in self.database.asked if name != READ_REVISION]
        self.database.asked.clear()
        return found

    async def may(self, subject: str, verb: Action = Action.PULL, name: str = "team/app") -> bool | None:
        """None for one that can't log in."""
        await self.directory.renew()
        rights = await self.directory.rights_of(subject)
        return None if rights is None else rights.allow(verb, name)

    async def credential(self, name: str) -> str:
        await self.directory.renew()
        person = await self.directory.person(name)
        assert person is not None
        return person.credential


@asynccontextmanager
async def opened(folder: Path, htpasswd: Path | None = None, *, everything: bool = False) -> AsyncIterator[World]:
    clock = Clock()
    upgrade(folder / "registry.db")
    registry = open_registry(required_settings(folder), now=clock)
    database = Watched(folder / "registry.db", clock)
    found = Directory(
        database, now=clock, htpasswd=Htpasswd(htpasswd) if htpasswd else None, everything_for_file=everything
    )
    try:
        yield World(registry, clock, database, found)
    finally:
        await database.close()
        await registry.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes count at once."""
    monkeypatch.setattr(directory, "FRESH_SECONDS", 0.0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        await add_user(world.registry, "alice", **{"team/**": "pull"})
        yield world


# --- how often, how soon ---------------------------------------------------------------------------------------------


async def test_nothing_is_asked_twice_while_nothing_changes(world: World, at_once: None) -> None:
    for _ in range(3):
        assert await world.may("user:alice") is True
        assert await world.may("user:nobody") is None
        assert await world.may("robot:nobody") is None
        assert await world.may("anonymous") is False
    assert len(world.asked) == 4, "strangers are remembered too"
    await add_user(world.registry, "bob")
    assert await world.may("user:alice") is True
    assert len(world.asked) == 1


async def test_the_revision_is_read_once_a_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: seconds)
    for _ in range(100):
        await world.directory.renew()
    assert len(world.database.asked) == 1
    seconds += directory.FRESH_SECONDS
    await world.directory.renew()
    assert len(world.database.asked) == 2


async def test_a05_what_changed_elsewhere_counts_within_a_second(world: World) -> None:
    assert await world.may("user:alice") is True
    await revoke(world.registry, "user:alice", "team/**")
    await asyncio.sleep(directory.FRESH_SECONDS)
    assert await world.may("user:alice") is False


async def test_what_was_looked_up_during_a_change_is_not_kept(world: World, at_once: None) -> None:
    """The look-up began before the change, and may have seen what was before it."""
    await world.directory.renew()
    world.database.go_on.clear()
    looking = asyncio.create_task(world.directory.person("alice"))
    await world.database.answered.wait()
    await revoke(world.registry, "user:alice", "team/**")
    await world.directory.renew()
    world.database.go_on.set()
    before = await looking
    assert before is not None
    assert before.rights.allow(Action.PULL, "team/app"), "who asked before the change is answered as of then"
    after = await world.directory.person("alice")
    assert after is not None
    assert not after.rights.allow(Action.PULL, "team/app")


async def test_nothing_is_decided_when_nobody_can_tell(world: World, at_once: None) -> None:
    assert await world.may("user:alice") is True
    world.database.failing = True
    with pytest.raises(Unavailable):
        await world.may("user:alice")
    world.database.failing = False
    assert await world.may("user:alice") is True


async def test_a_failed_look_up_is_not_remembered(world: World) -> None:
    await world.directory.renew()
    world.database.failing = True
    with pytest.raises(Unavailable):
        await world.directory.person("alice")
    world.database.failing = False
    assert await world.directory.person("alice") is not None


async def test_made_up_names_fill_no_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "ENTRIES_LIMIT", 10)
    await world.directory.renew()
    for number in range(50):
        assert await world.directory.person(f"nobody{number}") is None
        assert await world.directory.machine(f"nobody{number}") is None
        assert len(world.directory._entries) <= 10


async def test_long_names_are_not_looked_up(world: World) -> None:
    await world.directory.renew()
    _ = world.asked
    for name in ("x" * 65, "x" * 100_000):
        assert await world.directory.person(name) is None
        assert await world.directory.machine(name) is None
        assert await world.directory.rights_of(f"user:{name}") is None
    assert world.asked == []


# --- subjects and credentials ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject", ["", "alice", "user", "user:", "group:devs", "authenticated", "operator", "x:alice"]
)
async def test_what_is_no_subject_that_logs_in_has_no_rights(world: World, subject: str) -> None:
    await grant(world.registry, "anonymous", {"team/**": "pull"})
    await world.registry.access.users.add_group("devs", OPERATING)
    assert await world.may(subject) is None
    assert await world.may("anonymous") is True


async def test_a05_an_old_password_has_another_credential(world: World, at_once: None) -> None:
    before = await world.credential("alice")
    assert await world.directory.rights_of("user:alice", before) is not None
    await world.registry.access.users.set_password("alice", PASSWORD, OPERATING)
    assert await world.credential("alice") != before
    assert await world.directory.rights_of("user:alice", before) is None


async def test_a05_the_next_user_of_a_name_is_another_one(world: World, at_once: None) -> None:
    before = await world.credential("alice")
    robot = Caller(Identity("user:alice"), "test")
    await add_robot(world.registry, "build", DAY, robot)
    await grant(world.registry, "robot:build", {"team/**": "pull"})
    assert await world.may("robot:build") is True
    await world.registry.access.users.delete("alice", OPERATING)
    await add_user(world.registry, "alice", **{"team/**": "pull"})
    assert await world.credential("alice") != before
    assert await world.directory.rights_of("user:alice", before) is None
    assert await world.may("robot:build") is None


@pytest.mark.parametrize("credential", ["", "user", "user.", "user.1", "user.1.1.1", "robot.1.x", "ci.1.x", "file.x"])
async def test_a_credential_is_the_subjects_own(world: World, credential: str) -> None:
    await world.directory.renew()
    assert await world.directory.rights_of("user:alice", credential) is None


async def test_a14_a_robots_credential_is_one_secret(world: World, at_once: None) -> None:
    await add_robot(world.registry, "build", DAY)
    (first,) = await world.registry.access.robots.secrets_of(await world.registry.access.robots.get("build"))
    second = await world.registry.access.robots.rotate("build", 3 * DAY, DAY // 2, OPERATING)
    credentials = {f"robot.{first.robot_id}.{secret}": secret for secret in (first.id, second.id)}

    async def good() -> list[str]:
        await world.directory.renew()
        return [
            secret
            for credential, secret in credentials.items()
            if await world.directory.rights_of("robot:build", credential) is not None
        ]

    assert await good() == [first.id, second.id]
    world.clock.advance(DAY // 2)
    assert await good() == [second.id]
    world.clock.advance(3 * DAY)
    assert await good() == []
    await add_robot(world.registry, "other", 3 * DAY)
    assert await world.directory.rights_of("robot:other", next(iter(credentials))) is None


async def test_a14_a_robot_may_no_more_than_its_creator(world: World, at_once: None) -> None:
    await add_robot(world.registry, "build", DAY, Caller(Identity("user:alice"), "test"))
    await grant(world.registry, "robot:build", {"**": "pull,push"})
    assert await world.may("robot:build", Action.PULL) is True
    assert await world.may("robot:build", Action.PUSH) is False
    assert await world.may("robot:build", Action.PULL, "other/app") is False
    await revoke(world.registry, "user:alice", "team/**")
    assert await world.may("robot:build", Action.PULL) is False
    await world.registry.access.users.add_group("devs", OPERATING)
    await grant(world.registry, "group:devs", {"team/**": "push"})
    assert await world.may("robot:build", Action.PUSH) is False
    await world.registry.access.users.add_member("devs", "alice", OPERATING)
    assert await world.may("robot:build", Action.PUSH) is True, "by a group of its creator's"


async def test_groups_give_and_take(world: World, at_once: None) -> None:
    users = world.registry.access.users
    await users.add_group("devs", OPERATING)
    await grant(world.registry, "group:devs", {"dev/**": "push"})
    assert await world.may("user:alice", Action.PUSH, "dev/app") is False
    await users.add_member("devs", "alice", OPERATING)
    assert await world.may("user:alice", Action.PUSH, "dev/app") is True
    await users.remove_member("devs", "alice", OPERATING)
    assert await world.may("user:alice", Action.PUSH, "dev/app") is False
    await users.add_member("devs", "alice", OPERATING)
    await users.delete_group("devs", OPERATING)
    assert await world.may("user:alice", Action.PUSH, "dev/app") is False
    await users.add_group("devs", OPERATING)
    assert await world.may("user:alice", Action.PUSH, "dev/app") is False, "the next group of a name is another one"


async def test_everybody_who_is_known_has_what_those_have(world: World, at_once: None) -> None:
    await grant(world.registry, "authenticated", {"known/**": "pull"})
    await grant(world.registry, "anonymous", {"public/**": "pull"})
    await add_robot(world.registry, "build", DAY)
    for subject in ("user:alice", "robot:build"):
        assert await world.may(subject, Action.PULL, "known/app") is True
        assert await world.may(subject, Action.PULL, "public/app") is True
    assert await world.may("anonymous", Action.PULL, "known/app") is False


# --- the htpasswd file -----------------------------------------------------------------------------------------------


def _line(name: str, password: str = PASSWORD) -> str:
    return f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(_line("alice") + _line("bob"))
    return path


async def test_users_of_the_file_are_users_with_grants(tmp_path: Path, file: Path, at_once: None) -> None:
    async with opened(tmp_path, file) as world:
        assert await world.may("user:bob") is False
        await grant(world.registry, "user:bob", {"team/**": "pull"})
        assert await world.may("user:bob") is True
        assert (await world.credential("bob")).startswith("file.")
        assert world.directory.costliest is None


async def test_the_database_comes_before_the_file(tmp_path: Path, file: Path, at_once: None) -> None:
    """Whoever is disabled there is not let in by the file."""
    async with opened(tmp_path, file, everything=True) as world:
        assert await world.may("user:alice", Action.PUSH, "any/thing") is True
        await add_user(world.registry, "alice")
        assert (await world.credential("alice")).startswith("user.")
        assert await world.may("user:alice", Action.PUSH, "any/thing") is False
        await world.registry.access.users.set_disabled("alice", OPERATING, disabled=True)
        assert await world.may("user:alice") is None
        await world.registry.access.users.delete("alice", OPERATING)
        assert await world.may("user:alice") is True


async def test_users_of_the_file_may_all_but_administer(tmp_path: Path, file: Path, at_once: None) -> None:
    async with opened(tmp_path, file, everything=True) as world:
        for verb in (Action.PULL, Action.PUSH, Action.OVERWRITE, Action.DELETE):
            assert await world.may("user:bob", verb, "any/thing") is True
        assert await world.may("user:bob", Action.ADMIN, "any/thing") is False
        assert await world.may("user:carol") is None
        assert world.directory.costliest is not None


async def test_a05_a_changed_line_is_another_credential(
    tmp_path: Path, file: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.access.htpasswd.LOOK_SECONDS", 0.0)
    async with opened(tmp_path, file) as world:
        before = await world.credential("bob")
        await asyncio.to_thread(file.write_text, _line("bob"))  # the same password, another salt
        assert await world.credential("bob") != before
        assert await world.directory.rights_of("user:bob", before) is None
        await asyncio.to_thread(file.write_text, _line("alice") + "# nobody else\n")
        assert await world.may("user:bob") is None


async def test_rows_that_were_changed_by_hand_count_once_the_revision_moves(world: World, at_once: None) -> None:
    assert await world.may("user:alice") is True
    await execute(world.registry, "DELETE FROM access_grant")
    assert await world.may("user:alice") is True
    await execute(world.registry, "UPDATE access_state SET revision = revision + 1")
    assert await world.may("user:alice") is False
