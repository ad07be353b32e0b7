"""What runs under strace: pushes and deletes against a registry in this process, told to a journal in shared memory.

The journal costs no system call, so none is failed on its behalf.
"""

import asyncio
import json
import mmap
import os
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry.domain.errors import RegistryError, Unavailable
from registry.domain.names import RepositoryName
from storage import filesystem
from tests.crash.scenarios import SCENARIOS, Site
from tests.support.registry import NAME

WORK = ("two_segments", "image_by_tag", "deleted_manifest", "deleted_blob", "cancelled_upload")
FOLDER, JOURNAL = "DRIVER_FOLDER", "DRIVER_JOURNAL"
MAIN, STORAGE, DATABASE = "MainThread", "storage_0", "database-write"

_BYTES = 1024 * 1024
_GATES = 16
_POLL_SECONDS = 0.001


class Journal:
    """Lines of JSON, and gates at which the driver waits, in a file that is mapped into both processes."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_BYTES))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _BYTES)
        self._end = _GATES

    def write(self, **event: Any) -> None:
        line = json.dumps(event).encode() + b"\n"
        self._memory[self._end : self._end + len(line)] = line
        self._end += len(line)

    def read(self) -> list[dict[str, Any]]:
        text = self._memory[_GATES : self._memory.find(b"\0", _GATES)]
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]

    def open_gate(self, number: int) -> None:
        self._memory[number] = 1

    def wait_at(self, number: int) -> None:
        while not self._memory[number]:
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        self._memory.close()


class ToldSite(Site):
    """A site that writes down what it promises."""

    journal: Journal

    def promise(self, reference: str, content: bytes | None, name: RepositoryName = NAME) -> None:
        super().promise(reference, content, name)
        self.journal.write(promised=reference, content=None if content is None else content.decode(), repository=name)

    def unsure(self, *references: str) -> None:
        super().unsure(*references)
        for reference in references:
            self.journal.write(unsure=reference)


def _told_site() -> ToldSite:
    site = ToldSite(Path(os.environ[FOLDER]))
    site.journal = Journal(Path(os.environ[JOURNAL]))
    return site


def drive() -> int:
    """Work once; a refusal is an answer, anything else a problem."""
    filesystem.THREADS = 1
    site = _told_site()
    site.journal.write(threads={MAIN: os.getpid()})
    site.journal.wait_at(0)
    try:
        asyncio.run(_drive(site))
    except Exception as error:  # noqa: BLE001 - the harness decides whether a start may fail like this
        site.journal.write(not_started=repr(error))
    site.journal.write(ended=True)
    return 0


async def _drive(site: ToldSite) -> None:
    await site.open()
    await site.registry.store.check(write=False)
    site.journal.write(threads={thread.name: thread.native_id for thread in threading.enumerate()})
    site.journal.wait_at(1)
    for serial, name in enumerate(WORK):
        try:
            await SCENARIOS[name](site, serial)
        except Unavailable as refused:
            site.journal.write(refused=refused.message)
        except Exception:  # noqa: BLE001 - clients would have seen a 500
            site.journal.write(problem=f"{name}: {traceback.format_exc()}")
    await site.close()


def judge() -> int:
    """After a restart: all that was promised is there, and the same work succeeds."""
    site = _told_site()
    events = site.journal.read()
    problems = asyncio.run(_judge(site, events))
    print(json.dumps(problems))
    return 1 if problems else 0


async def _judge(site: Site, events: Sequence[Mapping[str, Any]]) -> list[str]:
    quiet = Site(site.folder, site.clock)
    for event in events:
        if "promised" in event:
            content = event["content"]
            repository = RepositoryName(event["repository"])
            quiet.promise(event["promised"], None if content is None else content.encode(), repository)
        elif "unsure" in event:
            quiet.unsure(event["unsure"])
    await quiet.open()
    problems = await quiet.all_problems()
    for serial, name in enumerate(WORK):
        try:
            await SCENARIOS[name](quiet, serial)
        except RegistryError as error:
            problems.append(f"{name} after the restart: {error.message}")
    problems += await quiet.all_problems()
    await quiet.close()
    return problems
