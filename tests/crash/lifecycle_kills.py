"""SIGKILL at each crash point that a delete, a restore, a collection or a scrub passes, one after the other.

Each act runs once undisturbed, then again and again on a copy of the same data, killed at its 1st, 2nd, … point until
it gets to its end. After each kill a new process finds the state of before or of after and nothing between, finishes
what was interrupted, and in the end exactly what is reached is on the disk. No threads: it forks.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.assembly import Registry
from registry.content.conditions import Conditions
from registry.content.history import Wish
from registry.content.pushing import Push
from registry.content.scrub import Wanted
from registry.domain.errors import RegistryError
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.problems import Problem
from storage import crashpoints
from tests.races import judge
from tests.support.images import OCI
from tests.support.registry import CALLER, DAY, Clock, body, execute, opened

APP, OTHER = RepositoryName("team/app"), RepositoryName("team/other")
V1, V2 = Tag("v1"), Tag("v2")
START = Clock().now


@dataclass(frozen=True)
class Act:
    """What happens `later` milliseconds after the data were made, and again to finish it; `prepare` goes before."""

    run: Callable[[Registry], Awaitable[object]]
    later: int = 1000
    prepare: Callable[[Registry], Awaitable[object]] | None = None


async def image(registry: Registry, name: RepositoryName, tag: Tag, *contents: str) -> Digest:
    """An image of these contents."""
    layers = []
    for content in contents:
        data = content.encode() * 40
        await registry.uploads.push(name, CALLER, Digest.of(data), body(data))
        layers.append({"mediaType": OCI.layer, "digest": Digest.of(data), "size": len(data)})
    payload = {"schemaVersion": 2, "mediaType": OCI.manifest, "config": layers[0], "layers": layers[1:]}
    return await put(registry, name, tag, payload)


async def put(registry: Registry, name: RepositoryName, tag: Tag, payload: dict[str, Any]) -> Digest:
    data = json.dumps(payload).encode()
    push = Push(name, tag, data, payload["mediaType"], [tag], Conditions())
    return (await registry.manifests.put(push, CALLER)).digest


async def make(registry: Registry) -> None:
    """Two versions that share a layer, an index, a copy elsewhere, and a blob that nothing needs."""
    await image(registry, APP, V1, "config 1", "shared", "only 1")
    second = await image(registry, APP, V2, "config 2", "shared", "only 2")
    ((size,),) = await execute(registry, "SELECT size FROM manifest WHERE digest = ?", second)
    child = {"mediaType": OCI.manifest, "digest": second, "size": size}
    await put(registry, APP, Tag("all"), {"schemaVersion": 2, "mediaType": OCI.index, "manifests": [child]})
    await image(registry, OTHER, V1, "config 1", "shared")
    await registry.uploads.push(APP, CALLER, Digest.of(b"alone"), body(b"alone"))


async def delete_manifest(registry: Registry) -> None:
    await registry.manifests.delete(APP, (await registry.manifests.head(APP, V1)).digest, Conditions(), CALLER)


async def delete_repository(registry: Registry) -> None:
    await registry.repositories.delete(APP, CALLER)


async def delete_and_replace(registry: Registry) -> None:
    await delete_repository(registry)
    await image(registry, APP, V1, "config 3", "shared")


async def restore(registry: Registry) -> None:
    ((entry,),) = await execute(registry, "SELECT min(id) FROM trash")
    await registry.trash.restore(entry or 0, CALLER)


async def purge(registry: Registry) -> None:
    ((entry,),) = await execute(registry, "SELECT min(id) FROM trash")
    await registry.trash.purge(entry or 0, CALLER)


async def collect(registry: Registry) -> None:
    await registry.gc.run(lambda: True)


async def roll_back(registry: Registry) -> None:
    await registry.history.roll_back([Wish(APP, V1, at=START), Wish(APP, V2, at=START)], CALLER)


async def move_tags(registry: Registry) -> None:
    for tag in (V1, V2):
        await image(registry, APP, tag, f"config of {tag}", "newer")


async def collect_twice(registry: Registry) -> None:
    """What is doomed by now goes in the run itself."""
    await delete_manifest(registry)
    await delete_repository(registry)
    await execute(registry, "UPDATE trash SET deleted_at = 0")
    await execute(registry, "UPDATE link SET keep_until = 0, review_at = 0")
    await collect(registry)
    await execute(registry, "UPDATE doomed SET doomed_at = 0")


async def leave_orphans(registry: Registry) -> None:
    root = registry.settings.storage.filesystem.rootdirectory
    for number in range(3):
        stray = root / f"sha256/0{number}" / f"0{number}{'0' * 62}.{number:032x}"
        stray.write_bytes(b"stray")
        os.utime(stray, (0, 0))


async def sweep(registry: Registry) -> None:
    await registry.gc.sweep(lambda: True)


async def rot(registry: Registry) -> None:
    root = registry.settings.storage.filesystem.rootdirectory
    ((key,),) = await execute(registry, "SELECT key FROM blob WHERE digest = ?", Digest.of(b"only 1" * 40))
    (root / key).write_bytes(b"x" * len(b"only 1" * 40))


async def scrub(registry: Registry) -> None:
    async for _ in registry.scrub.verify(Wanted(), CALLER):
        pass


ACTS: Mapping[str, Act] = {
    "delete a manifest": Act(delete_manifest),
    "delete a repository": Act(delete_repository),
    "rename a repository": Act(lambda registry: registry.repositories.rename(APP, RepositoryName("team/new"), CALLER)),
    "restore a manifest": Act(restore, prepare=delete_manifest),
    "restore a repository": Act(restore, prepare=delete_repository),
    "restore over a newer repository": Act(restore, prepare=delete_and_replace),
    "purge a manifest": Act(purge, prepare=delete_manifest),
    "purge a repository": Act(purge, prepare=delete_repository),
    "roll back": Act(roll_back, later=2000, prepare=move_tags),
    "collect leases that are over": Act(collect, later=2 * DAY),
    "collect a deleted manifest": Act(collect, later=15 * DAY, prepare=delete_manifest),
    "collect a deleted repository": Act(collect, later=15 * DAY, prepare=delete_repository),
    "remove bytes": Act(collect, later=15 * DAY, prepare=collect_twice),
    "sweep orphans": Act(sweep, later=3 * DAY, prepare=leave_orphans),
    "scrub": Act(scrub, prepare=rot),
}


async def state(registry: Registry) -> dict[str, str]:
    """Every tag, and what can be pulled by digest: `whole`, or what is wrong with it."""
    found: dict[str, str] = {}
    rows = await execute(
        registry,
        "SELECT repository.name, manifest.digest, manifest.payload FROM manifest"
        " JOIN repository ON repository.id = manifest.repository_id"
        " WHERE repository.deleted_at IS NULL AND manifest.deleted_at IS NULL",
    )
    for name, digest, payload in rows:
        found[f"{name}@{digest}"] = await _pull(registry, RepositoryName(name), json.loads(payload))
    tags = await execute(
        registry,
        "SELECT repository.name, tag.name, tag.digest FROM tag JOIN repository ON repository.id = tag.repository_id"
        " WHERE repository.deleted_at IS NULL",
    )
    return found | {f"{name}:{tag}": digest for name, tag, digest in tags}


async def _pull(registry: Registry, name: RepositoryName, payload: dict[str, Any]) -> str:
    for part in [payload.get("config"), *payload.get("layers", [])]:
        if part is None:
            continue
        try:
            reader = await registry.blobs.open(name, Digest(part["digest"]))
        except RegistryError as error:
            return f"{part['digest']}: {type(error).__name__}"
        data = await reader.read(0, reader.size)
        await reader.close()
        if Digest.of(data) != part["digest"]:
            return f"{part['digest']}: other bytes"
    return "whole"


class Bench:
    """One act on copies of its data."""

    def __init__(self, name: str, folder: Path) -> None:
        self._act = ACTS[name]
        self._folder = folder
        self._data = folder / "data"
        self.problems: list[str] = []

    def run(self) -> int:
        """Kill at every point; return at how many."""
        template = self._folder / "template"
        template.mkdir()
        self._child(template, self._made)
        before = self._child(template, self._looked)
        self._copy(template)
        self._child(self._data, self._acted)
        after = self._child(self._data, self._looked)
        kills = 0
        while self._kill(template, kills + 1):
            kills += 1
            found = self._child(self._data, self._looked)
            if found not in (before, after):
                self.problems.append(f"killed at point {kills}: {found}, neither {before} nor {after}")
            self.problems += [
                f"killed at point {kills}: {problem}" for problem in self._child(self._data, self._finished)
            ]
        return kills

    def points(self) -> set[str]:
        """The crash points that the act passes."""
        self._data.mkdir()
        self._child(self._data, self._made)
        return set(self._child(self._data, self._watched))

    def _kill(self, template: Path, hit: int) -> bool:
        """False when the act ended before."""
        self._copy(template)
        return self._child(self._data, self._acted, hit=hit) is None

    def _copy(self, template: Path) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        shutil.copytree(template, self._data)

    def _child(self, data: Path, work: Callable[[Path], Awaitable[Any]], hit: int = 0) -> Any:
        """What `work` returns in a process of its own; None when that was killed at its `hit`-th crash point."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(reading)
                if hit:
                    crashpoints.arm(crashpoints.ANY, hit)
                told = json.dumps([asyncio.run(_awaited(work(data)))]).encode()
                crashpoints.watch(None)
                os.write(writing, told)
                code = 0
            except BaseException:  # noqa: BLE001 - it must not go on as the parent
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == -signal.SIGKILL and hit:
            return None
        if code != 0:
            raise RuntimeError(f"a child ended with {code}")
        return json.loads(told)[0]

    async def _made(self, data: Path) -> None:
        async with opened(data, Clock()) as registry:
            await make(registry)
        if self._act.prepare is not None:
            async with opened(data, Clock(START + 1000)) as registry:
                await self._act.prepare(registry)

    async def _acted(self, data: Path) -> str:
        async with opened(data, Clock(START + self._act.later)) as registry:
            try:
                await self._act.run(registry)
            except (RegistryError, Problem) as error:
                return type(error).__name__
        return "done"

    async def _watched(self, data: Path) -> list[str]:
        passed: list[str] = []
        crashpoints.watch(passed.append)
        await self._acted(data)
        crashpoints.watch(None)
        return passed

    async def _looked(self, data: Path) -> dict[str, str]:
        async with opened(data, Clock(START + self._act.later)) as registry:
            await registry.recover()
            return await state(registry)

    async def _finished(self, data: Path) -> list[str]:
        """What was interrupted finishes, and then nothing is lost, dangling or left over."""
        await self._acted(data)
        clock = Clock(START + self._act.later)
        async with opened(data, clock) as registry:
            quarantined = await execute(registry, "SELECT digest FROM blob WHERE state <> 'ok'")
            if quarantined:
                data_of_it = b"only 1" * 40
                await registry.uploads.push(APP, CALLER, Digest.of(data_of_it), body(data_of_it))
            for _ in range(3):
                clock.advance(15 * DAY)
                await registry.uploads.expire()
                await registry.gc.run(lambda: True)
            report = await registry.fsck.run(deep=True, progress=lambda *_: None)
            left = judge.garbage(registry.settings.database.path, registry.settings.storage.filesystem.rootdirectory)
            wrong = [
                f"{name}: {told}" for name, told in (await state(registry)).items() if "@" in name and told != "whole"
            ]
        return [*report.problems, *report.notes, *left, *wrong]


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def campaign(names: list[str]) -> dict[str, object]:
    kills, problems = dict[str, int](), list[str]()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(name, Path(folder))
            kills[name] = bench.run()
        problems += [f"{name}: {problem}" for problem in bench.problems]
    return {"kills": kills, "total": sum(kills.values()), "problems": problems[:20]}


def points() -> list[str]:
    """What all acts together pass."""
    passed = set[str]()
    for name in ACTS:
        with tempfile.TemporaryDirectory() as folder:
            passed |= Bench(name, Path(folder)).points()
    return sorted(passed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--act", action="append", choices=ACTS, default=[])
    parser.add_argument("--points", action="store_true", help="kill nothing, tell which points are passed")
    chosen = parser.parse_args()
    if chosen.points:
        print(json.dumps(points()))
        return
    summary = campaign(chosen.act or [*ACTS])
    print(json.dumps(summary, indent=2))
    sys.exit(1 if summary["problems"] else 0)


if __name__ == "__main__":
    main()
