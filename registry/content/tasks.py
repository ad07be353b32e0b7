"""Periodic work is done by one process at a time: whoever has its lease."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from registry.clock import boot_clock
from registry.domain.errors import Unavailable
from registry.metadata import tasks
from registry.metadata.database import Database
from registry.metadata.tasks import TaskState

log = logging.getLogger(__name__)

LEASE = 60_000


class Turn:
    """The lease of a task, while its holder works. Work in steps asks `held` before each.

    A process that was stopped for long finds its lease gone, even before it hears of it from the database.
    """

    def __init__(self, until: int, also: Callable[[], bool]) -> None:
        self.until = until
        self._also = also

    def held(self) -> bool:
        """Whether the work may go on."""
        return boot_clock() < self.until and self._also()


class Tasks:
    """The service of periodic work. `lease` in milliseconds: a dead owner is taken over after it."""

    def __init__(self, database: Database, owner: str, lease: int = LEASE) -> None:
        self._database = database
        self._owner = owner
        self._lease = lease

    async def state(self, name: str) -> TaskState:
        return await self._database.read(tasks.find, name)

    async def want(self, name: str) -> None:
        """Have a task done as soon as may be, by whoever does it."""
        await self._database.write(tasks.want, name)

    async def clear(self, owners: Sequence[str]) -> None:
        """Free the tasks of processes which have ended."""
        if owners:
            await self._database.write(tasks.clear, owners)

    @asynccontextmanager
    async def turn(self, name: str, also: Callable[[], bool] = lambda: True) -> AsyncIterator[Turn | None]:
        """Do a task in the block; None while another process does it.

        It counts as done unless the block raises or its turn is no longer held: `also` says what else that needs.
        """
        until = boot_clock() + self._lease
        began = await self._database.write(tasks.take, name, self._owner, self._lease)
        if began is None:
            yield None
            return
        turn = Turn(until, also)
        renewing = asyncio.create_task(self._renew(name, turn))
        try:
            yield turn
        except BaseException:
            with suppress(Unavailable):  # what is told is why the work failed
                await self._database.write(tasks.give_back, name, self._owner)
            raise
        finally:
            renewing.cancel()
        await self._end(name, turn, began)

    async def _end(self, name: str, turn: Turn, began: int) -> None:
        if turn.held():
            await self._database.write(tasks.done, name, self._owner, began)
        else:
            log.info("%s stopped before its end and will go on", name)
            await self._database.write(tasks.give_back, name, self._owner)

    async def _renew(self, name: str, turn: Turn) -> None:
        kept = True
        while kept:
            await asyncio.sleep(self._lease / 3000)
            until = boot_clock() + self._lease
            with suppress(Unavailable):  # the lease lasts for two more tries
                kept = await self._database.write(tasks.renew, name, self._owner, self._lease)
                turn.until = until if kept else 0
