"""Pushes, deletes, restores and the garbage collection against each other: nothing that can be read ever breaks.

Eight writers, four deleters, readers and a garbage collection that never rests, in four processes on one SQLite
database, with leases and trash of less than a second. Afterwards exactly what is reached is on the disk.
"""

import argparse
import asyncio
import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

from registry.assembly import open_registry
from registry.metadata.schema import upgrade
from tests.races import judge
from tests.races.storm import DOOMED, KEEP, LEASE, Storm, storm_settings

ROLES = (
    ["writer", "writer", "writer", "reader"],
    ["writer", "writer", "deleter", "deleter"],
    ["writer", "writer", "deleter", "reader"],
    ["writer", "deleter", "collector"],
)


def storm(folder: Path, manifests: int, seed: int, *, quiet: bool = True) -> dict[str, object]:
    """Until so many manifests were pushed; what was done, and under `problems` what was broken."""
    upgrade(folder / "registry.db")
    began, context = time.monotonic(), multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    processes = [
        context.Process(target=_blow, args=(folder, f"{seed}/{number}", roles, stop, results))
        for number, roles in enumerate(ROLES)
    ]
    for process in processes:
        process.start()
    while (done := _pushed(folder)) < manifests and all(process.is_alive() for process in processes):
        if not quiet:
            print(f"\r{done} of {manifests} manifests, {time.monotonic() - began:.0f} s", end="", file=sys.stderr)
        time.sleep(0.5)
    stop.set()
    tally, problems = Counter[str](), list[str]()
    for _ in processes:
        told, found = results.get(timeout=60)
        tally += told
        problems += found
    for process in processes:
        process.join()
    problems += asyncio.run(_rest(folder))
    return {
        "seed": seed,
        "manifests": _pushed(folder),
        "seconds": round(time.monotonic() - began, 1),
        "done": dict(sorted(tally.items())),
        "problems": problems[:20],
    }


def _blow(
    folder: Path, seed: str, roles: list[str], stop: Event, results: "Queue[tuple[Counter[str], list[str]]]"
) -> None:
    process = Storm(folder, seed, stop.is_set)
    try:
        asyncio.run(process.run(roles))
    except BaseException as error:  # noqa: BLE001 - the campaign waits for an answer
        process.problems.append(repr(error))
    results.put((process.tally, process.problems))


async def _rest(folder: Path) -> list[str]:
    """After the storm: when every lease and all trash is over, what is left is sound, and exactly what is reached."""
    await asyncio.sleep((LEASE + KEEP + DOOMED) / 1000)
    registry = open_registry(storm_settings(folder))
    try:
        await registry.uploads.sweep_staging()
        for _ in range(3):
            await registry.database.write(
                lambda connection: connection.exec_driver_sql("UPDATE upload SET expires_at = 0")
            )
            await registry.uploads.expire()
            await registry.gc.run(lambda: True)
            await asyncio.sleep((LEASE + DOOMED) / 1000)
        report = await registry.fsck.run(deep=True, progress=lambda *_: None)
    finally:
        await registry.close()
    return [*report.problems, *report.notes, *judge.garbage(folder / "registry.db", folder / "blobs")]


def _pushed(folder: Path) -> int:
    with closing(sqlite3.connect(f"file:{folder / 'registry.db'}?mode=ro", uri=True)) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM event WHERE action = 'manifest.push'").fetchall()
    return int(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifests", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        summary = storm(Path(folder), chosen.manifests, chosen.seed, quiet=False)
    print(json.dumps(summary, indent=2))
    sys.exit(1 if summary["problems"] else 0)


if __name__ == "__main__":
    main()
