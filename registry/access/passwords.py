"""Passwords: bcrypt, which is slow by design, in a thread of its own and with an end to the queue before it."""

import asyncio
import hmac
import secrets
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import bcrypt

from registry.domain.errors import TooManyRequests
from registry.domain.problems import Invalid

COST = 10
# bcrypt sees no more of a password, and version 5 of the library refuses more
BYTES_LIMIT = 72
SHORTEST = 8
# About four seconds of work
QUEUE_LIMIT = 64
RETRY_SECONDS = 5
KEPT_SECONDS = 60.0
KEPT_LIMIT = 1024


class Passwords:
    """Makes and checks hashes, one at a time, and remembers for a minute what was right."""

    def __init__(self, cost: int = COST, clock: Callable[[], float] = time.monotonic) -> None:
        self._cost = cost
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="password")
        self._turns = asyncio.Lock()
        self._queued = 0
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, float] = {}

    async def hash(self, password: str) -> str:
        """For storing; raise Invalid for a password that is none, TooManyRequests when too many wait."""
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in password):
            raise Invalid("a password has no control characters")
        data = password.encode()
        if len(password) < SHORTEST or len(data) > BYTES_LIMIT:
            raise Invalid(f"a password has at least {SHORTEST} characters and at most {BYTES_LIMIT} bytes of UTF-8")
        async with self._turn():
            hashed = await asyncio.get_running_loop().run_in_executor(
                self._thread, bcrypt.hashpw, data, bcrypt.gensalt(self._cost)
            )
        return hashed.decode()

    async def check(
        self,
        name: str,
        password: str,
        stored: str | None,
        *,
        truncates: bool = False,
        like: str | None = None,
        guard: Callable[[], None] | None = None,
    ) -> bool:
        """Whether this is the password whose hash is `stored`; None for a user who does not exist.

        Whatever was sent, the same work is done: on a dummy where there is nothing to compare, as costly as `like`.
        `truncates`: the hash may be of a longer password, which its maker cut. `guard` is called when the turn has
        come, and ends the wait by raising; a caller that counts the failure at once is asked again with the count.
        """
        async with self._turn():
            if guard is not None:
                guard()
            if self.recall(name, password, stored):  # requests in parallel: the first has done the work
                return True
            data = _usable(password, truncates)
            compared = stored if stored is not None and data is not None else None
            against = compared or self._dummy(stored or like)
            matches = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._compare, b"-" if data is None else data, against, like
            )
        if not matches or compared is None:
            return False
        self._keep(self._digest(name, password, compared))
        return True

    def recall(self, name: str, password: str, stored: str | None) -> bool:
        """Whether this was right a moment ago. Nothing is slow here: limits of tries come before."""
        if stored is None:
            return False
        return self._known.get(self._digest(name, password, stored), 0.0) > self._clock()

    async def close(self) -> None:
        self._thread.shutdown()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._queued > QUEUE_LIMIT:
            raise TooManyRequests(
                "too many log in at once; retry after the time in Retry-After",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        self._queued += 1
        try:
            async with self._turns:
                yield
        finally:
            self._queued -= 1

    def _compare(self, data: bytes, against: str, like: str | None) -> bool:
        """A hash that costs less than an unknown name does must not tell that there is one (A-11)."""
        matches = bcrypt.checkpw(data, against.encode())
        dummy = self._dummy(like)
        if against[4:6] < dummy[4:6]:
            bcrypt.checkpw(data, dummy.encode())
        return matches

    def _dummy(self, like: str | None) -> str:
        """No password has this hash, and to find that out takes as long as for `like`."""
        cost = int(like[4:6]) if like else self._cost
        return bcrypt.gensalt(cost).decode() + "." * 31

    def _digest(self, name: str, password: str, stored: str) -> bytes:
        # repr: unambiguous, and also of text that is no UTF-8
        return hmac.digest(self._key, repr((name, password, stored)).encode(), "sha256")

    def _keep(self, digest: bytes) -> None:
        self._known.pop(digest, None)
        self._known[digest] = self._clock() + KEPT_SECONDS
        if len(self._known) > KEPT_LIMIT:
            del self._known[next(iter(self._known))]


def _usable(password: str, truncates: bool) -> bytes | None:
    """What bcrypt can take; None for what is nobody's password."""
    try:
        data = password.encode()
    except UnicodeEncodeError:
        return None
    if truncates:
        data = data[:BYTES_LIMIT]
    return data if data and b"\0" not in data and len(data) <= BYTES_LIMIT else None
