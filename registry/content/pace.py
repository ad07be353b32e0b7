"""How fast work that nobody waits for may go."""

import asyncio
import time
from collections.abc import Awaitable, Callable

# Shorter waits are saved up: no event loop sleeps so little
SHORTEST_SECONDS = 0.01


class Pace:
    """At most `rate` bytes a second, evenly; 0 for no limit. What a second has left over is lost."""

    def __init__(
        self,
        rate: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    async def spend(self, size: int) -> None:
        """Wait as long as these bytes may take."""
        if not self._rate:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now) + size / self._rate
        if self._free_at - now >= SHORTEST_SECONDS:
            await self._sleep(self._free_at - now)
