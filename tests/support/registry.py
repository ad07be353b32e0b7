"""A whole registry in a folder, without HTTP, whose clock the test sets."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.assembly import Registry, open_registry
from registry.background import do, periodic
from registry.clock import JumpWatch
from registry.config import DatabaseSettings, FilesystemSettings, Settings, StorageSettings
from registry.content.intake import Body
from registry.domain.access import ANYBODY, Caller
from registry.domain.names import Digest, RepositoryName
from registry.domain.uploads import UploadKey
from registry.metadata.schema import upgrade

__all__ = ["CALLER", "DAY", "NAME", "Clock", "body", "execute", "keep", "opened", "pull", "push", "settings", "start"]

DAY = 86_400_000
NAME = RepositoryName("team/app")
CALLER = Caller(ANYBODY, "request")


@dataclass
class Clock:
    """Stands still until a test moves it; milliseconds since the epoch."""

    now: int = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, milliseconds: int) -> None:
        self.now += milliseconds


def settings(folder: Path) -> Settings:
    return Settings(
        storage=StorageSettings(filesystem=FilesystemSettings(rootdirectory=folder / "blobs")),
        database=DatabaseSettings(url=f"sqlite:///{folder / 'registry.db'}"),
    )


@asynccontextmanager
async def opened(
    folder: Path, clock: Callable[[], int] | None = None, watch: JumpWatch | None = None
) -> AsyncIterator[Registry]:
    """A registry on the data under `folder`, made when there is none; a second one there is a second process."""
    if not (folder / "registry.db").exists():
        upgrade(folder / "registry.db")
    registry = open_registry(settings(folder), now=clock or Clock(), watch=watch)
    try:
        yield registry
    finally:
        await registry.close()


async def _each(pieces: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def body(*pieces: bytes, start: int | None = None, length: int | None = None) -> Body:
    """Without `length` it declares what it has."""
    return Body(_each(pieces), start, sum(map(len, pieces)) if length is None else length)


async def start(registry: Registry, algorithm: str = "sha256") -> UploadKey:
    state = await registry.uploads.start(NAME, CALLER, algorithm)
    return UploadKey(state.id, NAME, ANYBODY.name)


async def push(registry: Registry, data: bytes, name: RepositoryName = NAME, caller: Caller = CALLER) -> Digest:
    digest = Digest.of(data, "sha256")
    await registry.uploads.push(name, caller, digest, body(data))
    return digest


async def pull(registry: Registry, digest: Digest, name: RepositoryName = NAME) -> bytes:
    reader = await registry.blobs.open(name, digest)
    try:
        return await reader.read(0, reader.size)
    finally:
        await reader.close()


async def keep(registry: Registry) -> None:
    """All periodic work that is due."""
    for task in periodic(registry):
        await do(registry, task)


async def execute(registry: Registry, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run SQL past all of our code; changes go through the writer like any other."""

    def run(connection: Any) -> list[tuple[Any, ...]]:
        result = connection.exec_driver_sql(statement, values)
        return [tuple(row) for row in result] if result.returns_rows else []

    return await registry.database.write(run)
