"""Who asks is asked anew each second, whoever else asks in between (A-05)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.access import authenticator
from registry.access.authenticator import Authenticator
from registry.access.directory import FRESH_SECONDS
from registry.access.token_service import TokenRequest
from registry.assembly import Registry, open_registry
from registry.domain.access import Identity, Peer
from registry.domain.action import Action
from registry.domain.errors import Unauthorized
from registry.domain.scopes import parse_scopes
from registry.metadata.schema import upgrade
from tests.support.access import OPERATING, PASSWORD, add_user, required_settings, revoke
from tests.support.registry import Clock

HERE = Peer("192.0.2.1", is_private=True)


@dataclass
class Seconds:
    """Of `time.monotonic`, for the directory alone."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def pass_by(self) -> None:
        self.now += FRESH_SECONDS


@dataclass(frozen=True)
class World:
    registry: Registry
    seconds: Seconds
    header: str

    @property
    def authenticator(self) -> Authenticator:
        return self.registry.access.authenticator

    async def ask(self) -> Identity:
        """As the dispatcher does."""
        found = self.authenticator.recall(self.header, for_upload=False)
        return found or await self.authenticator.identify(self.header, HERE)

    async def may(self) -> bool:
        return (await self.ask()).rights.allow(Action.PULL, "team/app")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Alice may pull, and has a token."""
    seconds = Seconds()
    monkeypatch.setattr("registry.access.directory.time", seconds)
    upgrade(tmp_path / "registry.db")
    registry = open_registry(required_settings(tmp_path), now=Clock())
    await add_user(registry, "alice", **{"team/**": "pull"})
    wanted = TokenRequest(parse_scopes(["repository:team/app:pull"]), is_offline=False, peer=HERE, request_id="test")
    issued = await registry.access.token_service.by_password("alice", PASSWORD, wanted)
    yield World(registry, seconds, f"Bearer {issued.token}")
    await registry.close()


async def _nobody(world: World) -> None:
    pass


async def _somebody_logs_in(world: World) -> None:
    wanted = TokenRequest([], is_offline=False, peer=HERE, request_id="test")
    await world.registry.access.token_service.by_basic(None, wanted)


async def _a_body_goes_on(world: World) -> None:
    await world.authenticator.again(Identity("anonymous"))


async def _an_upload_goes_on(world: World) -> None:
    await world.authenticator.identify(None, HERE, for_upload=True)


async def _a_right_is_explained(world: World) -> None:
    await world.authenticator.named("anonymous")


OTHERS = [_nobody, _somebody_logs_in, _a_body_goes_on, _an_upload_goes_on, _a_right_is_explained]


@pytest.mark.parametrize("other", OTHERS)
async def test_a05_what_was_recalled_ends_with_its_second(
    world: World, other: Callable[[World], Awaitable[None]]
) -> None:
    """Also when somebody else asks first in each second."""
    assert await world.may()
    await revoke(world.registry, "user:alice", "team/**")
    for _ in range(3):
        world.seconds.pass_by()
        await other(world)
        assert not await world.may()


@pytest.mark.parametrize("other", OTHERS)
async def test_a05_a_user_who_is_disabled_is_not_recalled(
    world: World, other: Callable[[World], Awaitable[None]]
) -> None:
    assert await world.may()
    await world.registry.access.users.set_disabled("alice", OPERATING, disabled=True)
    world.seconds.pass_by()
    await other(world)
    with pytest.raises(Unauthorized):
        await world.ask()


async def test_within_a_second_nobody_is_asked(world: World) -> None:
    found = await world.ask()
    assert world.authenticator.recall(world.header, for_upload=False) is found
    assert world.authenticator.recall(world.header, for_upload=True) is None
    assert world.authenticator.recall(world.header + " ", for_upload=False) is None
    world.seconds.pass_by()
    assert world.authenticator.recall(world.header, for_upload=False) is None


async def test_a_slow_answer_is_not_kept_for_the_next_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It began before the change, and ends when others have seen it."""
    directory = world.authenticator._directory
    real, began, go_on = directory.rights_of, asyncio.Event(), asyncio.Event()

    async def slow(subject: str, credential: str | None = None) -> object:
        found = await real(subject, credential)
        began.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(directory, "rights_of", slow)
    asking = asyncio.create_task(world.may())
    await began.wait()
    await revoke(world.registry, "user:alice", "team/**")
    world.seconds.pass_by()
    await world.authenticator.identify(None, HERE)
    go_on.set()
    assert await asking, "who asked before the change is answered as of then"
    assert not await world.may()


async def test_passwords_and_refusals_are_not_kept(world: World) -> None:
    header = "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ=="
    await world.authenticator.identify(header, HERE)
    with pytest.raises(Unauthorized):
        await world.authenticator.identify("Bearer wrong", HERE)
    for each in (header, "Bearer wrong"):
        assert world.authenticator.recall(each, for_upload=False) is None


async def test_many_tokens_take_little_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator, "RECENT_LIMIT", 3)
    for spaces in range(10):
        await world.authenticator.identify(world.header + " " * spaces, HERE)
        assert len(world.authenticator._recent) <= 4
