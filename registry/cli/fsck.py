"""`digestry fsck`."""

import json
from typing import Annotated

from cyclopts import Parameter

from registry.assembly import Registry
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags
from registry.cli.progress import Progress
from registry.content.fsck import Report

Deep = Annotated[bool, Parameter(name="--deep", negative="", help="Also hash every blob.")]


def fsck(*, deep: Deep = False, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Check that the registry holds all that it promised. It changes nothing, and may run while it serves.

    Exit code 1 when something is wrong.
    """

    async def check(registry: Registry) -> int:
        with Progress() as progress:
            report = await registry.fsck.run(deep=deep, progress=progress.show)
        if as_json:
            print(json.dumps({"problems": report.problems, "notes": report.notes, "counts": report.counts}, indent=2))
        else:
            _print(report)
        return 1 if report.problems else 0

    return run_on(config, flags, check, as_json=as_json)


def _print(report: Report) -> None:
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(f"PROBLEM: {problem}")
    checked = ", ".join(f"{count} {table}" for table, count in report.counts.items())
    print(f"checked {checked}: {len(report.problems) or 'no'} problems")
