"""What the commands about access share: in whose name they act, and how they read and tell things."""

import json
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

from cyclopts import Parameter, Token

from registry import values
from registry.addresses import listens_on_loopback
from registry.assembly import Registry
from registry.clock import wall_clock
from registry.config import Settings, auth_mode
from registry.domain.access import OPERATOR, Caller
from registry.domain.paging import Page, PageRequest
from registry.domain.problems import Invalid, Missing
from registry.domain.times import parse_rfc3339, rfc3339

OPERATING = Caller(OPERATOR, "")

T = TypeVar("T")


class Duration(int):
    """Milliseconds; the word that the help shows."""


def _duration(kind: type, tokens: Sequence[Token]) -> Duration:
    return Duration(values.duration(tokens[0].value))


DURATION = Parameter(converter=_duration, n_tokens=1, show_default=values.written_duration)


class Time(int):
    """Milliseconds since the epoch; the word that the help shows."""


def _time(kind: type, tokens: Sequence[Token]) -> Time:
    """A time, or how long ago."""
    text = tokens[0].value
    try:
        return Time(wall_clock() - values.duration(text))
    except ValueError:
        pass
    try:
        return Time(parse_rfc3339(text))
    except ValueError as error:
        raise ValueError("expected a time with its zone, such as 2026-08-01T12:00:00Z, or how long ago: 24h") from error


TIME = Parameter(converter=_time, n_tokens=1)


def say(text: str, told: Mapping[str, object], *, as_json: bool) -> None:
    """What was done, for people or for programs."""
    print(json.dumps(told, indent=2) if as_json else text)


def note(text: str) -> None:
    """What people should know, beside what programs read."""
    print(f"note: {text}", file=sys.stderr)


def told_time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else rfc3339(milliseconds)


async def every(list_page: Callable[[PageRequest], Awaitable[Page[T]]]) -> list[T]:
    """All pages of a list."""
    page = await list_page(PageRequest())
    found = [*page.entries]
    while page.next_last is not None:
        page = await list_page(PageRequest(last=page.next_last))
        found += page.entries
    return found


def users_of_file(registry: Registry) -> list[str]:
    """The names in the htpasswd file, if there is one."""
    htpasswd = registry.access.htpasswd
    return htpasswd.names() if htpasswd else []


async def note_unknown_user(registry: Registry, name: str) -> None:
    """A name may come before its user, and may be mistyped."""
    if name in users_of_file(registry):
        return
    try:
        await registry.access.users.get(name)
    except Missing:
        note(f"there is no user {name} yet; whoever gets this name has it: digestry user add {name}")


def note_open(settings: Settings) -> None:
    """Grants can be prepared where nobody is asked yet."""
    mode = auth_mode(settings)
    if mode.startswith("open"):
        note(f"auth.mode is {mode} in these settings: nobody is asked who they are, so grants decide nothing yet")


def client_address(settings: Settings) -> str:
    """What clients write before a repository's name, as far as the settings tell."""
    http = settings.http
    if http.host:
        return urlsplit(http.host).netloc
    is_known = listens_on_loopback(http.addr) and not http.addr.startswith("unix:")
    return http.addr if is_known else "REGISTRY"


def confirm(about: str, expected: str) -> None:
    """Have somebody at the terminal type what it is about; raise Invalid when they don't."""
    if not sys.stdin.isatty():
        raise Invalid("nobody is at a terminal to be asked; give --yes to do it without")
    print(f"{about}\ntype {expected} to go on: ", end="", file=sys.stderr, flush=True)
    with interruptible():
        typed = sys.stdin.readline().strip()
    if typed != expected:
        raise Invalid(f"that was not {expected}; nothing was changed")


@contextmanager
def interruptible() -> Iterator[None]:
    """While somebody is waited for, Ctrl-C ends it at once; asyncio's own way would wait for them first."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
