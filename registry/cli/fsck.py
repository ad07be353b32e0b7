"""`digestry fsck`."""

import asyncio
import json
import sys
from typing import Annotated

from cyclopts import Parameter

from registry.assembly import open_registry
from registry.cli.options import AsJson, ConfigFile, Flags, settings
from registry.config import Settings
from registry.content.fsck import Report
from registry.metadata.schema import HEAD, current_revision

PROGRESS_EVERY = 500

Deep = Annotated[bool, Parameter(name="--deep", negative="", help="Also hash every blob.")]


def fsck(*, deep: Deep = False, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Check that the registry holds all that it promised. It changes nothing, and may run while it serves.

    Exit code 1 when something is wrong.
    """
    chosen = settings(config, flags).settings
    if not chosen.database.path.exists():
        missing = chosen.database.path.absolute()
        print(f"digestry: there is no database at {missing}; run this where serve runs, or give --config")
        return 1
    if (found := current_revision(chosen.database.path)) != HEAD:
        print(f"digestry: {chosen.database.path} has schema {found}, not {HEAD}; see `digestry db status`")
        return 1
    report = asyncio.run(_run(chosen, deep))
    if as_json:
        print(json.dumps({"problems": report.problems, "notes": report.notes, "counts": report.counts}, indent=2))
    else:
        _print(report)
    return 1 if report.problems else 0


async def _run(chosen: Settings, deep: bool) -> Report:
    registry = open_registry(chosen)
    try:
        return await registry.fsck.run(deep=deep, progress=_progress)
    finally:
        await registry.close()


def _progress(phase: str, done: int) -> None:
    if done % PROGRESS_EVERY == 0 and sys.stderr.isatty():
        print(f"\r{phase}: {done}", end="", file=sys.stderr, flush=True)


def _print(report: Report) -> None:
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(f"PROBLEM: {problem}")
    checked = ", ".join(f"{count} {table}" for table, count in report.counts.items())
    print(f"checked {checked}: {len(report.problems) or 'no'} problems")
