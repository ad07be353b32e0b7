"""Counts of events by key and window of time, in memory that all workers share and that never grows."""

import hashlib
import mmap
import secrets
import time
from collections.abc import Callable

from limits.storage import Storage

SLOTS = 1 << 18
ROWS = 2
_WORD = 8
_LARGEST = 0xFFFF_FFFF


class Windows(Storage):
    """The storage of rate limits, shared by every process forked since it was made.

    A count-min sketch: each key has a slot in each of two rows, by a hash that nobody outside can aim, and its count
    is the smaller one. Keys that share both slots count together, too much, never too little. A slot is one word, the
    second at which its window ends above the count: 0 from then on. Processes take no lock: of two that count at the
    very same moment, one may be lost.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, the same in all processes."""
        super().__init__()
        self.clock = clock
        self._secret = secrets.token_bytes(32)
        self._words = memoryview(mmap.mmap(-1, ROWS * SLOTS * _WORD)).cast("Q")

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, in the window of `expiry` seconds that runs now; return the count."""
        now = int(self.clock())
        end = (now // expiry + 1) * expiry
        slots = self._slots(key)
        count = min(min(self._at(slot, now)[1] for slot in slots) + amount, _LARGEST)
        for slot in slots:
            held_end, held = self._at(slot, now)
            # Only up to the new count: what collides gets as little as can be
            self._words[slot] = max(held_end, end) << 32 | max(held, count)
        return count

    def get(self, key: str) -> int:
        now = int(self.clock())
        return min(self._at(slot, now)[1] for slot in self._slots(key))

    def get_expiry(self, key: str) -> float:
        """When the count is 0 again."""
        now = int(self.clock())
        return min(max(self._at(slot, now)[0], now) for slot in self._slots(key))

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        for slot in range(ROWS * SLOTS):
            self._words[slot] = 0
        return None

    def clear(self, key: str) -> None:
        for slot in self._slots(key):
            self._words[slot] = 0

    def _slots(self, key: str) -> tuple[int, ...]:
        digest = hashlib.blake2b(key.encode(errors="surrogatepass"), key=self._secret, digest_size=_WORD).digest()
        first, second = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")
        return first % SLOTS, SLOTS + second % SLOTS

    def _at(self, slot: int, now: int) -> tuple[int, int]:
        """End and count of a slot; zeros when its window is over."""
        end, count = divmod(self._words[slot], 1 << 32)
        return (end, count) if end > now else (0, 0)
