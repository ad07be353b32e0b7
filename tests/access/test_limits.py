"""Rate limits, counted by all workers together in memory that does not grow."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import bcrypt
import pytest

from registry.access.limits import RateLimits
from registry.access.passwords import Passwords
from registry.access.windows import ROWS, SLOTS, Windows
from registry.domain.errors import TooManyRequests

ADDRESS = "192.0.2.1"
MINUTE = 60


class Seconds:
    def __init__(self) -> None:
        self.now = 6000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def windows(clock: Seconds) -> Windows:
    return Windows(clock)


def limits_of(
    windows: Windows,
    failures: str = "10/minute",
    addressfailures: str = "100/minute",
    address: str = "",
    subject: str = "",
) -> RateLimits:
    return RateLimits(windows, failures=failures, addressfailures=addressfailures, address=address, subject=subject)


def is_refused(check: Callable[..., None], *arguments: str | None) -> bool:
    try:
        check(*arguments)
    except TooManyRequests:
        return True
    return False


def wait_told(check: Callable[..., None], *arguments: str) -> int:
    with pytest.raises(TooManyRequests) as raised:
        check(*arguments)
    return int(raised.value.headers["Retry-After"])


def test_the_eleventh_wrong_try_in_a_minute_is_refused_and_the_next_minute_allows_more_a12(
    windows: Windows, clock: Seconds
) -> None:
    limits = limits_of(windows)
    for _ in range(10):
        limits.check_login(ADDRESS, "alice")
        limits.login_failed(ADDRESS, "alice")
    clock.now += 59.5
    assert wait_told(limits.check_login, ADDRESS, "alice") == 1
    limits.check_login(ADDRESS, "bob")
    limits.check_login("192.0.2.2", "alice")
    clock.now += 0.5
    limits.check_login(ADDRESS, "alice")


def test_looking_does_not_count(windows: Windows) -> None:
    limits = limits_of(windows)
    for _ in range(200):
        limits.check_login(ADDRESS, "alice")


def test_a_list_of_names_from_one_address_ends_with_one_event_a13(windows: Windows) -> None:
    limits = limits_of(windows)
    tried, told = 0, 0
    for number in range(10_000):
        name = f"user{number}"
        if not is_refused(limits.check_login, ADDRESS, name):
            tried += 1
            told += limits.login_failed(ADDRESS, name)
    assert tried == 100
    assert told == 1
    limits.check_login("192.0.2.2", "user0")


def test_failures_beyond_the_last_are_no_event(windows: Windows) -> None:
    limits = limits_of(windows, addressfailures="3/minute")
    assert [limits.login_failed(ADDRESS, "alice") for _ in range(5)] == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("text", "passed", "wait"),
    [("10/minute", 14.5, 46), ("10/minute", 59.9, 1), ("5/second", 0.0, 1), ("7/hour", 0.0, 1200)],
)
def test_retry_after_tells_when_the_window_ends(
    windows: Windows, clock: Seconds, text: str, passed: float, wait: int
) -> None:
    limits = limits_of(windows, failures=text)
    clock.now += passed
    for _ in range(10):
        limits.login_failed(ADDRESS, "alice")
    assert wait_told(limits.check_login, ADDRESS, "alice") == wait
    clock.now += wait
    limits.check_login(ADDRESS, "alice")


def test_without_limits_nothing_is_refused_or_counted(windows: Windows) -> None:
    limits = limits_of(windows, failures="", addressfailures="")
    for _ in range(1000):
        limits.check_login(ADDRESS, "alice")
        assert not limits.login_failed(ADDRESS, "alice")
        ask(limits, ADDRESS, "user:alice")
    assert not any(windows._words)


def ask(limits: RateLimits, address: str, subject: str | None) -> None:
    """As a request is counted: first where it comes from, then whose it is."""
    limits.check_address(address)
    if subject is not None:
        limits.check_subject(subject)


def test_requests_count_by_address_and_by_who_is_known(windows: Windows) -> None:
    limits = limits_of(windows, address="5/minute", subject="3/minute")
    for _ in range(3):
        ask(limits, ADDRESS, "user:alice")
    assert wait_told(partial(ask, limits), ADDRESS, "user:alice") == MINUTE
    ask(limits, "192.0.2.2", "user:bob")
    assert is_refused(partial(ask, limits), "192.0.2.2", "user:alice"), "who has asked too often, from anywhere"
    ask(limits, ADDRESS, None)
    assert is_refused(partial(ask, limits), ADDRESS, None)
    assert is_refused(partial(ask, limits), ADDRESS, "user:bob")


def test_one_subject_alone(windows: Windows) -> None:
    limits = limits_of(windows, subject="1/minute")
    ask(limits, ADDRESS, "user:alice")
    assert is_refused(partial(ask, limits), ADDRESS, "user:alice")
    for _ in range(5):
        ask(limits, ADDRESS, None)


def test_limits_do_not_count_for_each_other(windows: Windows) -> None:
    limits = limits_of(windows, "2/minute", "2/minute", "2/minute", "2/minute")
    limits.login_failed(ADDRESS, "alice")
    ask(limits, ADDRESS, ADDRESS)
    limits.check_login(ADDRESS, "alice")
    ask(limits, ADDRESS, ADDRESS)


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("unix", "unix", True),
        ("unix", "", False),
    ],
)
def test_what_counts_as_one_address(windows: Windows, one: str, other: str, are_one: bool) -> None:
    limits = limits_of(windows, addressfailures="1/minute")
    limits.login_failed(one, "alice")
    assert is_refused(limits.check_login, other, "bob") == are_one


@pytest.mark.parametrize("name", ["", "\0", "\udcff", "x" * 10240, "a/10/1/minute", "名"])
def test_any_text_can_be_a_name(windows: Windows, name: str) -> None:
    limits = limits_of(windows, failures="1/minute")
    limits.login_failed(ADDRESS, name)
    assert is_refused(limits.check_login, ADDRESS, name)
    limits.check_login(ADDRESS, "alice")


@pytest.mark.parametrize("text", ["ten", "10", "10/fortnight", "-1/minute", "/minute"])
def test_a_text_that_is_no_limit(windows: Windows, text: str) -> None:
    with pytest.raises(ValueError, match=r"limit|granularity"):
        limits_of(windows, failures=text)


def test_processes_count_together(windows: Windows) -> None:
    limits = limits_of(windows)
    for _ in range(5):
        limits.login_failed(ADDRESS, "alice")
    for _ in range(2):  # workers one after the other
        pid = os.fork()
        if pid == 0:
            for _ in range(3):
                limits.login_failed(ADDRESS, "alice")
            os._exit(0 if is_refused(limits.check_login, ADDRESS, "alice") else 7)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, "the second one has used up what was left"
    assert is_refused(limits.check_login, ADDRESS, "alice")


def test_processes_at_once_count_nearly_all(windows: Windows) -> None:
    each, processes = 20_000, 2
    children = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            for _ in range(each):
                windows.incr("key", MINUTE)
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert each <= windows.get("key") <= each * processes


def resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


def test_a_flood_of_names_takes_no_memory_and_locks_nobody_out(windows: Windows) -> None:
    limits = limits_of(windows)
    before = resident()
    for number in range(1_000_000):
        windows.incr(f"failures/192.0.2.1/name{number}/10/1/minute", MINUTE)
    assert resident() - before < ROWS * SLOTS * 8 + (4 << 20)
    assert not any(is_refused(limits.check_login, ADDRESS, f"other{number}") for number in range(50_000))


def test_a_flood_hides_no_failures(windows: Windows) -> None:
    limits = limits_of(windows)
    for number in range(100_000):
        if number % 10_000 == 0:
            limits.login_failed(ADDRESS, "alice")
        windows.incr(f"name{number}", 1 if number % 2 else 3600)
    assert is_refused(limits.check_login, ADDRESS, "alice")


def test_of_two_slots_the_smaller_count_is_believed(windows: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = {"one": (0, SLOTS), "two": (0, SLOTS + 1), "three": (1, SLOTS + 1)}
    monkeypatch.setattr(windows, "_slots", slots.__getitem__)
    for _ in range(5):
        windows.incr("one", MINUTE)
    assert windows.get("two") == 0
    assert windows.incr("two", MINUTE) == 1
    assert windows.get("one") == 5
    assert windows.get("three") == 0


def test_a_short_window_does_not_end_a_long_one_in_the_same_slots(
    windows: Windows, clock: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "_slots", lambda key: (0, SLOTS))
    windows.incr("long", 3600)
    windows.incr("short", 1)
    clock.now += 1
    assert windows.get("long") == 2, "too much, never too little"


def test_a_window_that_is_over_counts_for_nothing(windows: Windows, clock: Seconds) -> None:
    assert [windows.incr("key", MINUTE) for _ in range(3)] == [1, 2, 3]
    assert windows.get_expiry("key") == clock.now + MINUTE
    clock.now += MINUTE
    assert windows.get("key") == 0
    assert windows.get_expiry("key") == clock.now
    assert windows.incr("key", MINUTE) == 1


def test_a_count_does_not_reach_into_the_time(windows: Windows) -> None:
    assert windows.incr("key", MINUTE, 0xFFFF_FFFF) == 0xFFFF_FFFF
    assert windows.incr("key", MINUTE) == 0xFFFF_FFFF


def test_cleared_and_reset(windows: Windows) -> None:
    assert windows.check()
    for key in ("one", "two"):
        windows.incr(key, MINUTE)
    windows.clear("one")
    assert (windows.get("one"), windows.get("two")) == (0, 1)
    windows.reset()
    assert windows.get("two") == 0


async def test_a_thousand_wrong_passwords_at_once_are_ten_tries_a12(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[bytes] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        tries.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    limits, passwords = limits_of(windows), Passwords(4)
    stored = await passwords.hash("correct horse")

    async def login(password: str) -> bool:
        limits.check_login(ADDRESS, "alice")
        is_right = await passwords.check("alice", password, stored, guard=lambda: limits.check_login(ADDRESS, "alice"))
        if not is_right:
            limits.login_failed(ADDRESS, "alice")
        return is_right

    answers = await asyncio.gather(*(login(f"wrong {number}") for number in range(1000)), return_exceptions=True)
    assert answers.count(False) == len(tries) == 10
    assert sum(isinstance(answer, TooManyRequests) for answer in answers) == 990
    with pytest.raises(TooManyRequests):
        await login("correct horse")
    await passwords.close()
