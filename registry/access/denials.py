"""Refusals of people and machines that are known: the audit log has them, each kind once a minute, and not too many."""

import time
from collections import Counter
from contextlib import suppress

from registry.domain.access import ANONYMOUS, Caller
from registry.domain.errors import Unavailable
from registry.domain.names import RepositoryName
from registry.metadata import events
from registry.metadata.database import Database

MINUTE_SECONDS = 60.0
# Of one identity in a minute: whoever tries names out has been told of by then
KINDS_LIMIT = 20


class Denials:
    """Records who was refused what. A client that tries again and again must not fill the log, nor the disk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._since = time.monotonic()
        self._told: set[tuple[str, RepositoryName, str]] = set()
        self._counts: Counter[str] = Counter()

    async def record(self, caller: Caller, repository: RepositoryName, action: str) -> None:
        if caller.identity.name == ANONYMOUS.name:
            return
        now = time.monotonic()
        if now - self._since >= MINUTE_SECONDS:
            self._since = now
            self._told.clear()
            self._counts.clear()
        name = caller.identity.name
        kind = (name, repository, action)
        if kind in self._told or self._counts[name] >= KINDS_LIMIT:
            return
        self._told.add(kind)
        self._counts[name] += 1
        with suppress(Unavailable):  # the refusal stands without its record
            await self._database.write(events.append_denial, caller, repository, action)
