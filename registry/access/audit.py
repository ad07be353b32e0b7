"""The audit log: read, sealed, verified, exported. What writes it are the changes themselves (metadata/events)."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from registry.domain.audit import Anchor, Event, EventFilter, Seal, Sealing, Verdict
from registry.domain.paging import Page, PageRequest
from registry.metadata import event_lists, seals
from registry.metadata.database import Database

# Events that one seal covers, and those read at a time: other readers wait no longer than for these
SEAL_LIMIT = 10_000
BATCH = 1_000

log = logging.getLogger(__name__)


class Audit:
    """The service of the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, wanted: EventFilter, page: PageRequest) -> Page[Event]:
        """Newest first; a page goes on below the id in `page.last`. Raises Invalid."""
        before = page.last_id()
        found = await self._database.read(event_lists.newest_first, wanted, before, page.limit + 1)
        return page.cut_by(found, lambda event: str(event.id))

    async def seal(self) -> Seal | None:
        """Seal the events since the last seal, at most SEAL_LIMIT; None when there are none, or another just did.

        The log keeps the anchor: whoever changes the database does not reach it there.
        """
        waiting = await self._database.read(seals.waiting, SEAL_LIMIT)
        if waiting is None:
            return None
        sealing = Sealing(waiting.previous)
        async for rows in self._rows(waiting.previous, waiting.last_event):
            await asyncio.to_thread(sealing.add, rows)
        made = sealing.seal(waiting.now)
        if not await self._database.write(seals.append, made):
            return None
        log.info("audit sealed", extra={"anchor": str(made.anchor), "events": made.events})
        return made

    async def verify(self, progress: Callable[[int], None], anchor: Anchor | None = None) -> Verdict:
        """Compute the whole chain again; `progress` gets the number of events so far.

        An `anchor` that was kept elsewhere must be in the chain: it finds a chain that was rewritten as a whole.
        """
        verdict = Verdict()
        is_anchored = anchor is None
        while (stored := await self._database.read(seals.following, verdict.newest)) is not None:
            sealing = Sealing(verdict.newest)
            async for rows in self._rows(verdict.newest, stored.last_event):
                await asyncio.to_thread(sealing.add, rows)
                verdict.events += len(rows)
                progress(verdict.events)
            verdict.problems += _problems(stored, sealing.seal(stored.sealed_at))
            verdict.seals += 1
            verdict.newest = stored
            is_anchored = is_anchored or stored.anchor == anchor
        sealed = verdict.newest.last_event if verdict.newest else None
        verdict.unsealed, verdict.unsealed_for = await self._database.read(seals.unsealed, sealed)
        if not is_anchored:
            verdict.problems.append(f"no seal is {anchor}: the chain was made anew since, or cut off")
        return verdict

    async def export(
        self, write: Callable[[str], Awaitable[object]], since: int | None = None, until: int | None = None
    ) -> None:
        """Write events as lines of JSON, oldest first, and each seal over them behind the last that it covers."""
        wanted = EventFilter(since=since, until=until)
        last: int | None = None
        ahead: Sequence[Seal] = ()
        while batch := await self._database.read(_batch, wanted, last):
            last = batch.events[-1].id
            ended = [seal for seal in batch.seals if seal.last_event <= last]
            ahead = batch.seals[len(ended) :]
            await write("".join(await asyncio.to_thread(_lines, batch.events, ended)))
        for seal in ahead:
            await write(_seal_line(seal))

    async def _rows(self, previous: Seal | None, end: int) -> AsyncIterator[Sequence[Sequence[Any]]]:
        """The events after a seal up to `end`."""
        last = previous.last_event if previous else None
        while rows := await self._database.read(event_lists.sealed_rows, last, end, BATCH):
            yield rows
            last = rows[-1][0]


class _Batch(NamedTuple):
    """Events of an export, and the seals over them and since the batch before."""

    events: Sequence[Event]
    seals: Sequence[Seal]


def _batch(connection: Connection, wanted: EventFilter, last: int | None) -> _Batch | None:
    found = event_lists.oldest_first(connection, wanted, last, BATCH)
    if not found:
        return None
    start = last if last is not None else found[0].id - 1
    return _Batch(found, seals.over(connection, start, found[-1].id))


def _lines(events: Sequence[Event], ended: Sequence[Seal]) -> list[str]:
    lines = [(event.id, 0, f"{json.dumps(event.told())}\n") for event in events]
    lines += [(seal.last_event, 1, _seal_line(seal)) for seal in ended]
    return [line for _, _, line in sorted(lines)]


def _seal_line(seal: Seal) -> str:
    return f"{json.dumps({'seal': seal.told()})}\n"


def _problems(stored: Seal, made: Seal) -> list[str]:
    """What is wrong with a seal, given the one that its events make."""
    if made == stored:
        return []
    if made.id != stored.id:
        return [f"between seal {made.id - 1} and seal {stored.id} there is none; one is gone"]
    span = f"from {stored.first_event} to {stored.last_event}"
    if made.events != stored.events:
        return [f"seal {stored.id} covers {stored.events} events {span}, and {made.events} are there"]
    return [f"seal {stored.id} does not fit: one of the events {span} was changed, or it, or the seal before it"]
