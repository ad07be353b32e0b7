"""`digestry gc run|plan|explain`."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from registry.assembly import Registry
from registry.cli.acting import note, say
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, DigestText, Flags
from registry.cli.progress import Progress
from registry.content.gc import Collected, Progressed, Waiting
from registry.domain.problems import Conflict
from registry.values import counted, rounded_size

POLL_SECONDS = 0.5
Work: TypeAlias = Callable[[Callable[[], bool], Progressed], Awaitable[Collected]]

Sweep: TypeAlias = Annotated[
    bool, Parameter(name="--sweep", negative="", help="Also look through all bytes for those that belong to nothing.")
]


def run(*, sweep: Sweep = False, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Take away what nothing needs any more, beside a registry that serves."""

    async def collect(registry: Registry) -> int:
        if not await registry.clock.trusted():
            raise Conflict(
                "the machine's clock was set by more than a minute: nothing may expire until gc.lease has passed"
            )
        began, shown = time.monotonic(), _Shown(await registry.gc.waiting(), as_json=as_json)
        swept = await _in_turn(registry, "sweep", registry.gc.sweep, shown) if sweep else Collected()
        collected = await _in_turn(registry, "gc", registry.gc.run, shown)
        collected.orphans = swept.orphans
        shown.close()
        _tell(collected, time.monotonic() - began, as_json=as_json)
        return 0 if collected.complete else 1

    return run_on(config, flags, collect, as_json=as_json)


def plan(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Say what `gc run` would do now. Nothing is changed, and no push waits: it works on a copy of the database."""

    async def look(registry: Registry) -> None:
        shown = _Shown(await registry.gc.waiting(), as_json=as_json)
        collected = await registry.gc.plan(shown.step)
        shown.close()
        say(f"a run would: {_in_words(collected)}", asdict(collected), as_json=as_json)

    return run_on(config, flags, look, as_json=as_json)


def explain(digest: DigestText, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Say what keeps a digest: tags, manifests, leases, the trash."""

    async def tell(registry: Registry) -> None:
        found = await registry.digests.anything(digest)
        reasons = await registry.gc.explain(found)
        say(
            "\n".join([found, *(f"  {reason}" for reason in reasons)]),
            {"digest": found, "reasons": reasons},
            as_json=as_json,
        )

    return run_on(config, flags, tell, as_json=as_json)


async def _in_turn(registry: Registry, task: str, work: Work, shown: "_Shown") -> Collected:
    """Do it once nobody else does; the turn of a process that was killed is over in a minute."""
    told = False
    while True:
        async with registry.tasks.turn(task, registry.clock.seems_trusted) as turn:
            if turn is not None:
                return await work(turn.held, shown.step)
        if not told:
            note(f"{task} runs already; waiting for it to end")
            told = True
        await asyncio.sleep(POLL_SECONDS)


class _Shown:
    """A bar for each phase, as long as is known what it has before it."""

    def __init__(self, waiting: Waiting, *, as_json: bool) -> None:
        self._totals = {"trash": waiting.entries, "links": waiting.links, "bytes": waiting.keys}
        self._lines = sys.stderr if as_json else None
        self._phase = ""
        self._bar = Progress(lines=self._lines)

    def step(self, phase: str, collected: Collected) -> None:
        if phase != self._phase:
            self._bar.clear()
            self._phase, self._bar = phase, Progress(self._totals.get(phase, 0), lines=self._lines)
        done = {
            "trash": collected.expired,
            "repositories": collected.rows,
            "links": collected.reviewed,
            "bytes": collected.files,
            "orphans": collected.orphans,
        }
        self._bar.show(phase, done[phase])

    def close(self) -> None:
        self._bar.clear()


def _tell(collected: Collected, seconds: float, *, as_json: bool) -> None:
    ended = "" if collected.complete else "; it was stopped before its end, and will go on at the next run"
    text = f"{_in_words(collected)}, in {seconds:.1f} s{ended}"
    say(text, asdict(collected) | {"seconds": round(seconds, 3)}, as_json=as_json)


def _in_words(collected: Collected) -> str:
    entries = "entry" if collected.expired == 1 else "entries"
    orphans = f", {counted(collected.orphans, 'orphan')} doomed" if collected.orphans else ""
    return (
        f"{collected.expired} {entries} of the trash expired, {counted(collected.blobs, 'blob')} "
        f"({rounded_size(collected.doomed_bytes)}) doomed, {counted(collected.files, 'file')} "
        f"({rounded_size(collected.freed_bytes)}) removed{orphans}"
    )
