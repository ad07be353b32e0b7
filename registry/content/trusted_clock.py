"""Whether leases and expiries may be judged by the clock: what processes saw of it is noted in the database."""

from registry.clock import ClockState, JumpWatch
from registry.metadata import clocks
from registry.metadata.database import Database


class TrustedClock:
    """No restart hides a jump of the clock, and a command learns of one that the keeper saw (P13).

    `boot` names this start of the machine; without one only this process's own `watch` is asked.
    """

    def __init__(self, database: Database, watch: JumpWatch, boot: str | None) -> None:
        self._database = database
        self._watch = watch
        self._boot = boot
        self._noted: ClockState | None = None

    def seems_trusted(self) -> bool:
        """By what this process has seen; for work that has asked `trusted` when it began."""
        return self._watch.trusted()

    async def trusted(self) -> bool:
        """By what all processes have seen since the machine was started."""
        if self._boot is None:
            return self._watch.trusted()
        noted = await self._database.read(clocks.find, self._boot)
        if noted is not None and noted != self._noted:
            self._watch.go_on_from(noted)
        self._noted = noted
        trusted = self._watch.trusted()
        if self._watch.state != noted:
            await self._database.write(clocks.note, self._boot, self._watch.state)
        return trusted
