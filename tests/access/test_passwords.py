"""Passwords: what is taken, what is compared, what work is done, what is remembered."""

import asyncio
from collections.abc import AsyncIterator

import bcrypt
import pytest

from registry.access import passwords
from registry.access.passwords import BYTES_LIMIT, KEPT_SECONDS, QUEUE_LIMIT, Passwords
from registry.domain.errors import TooManyRequests
from registry.domain.problems import Invalid

COST = 4  # the least there is
GOOD = "correct horse"


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
async def service(clock: Seconds) -> AsyncIterator[Passwords]:
    service = Passwords(COST, clock)
    yield service
    await service.close()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The costs of all comparisons."""
    costs: list[int] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        costs.append(int(hashed[4:6]))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return costs


def hashed(password: str | bytes, cost: int = COST) -> str:
    data = password.encode() if isinstance(password, str) else password
    return bcrypt.hashpw(data[:BYTES_LIMIT], bcrypt.gensalt(cost)).decode()


@pytest.mark.parametrize("password", [GOOD, "8 chars.", "x" * 72, "é" * 36, "ключ-ключ", "👩\u200d💻" * 3])
async def test_a_password_that_was_hashed_is_right_and_no_other(service: Passwords, password: str) -> None:
    stored = await service.hash(password)
    assert stored.startswith(f"$2b$0{COST}$")
    assert await service.check("alice", password, stored)
    assert not await service.check("alice", password[:-1], stored)
    assert not await service.check("alice", password[:-1] + "?", stored)


@pytest.mark.parametrize(
    "password",
    [
        "",
        "7 chars",
        "é" * 7,
        "x" * 73,
        "é" * 37,
        "with\0nul...",
        "with\nline",
        "with\x1bescape",
        "with\x85next",
        "\udcff" * 8,
    ],
)
async def test_a_password_that_is_none_is_not_hashed(service: Passwords, password: str) -> None:
    with pytest.raises(Invalid) as raised:
        await service.hash(password)
    assert not password or password not in raised.value.detail


ODD = {
    "empty": "",
    "10 KiB": "x" * 10240,
    "73 bytes": "x" * 73,
    "NUL": f"{GOOD}\0",
    "only NUL": "\0",
    "bcrypt's own cycle": f"{GOOD}\0{GOOD}",
    "surrogate": f"{GOOD}\udcff",
}


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("truncates", [True, False])
@pytest.mark.parametrize("password", ODD.values(), ids=ODD)
async def test_odd_passwords_are_wrong_after_the_same_work_a10(
    service: Passwords, work: list[int], password: str, truncates: bool, is_known: bool
) -> None:
    stored = hashed(GOOD) if is_known else None
    assert not await service.check("alice", password, stored, truncates=truncates)
    assert work == [COST]


async def test_a_longer_password_is_not_the_one_it_begins_with(service: Passwords) -> None:
    assert not await service.check("alice", "x" * 73, hashed("x" * 72))


async def test_a_line_of_a_file_was_cut_by_its_maker(service: Passwords) -> None:
    stored = hashed("é" * 50)
    assert await service.check("alice", "é" * 50, stored, truncates=True)
    assert not await service.check("alice", "é" * 35 + "è" * 15, stored, truncates=True)


async def test_an_empty_password_is_wrong_even_where_a_file_has_its_hash(service: Passwords) -> None:
    assert not await service.check("alice", "", hashed(""), truncates=True)


@pytest.mark.parametrize(("stored", "like"), [(5, None), (5, 4), (None, 5)])
async def test_known_and_unknown_users_cost_the_same_a11(
    service: Passwords, work: list[int], stored: int | None, like: int | None
) -> None:
    of_user = hashed(GOOD, stored) if stored else None
    of_others = hashed("another", like) if like else None
    assert not await service.check("alice", "wrong", of_user, like=of_others)
    assert not await service.check("alice", "x" * 73, of_user, like=of_others)
    assert work == [5, 5]


async def test_a_cheaper_hash_costs_what_an_unknown_user_does_on_top_a11(service: Passwords, work: list[int]) -> None:
    for password in ("wrong", GOOD):
        await service.check("alice", password, hashed(GOOD, 4), like=hashed("another", 5))
    assert work == [4, 5, 4, 5]


async def test_unknown_users_cost_what_ours_do_a11(service: Passwords, work: list[int]) -> None:
    assert not await service.check("alice", "wrong", await service.hash(GOOD))
    assert not await service.check("nobody", "wrong", None)
    assert work == [COST, COST]


async def test_what_was_right_needs_no_work_for_a_minute(service: Passwords, work: list[int], clock: Seconds) -> None:
    stored = hashed(GOOD)
    assert not service.recall("alice", GOOD, stored)
    assert await service.check("alice", GOOD, stored)
    clock.now += KEPT_SECONDS - 1
    assert service.recall("alice", GOOD, stored)
    assert await service.check("alice", GOOD, stored)
    assert len(work) == 1
    clock.now += 1
    assert not service.recall("alice", GOOD, stored)
    assert await service.check("alice", GOOD, stored)
    assert len(work) == 2


async def test_only_the_same_user_password_and_hash_are_recalled(service: Passwords) -> None:
    stored = hashed(GOOD)
    assert await service.check("alice", GOOD, stored)
    assert not service.recall("bob", GOOD, stored)
    assert not service.recall("alice", GOOD + "!", stored)
    assert not service.recall("alice", GOOD, hashed(GOOD))
    assert not service.recall("alice", GOOD, None)
    assert not service.recall("alice", "\udcff", stored)


async def test_what_was_wrong_is_not_remembered(service: Passwords, work: list[int]) -> None:
    stored = hashed(GOOD)
    for _ in range(2):
        assert not await service.check("alice", "wrong", stored)
        assert not await service.check("nobody", "wrong", None)
    assert len(work) == 4
    assert not service._known


async def test_no_password_is_kept(service: Passwords) -> None:
    assert await service.check("alice", GOOD, hashed(GOOD))
    (digest,) = service._known
    assert len(digest) == 32
    assert GOOD.encode() not in digest


async def test_the_oldest_make_way(service: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "KEPT_LIMIT", 2)
    stored = hashed(GOOD)
    for name in ("one", "two", "three"):
        assert await service.check(name, GOOD, stored)
    assert not service.recall("one", GOOD, stored)
    assert service.recall("two", GOOD, stored)
    assert service.recall("three", GOOD, stored)


async def test_of_many_at_once_the_first_does_the_work(service: Passwords, work: list[int]) -> None:
    stored = hashed(GOOD)
    assert all(await asyncio.gather(*(service.check("alice", GOOD, stored) for _ in range(50))))
    assert len(work) == 1


async def test_the_queue_has_an_end(service: Passwords, work: list[int]) -> None:
    answers = await asyncio.gather(
        *(service.check("alice", f"wrong {number}", None) for number in range(200)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, TooManyRequests)]
    assert answers.count(False) == len(work) == QUEUE_LIMIT + 1, "one at work, and those that wait"
    assert len(refused) == 200 - len(work)
    assert all(1 <= int(error.headers["Retry-After"]) <= 60 for error in refused)
    assert await service.check("alice", GOOD, hashed(GOOD)), "the queue is empty again"


async def test_a_guard_that_raises_saves_the_work(service: Passwords, work: list[int]) -> None:
    def guard() -> None:
        raise TooManyRequests

    with pytest.raises(TooManyRequests):
        await service.check("alice", GOOD, hashed(GOOD), guard=guard)
    assert not work


async def test_the_loop_goes_on_meanwhile(service: Passwords) -> None:
    checking = asyncio.create_task(service.check("alice", GOOD, hashed(GOOD, 8)))
    turns = 0
    while not checking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
