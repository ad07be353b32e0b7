"""Refusals of people and machines that are known: the audit log has them, but one a minute for each kind."""

import time
from contextlib import suppress

from registry.domain.access import Caller
from registry.domain.action import Action
from registry.domain.errors import Unavailable
from registry.domain.names import RepositoryName
from registry.metadata import events
from registry.metadata.database import Database

PAUSE_SECONDS = 60.0
KINDS_LIMIT = 10_000


class Denials:
    """Records who was refused what. A client that tries again and again must not fill the log."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._told: dict[tuple[str, RepositoryName, Action], float] = {}

    async def record(self, caller: Caller, repository: RepositoryName, action: Action) -> None:
        now = time.monotonic()
        kind = (caller.identity.name, repository, action)
        if now - self._told.get(kind, -PAUSE_SECONDS) < PAUSE_SECONDS:
            return
        if len(self._told) >= KINDS_LIMIT:
            self._told.clear()
        self._told[kind] = now
        with suppress(Unavailable):  # the refusal stands without its record
            await self._database.write(events.append_denial, caller, repository, action)
