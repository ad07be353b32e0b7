"""Refusals in the audit log: each kind once a minute, and never so many that they fill the disk."""

import time
from pathlib import Path

import pytest

from registry.access.denials import KINDS_LIMIT, Denials
from registry.access.policy import Policy
from registry.domain.access import Caller, Identity
from registry.domain.action import Action
from registry.domain.errors import Denied
from registry.domain.names import RepositoryName, Tag
from tests.support.registry import execute, opened

EVE = Caller(Identity("user:eve", is_known=True), "request", "192.0.2.1")
BOB = Caller(Identity("user:bob", is_known=True), "request", "192.0.2.1")
APP = RepositoryName("team/app")


async def test_each_kind_once_a_minute_and_not_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    async with opened(tmp_path) as registry:
        told = Denials(registry.database)

        async def rows(name: str) -> int:
            statement = "SELECT count(*) FROM event WHERE action = 'access.denied' AND identity = ?"
            return int((await execute(registry, statement, name))[0][0])

        for _ in range(3):
            await told.record(EVE, APP, Action.PULL)
        await told.record(EVE, APP, Action.PUSH)
        assert await rows("user:eve") == 2
        for number in range(2 * KINDS_LIMIT):
            await told.record(EVE, RepositoryName(f"made/up-{number}"), Action.PULL)
        await told.record(BOB, APP, Action.PULL)
        assert (await rows("user:eve"), await rows("user:bob")) == (KINDS_LIMIT, 1)
        now += 60
        await told.record(EVE, APP, Action.PULL)
        assert await rows("user:eve") == KINDS_LIMIT + 1
        (row,) = await execute(registry, "SELECT repository, details, address FROM event ORDER BY id DESC LIMIT 1")
        assert row == ("team/app", '{"action": "pull"}', "192.0.2.1")


def test_a_refusal_names_what_was_refused() -> None:
    """Also where the route only needs push, and the tag turned out to exist."""
    refusal = Policy(readonly=False, deletion=True).decide(EVE.identity, Action.OVERWRITE, APP, Tag("v1"))
    assert isinstance(refusal, Denied)
    assert refusal.action == "overwrite"
