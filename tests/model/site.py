"""Registries that serve the same data over HTTP in this process, by a clock that the test sets."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TypeVar

from aiohttp import ClientSession, TCPConnector, web
from multidict import CIMultiDictProxy
from yarl import URL

from registry.app import make_runner
from registry.assembly import Registry, open_registry
from registry.config import TagsSettings
from registry.metadata.schema import upgrade
from tests.model.content import IMMUTABLE
from tests.model.rows import Rows
from tests.support.registry import Clock, settings

T = TypeVar("T")

WORKERS = 2
# Power cuts are tested elsewhere; here an fsync only costs time
_MEMORY = Path("/dev/shm")
_SCRATCH = _MEMORY if os.access(_MEMORY, os.W_OK) else None


@dataclass(frozen=True)
class Answer:
    method: str
    target: str
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """All lines of a header as one."""
        return ", ".join(self.headers.getall(name)) if name in self.headers else None


@dataclass
class Worker:
    """One serving process: its registry, its address, and a client that keeps its connection."""

    registry: Registry
    session: ClientSession
    closing: AsyncExitStack


class Site:
    """A folder and the workers on it. All calls come from one thread, outside any event loop."""

    def __init__(self, template: Path) -> None:
        self._loop = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="model-", dir=_SCRATCH))
        shutil.copyfile(template, self.folder / "registry.db")
        self.clock = Clock()
        self._ids = count(1)
        self._workers = [self._loop.run(self._opened()) for _ in range(WORKERS)]
        self._dead: list[Worker] = []
        self.rows = Rows(self.folder)

    def ask(
        self,
        worker: int,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Answer:
        data = _pieces(body) if chunked else body or None
        answer = self._loop.run(self._ask(worker, method, target, data, headers or {}))
        if method == "HEAD":  # leases that are renewed in the background
            self._loop.run(self._workers[worker].registry.content_leases.close())
        return answer

    def serve(self, worker: int, work: Callable[[Registry], Awaitable[T]]) -> T:
        """Have a service do something, as a command or the keeper would."""

        async def done() -> T:
            return await work(self._workers[worker].registry)

        return self._loop.run(done())

    def restart(self, worker: int) -> None:
        self._loop.run(self._workers[worker].closing.aclose())
        self._workers[worker] = self._loop.run(self._opened())

    def restart_all(self) -> None:
        """As after a stop of the whole registry: start-up recovery runs first."""
        for worker in self._workers:
            self._loop.run(worker.closing.aclose())
        self._workers = [self._loop.run(self._opened()) for _ in range(WORKERS)]
        self._loop.run(self._workers[0].registry.recover())

    def crash(self, workers: Sequence[int]) -> None:
        """As after `kill -9`: what they knew is gone. When none is left, the parent starts anew."""
        for worker in workers:
            self._dead.append(self._workers[worker])
            self._workers[worker] = self._loop.run(self._opened())
        if len(workers) == WORKERS:
            self._loop.run(self._workers[0].registry.recover())

    def expire(self, worker: int) -> None:
        """What the background does every minute."""
        self._loop.run(self._workers[worker].registry.uploads.expire())

    def fsck(self) -> tuple[list[str], list[str]]:
        """Problems and notes."""
        checked = self._workers[0].registry.fsck
        report = self._loop.run(checked.run(deep=True, progress=lambda *_: None))
        return report.problems, report.notes

    def close(self) -> None:
        self.rows.close()
        for worker in (*self._workers, *self._dead):
            self._loop.run(worker.closing.aclose())
        self._loop.close()
        shutil.rmtree(self.folder)

    async def _opened(self) -> Worker:
        async with AsyncExitStack() as stack:
            chosen = replace(settings(self.folder), tags=TagsSettings(immutable=(IMMUTABLE,)))
            registry = open_registry(chosen, now=self.clock, new_id=lambda: f"{next(self._ids):032x}")
            stack.push_async_callback(registry.close)
            runner = make_runner(registry)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            session = await stack.enter_async_context(
                ClientSession(f"http://{host}:{port}", connector=TCPConnector(), auto_decompress=False)
            )
            return Worker(registry, session, stack.pop_all())
        raise AssertionError

    async def _ask(
        self,
        worker: int,
        method: str,
        target: str,
        data: "bytes | AsyncIterator[bytes] | None",
        headers: Mapping[str, str],
    ) -> Answer:
        async with self._workers[worker].session.request(
            method,
            URL(target, encoded=True),
            data=data,
            headers=headers,
            skip_auto_headers=["Content-Type", "Accept-Encoding"],
            allow_redirects=False,
        ) as answer:
            return Answer(method, target, answer.status, answer.headers, await answer.read())


def new_template(folder: Path) -> Path:
    """An empty database, to be copied: migrating takes longer than an example does."""
    path = folder / "template.db"
    upgrade(path)
    return path


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """In two chunks, or none."""
    for piece in (body[: len(body) // 2], body[len(body) // 2 :]):
        if piece:
            yield piece
