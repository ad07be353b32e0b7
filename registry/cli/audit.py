"""`digestry audit list|verify|export`."""

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import aiofiles
from cyclopts import Parameter, Token
from cyclopts.validators import Number

from registry.assembly import Registry
from registry.cli.acting import TIME, Time
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags
from registry.cli.progress import Progress
from registry.cli.tables import print_table, short
from registry.domain.audit import Anchor, Event, EventFilter, Verdict
from registry.domain.paging import PAGE_LIMIT, PageRequest
from registry.domain.times import rfc3339

SHOWN = 50


def _anchor(kind: type, tokens: Sequence[Token]) -> Anchor:
    matched = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", tokens[0].value.lower())
    if matched is None:
        raise ValueError("expected EVENT:HASH, as `audit verify` and the log line `audit sealed` have it")
    return Anchor(int(matched[1]), matched[2])


Since: TypeAlias = Annotated[
    Time | None,
    TIME,
    Parameter(name="--since", help="From this time on, RFC 3339; or so long ago: 24h."),
]
Until: TypeAlias = Annotated[Time | None, TIME, Parameter(name="--until", help="Before this time, likewise.")]
Who: TypeAlias = Annotated[str | None, Parameter(name="--identity", help="Who did it, such as user:alice.")]
Where: TypeAlias = Annotated[str | None, Parameter(name="--repository", help="In which repository.")]
What: TypeAlias = Annotated[str | None, Parameter(name="--action", help="What was done: grant.add, or tag.* for all.")]
Limit: TypeAlias = Annotated[
    int, Parameter(name="--limit", validator=Number(gte=1, lte=PAGE_LIMIT), help="At most so many events.")
]
Kept: TypeAlias = Annotated[
    Anchor | None,
    Parameter(
        name="--anchor",
        converter=_anchor,
        n_tokens=1,
        accepts_keys=False,
        help="EVENT:HASH of a seal, kept outside of the database.",
    ),
]
Output: TypeAlias = Annotated[Path | None, Parameter(name="--output", help="A file; without it, stdout.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Wanted(EventFilter):
    """The filter, as flags of the command."""

    identity: Who = None
    repository: Where = None
    action: What = None
    since: Since = None
    until: Until = None


EVERYTHING = Wanted()


def list_events(
    *,
    wanted: Wanted = EVERYTHING,
    limit: Limit = SHOWN,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """What was done, newest first."""

    async def show(registry: Registry) -> None:
        page = await registry.access.audit.list(wanted, PageRequest(limit))
        if as_json:
            print(json.dumps([event.told() for event in page.entries], indent=2))
            return
        print_table(["id", "time", "who", "from", "did", "to", "details"], [_row(event) for event in page.entries])
        if page.next_last is not None:
            print("there are more: --limit and --until show them, `audit export` all", file=sys.stderr)

    return run_on(config, flags, show, as_json=as_json)


def verify(*, anchor: Kept = None, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Check that no event was changed or taken away since it was sealed. It may run while the registry serves.

    Exit code 1 when something is wrong.
    """

    async def check(registry: Registry) -> int:
        with Progress() as progress:
            verdict = await registry.access.audit.verify(partial(progress.show, "events"), anchor)
        if as_json:
            print(json.dumps(_told(verdict), indent=2))
        else:
            _print(verdict)
        return 1 if verdict.problems else 0

    return run_on(config, flags, check, as_json=as_json)


def export(
    *, since: Since = None, until: Until = None, output: Output = None, config: ConfigFile = None, flags: Flags = ()
) -> int:
    """Write events as lines of JSON, oldest first, with the seals between them."""

    async def write(registry: Registry) -> None:
        if output is None:
            await registry.access.audit.export(lambda text: asyncio.to_thread(sys.stdout.write, text), since, until)
            return
        async with aiofiles.open(output, "w", encoding="ascii") as file:
            await registry.access.audit.export(file.write, since, until)

    return run_on(config, flags, write)


def _row(event: Event) -> list[str]:
    tag = f":{event.tag}" if event.tag else ""
    old, new = short(event.old_digest), short(event.new_digest)
    change = f"{old} → {new}" if old or new else ""
    details = json.dumps(event.details, ensure_ascii=False) if event.details else ""
    return [
        str(event.id),
        rfc3339(event.at),
        event.identity,
        event.address or "",
        event.action,
        f"{event.repository or ''}{tag}",
        " ".join(filter(None, [change, details])),
    ]


def _told(verdict: Verdict) -> dict[str, object]:
    return {
        "problems": verdict.problems,
        "seals": verdict.seals,
        "events": verdict.events,
        "unsealed": verdict.unsealed,
        "anchor": str(verdict.newest.anchor) if verdict.newest else None,
    }


def _print(verdict: Verdict) -> None:
    if verdict.unsealed:
        age = verdict.unsealed_for // 1000
        print(f"note: {verdict.unsealed} events are not sealed yet, the oldest for {age} s; a server seals each minute")
    for problem in verdict.problems:
        print(f"PROBLEM: {problem}")
    print(f"checked {verdict.events} events under {verdict.seals} seals: {len(verdict.problems) or 'no'} problems")
    if verdict.newest and not verdict.problems:
        print(f"keep this elsewhere, for a later --anchor: {verdict.newest.anchor}")
