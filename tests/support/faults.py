"""Faults in what the registry stands on: a blob store and a database that fail when a schedule says so."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, BinaryIO, Protocol, Self, TypeVar

from sqlalchemy import Engine, event

from storage.backend import BlobReader, BlobStore, Staged, StagedWriter
from storage.digest import Digest
from storage.errors import StagedBytesMissing, StorageFailed, StorageFull, SyncFailed
from storage.failure import FailureMark

T = TypeVar("T")
DELAY_SECONDS = 0.01


class Fault(Enum):
    """What goes wrong in one call."""

    # Nothing was done
    ERROR = auto()
    FULL = auto()
    BUSY = auto()
    SYNC = auto()
    # All was done, and yet it is reported as failed
    AMBIGUOUS = auto()
    # Done late, or not quite
    DELAY = auto()
    SHORT = auto()
    CORRUPT = auto()


class Schedule(Protocol):
    """Asked once for each call, which can go wrong in some ways."""

    def fault_at(self, call: str, possible: Collection[Fault]) -> Fault | None: ...


class Nth:
    """One fault, at the n-th call after `arm` that can go wrong in this way."""

    def __init__(self) -> None:
        self._left = 0
        self._fault: Fault | None = None
        self.failed: str | None = None

    def arm(self, number: int, fault: Fault) -> None:
        self._left, self._fault, self.failed = number, fault, None

    def disarm(self) -> None:
        self._fault = None

    def fault_at(self, call: str, possible: Collection[Fault]) -> Fault | None:
        if self._fault not in possible:
            return None
        self._left -= 1
        if self._left:
            return None
        self.failed = call
        return self._fault


class Seeded:
    """Faults at random: while it is active, each call fails with the given probability."""

    def __init__(self, seed: str, probability: float, faults: Sequence[Fault]) -> None:
        self._random = random.Random(seed)
        self._probability = probability
        self._faults = faults
        self.active = False

    def fault_at(self, call: str, possible: Collection[Fault]) -> Fault | None:
        wanted = [fault for fault in self._faults if fault in possible and self.active]
        return self._random.choice(wanted) if wanted and self._random.random() < self._probability else None


# --- the blob store --------------------------------------------------------------------------------------------


_REFUSED = (Fault.ERROR, Fault.FULL)
_CALL = (*_REFUSED, Fault.AMBIGUOUS, Fault.DELAY)
_SYNCING_CALL = (*_CALL, Fault.SYNC)
_READING = (Fault.ERROR, Fault.SHORT, Fault.CORRUPT)


class _Failing:
    """What store, writer and reader have in common. A failed fsync also sets the mark, as in the real store."""

    def __init__(self, schedule: Schedule, mark: FailureMark) -> None:
        self.schedule = schedule
        self.mark = mark

    async def call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        fault = self.schedule.fault_at(name, _SYNCING_CALL if name in ("publish", "writer.sync") else _CALL)
        if fault is Fault.DELAY:
            await asyncio.sleep(DELAY_SECONDS)
        self.refuse(name, fault)
        result = await work()
        if fault is Fault.AMBIGUOUS:
            raise StorageFailed(f"{name}: failed after it was done")
        return result

    def refuse(self, name: str, fault: Fault | None) -> None:
        if fault is Fault.ERROR:
            raise StorageFailed(f"{name}: failed")
        if fault is Fault.FULL:
            raise StorageFull(f"{name}: no space")
        if fault is Fault.SYNC:
            self.mark.set(f"{name}: fsync failed")
            raise SyncFailed(f"{name}: fsync failed")


class FaultyStore:
    """A BlobStore that wraps another."""

    def __init__(self, inner: BlobStore, schedule: Schedule, mark: FailureMark) -> None:
        self._inner = inner
        self._failing = _Failing(schedule, mark)

    async def stage(self, staged: Staged, length: int = 0) -> StagedWriter:
        writer = await self._failing.call("stage", lambda: self._inner.stage(staged, length))
        return FaultyWriter(writer, self._failing)

    async def read_staged(self, staged: Staged) -> AsyncGenerator[bytes]:
        fault = self._failing.schedule.fault_at("read_staged", _READING)
        self._failing.refuse("read_staged", fault)
        async for piece in self._inner.read_staged(staged):
            if fault is Fault.SHORT:
                yield piece[: len(piece) // 2]
                raise StagedBytesMissing("read_staged: cut short")
            yield _flipped(piece) if fault is Fault.CORRUPT else piece
            fault = None

    async def publish(self, staged: Staged, digest: Digest) -> str:
        return await self._failing.call("publish", lambda: self._inner.publish(staged, digest))

    async def discard(self, staged: Staged) -> None:
        await self._failing.call("discard", lambda: self._inner.discard(staged))

    async def open(self, key: str, *, uncached: bool = False) -> BlobReader:
        reader = await self._failing.call("open", lambda: self._inner.open(key, uncached=uncached))
        return FaultyReader(reader, self._failing)

    async def size(self, key: str) -> int:
        return await self._failing.call("size", lambda: self._inner.size(key))

    async def delete(self, key: str) -> None:
        await self._failing.call("delete", lambda: self._inner.delete(key))

    def keys(self) -> AsyncIterator[Sequence[str]]:
        return self._inner.keys()

    def uploads(self) -> AsyncIterator[Sequence[Staged]]:
        return self._inner.uploads()

    async def check(self, *, write: bool) -> None:
        await self._failing.call("check", lambda: self._inner.check(write=write))

    async def close(self) -> None:
        await self._inner.close()


class FaultyWriter:
    def __init__(self, inner: StagedWriter, failing: _Failing) -> None:
        self._inner = inner
        self._failing = failing

    async def write(self, piece: bytes | bytearray) -> None:
        await self._failing.call("writer.write", lambda: self._inner.write(piece))

    async def sync(self) -> Staged:
        return await self._failing.call("writer.sync", self._inner.sync)

    async def close(self) -> None:
        """The descriptor goes in any case, as it does on Linux."""
        await self._inner.close()
        self._failing.refuse("writer.close", self._failing.schedule.fault_at("writer.close", _REFUSED))


class FaultyReader:
    def __init__(self, inner: BlobReader, failing: _Failing) -> None:
        self._inner = inner
        self._failing = failing

    @property
    def size(self) -> int:
        return self._inner.size

    @property
    def content(self) -> bytes | None:
        return self._inner.content

    @property
    def file(self) -> BinaryIO | None:
        return self._inner.file

    async def read(self, offset: int, length: int) -> bytes:
        fault = self._failing.schedule.fault_at("reader.read", _READING)
        if fault is Fault.SHORT:
            raise StorageFailed("reader.read: ended before its size")
        self._failing.refuse("reader.read", fault)
        piece = await self._inner.read(offset, length)
        return _flipped(piece) if fault is Fault.CORRUPT else piece

    async def close(self) -> None:
        await self._inner.close()


def _flipped(piece: bytes) -> bytes:
    return bytes([piece[0] ^ 1]) + piece[1:] if piece else piece


# --- the database ----------------------------------------------------------------------------------------------

_CHANGES = ("INSERT", "UPDATE", "DELETE")
_STATEMENT = (Fault.ERROR, Fault.BUSY)
_COMMIT = (Fault.ERROR, Fault.FULL, Fault.BUSY, Fault.SYNC, Fault.AMBIGUOUS)
_CODES = {
    Fault.ERROR: (sqlite3.SQLITE_IOERR_WRITE, "disk I/O error"),
    Fault.FULL: (sqlite3.SQLITE_FULL, "database or disk is full"),
    Fault.BUSY: (sqlite3.SQLITE_BUSY, "database is locked"),
    Fault.SYNC: (sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error"),
    Fault.AMBIGUOUS: (sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error"),
}
# With these SQLite rolls the whole transaction back by itself (sqlite.org/lang_transaction.html, section 3)
_ROLLS_BACK = (Fault.ERROR, Fault.FULL)


def _error(fault: Fault) -> sqlite3.OperationalError:
    code, text = _CODES[fault]
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


class _FaultyCursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        connection = self.connection
        assert isinstance(connection, _FaultyConnection)
        changes = sql.startswith(_CHANGES)
        call = " ".join(sql.split()[: 3 if changes else 2])
        fault = connection.schedule.fault_at(call, (*_STATEMENT, Fault.FULL) if changes else _STATEMENT)
        if fault is not None:
            if fault in _ROLLS_BACK and connection.in_transaction:
                sqlite3.Connection.rollback(connection)
            raise _error(fault)
        return super().execute(sql, parameters)


class _FaultyConnection(sqlite3.Connection):
    schedule: Schedule

    def cursor(self, factory: Any = _FaultyCursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.execute(sql, parameters)

    def commit(self) -> None:
        fault = self.schedule.fault_at("COMMIT", _COMMIT) if self.in_transaction else None
        if fault is not None:
            if fault is Fault.AMBIGUOUS:
                super().commit()
            raise _error(fault)
        super().commit()


@contextmanager
def faulty_sqlite(schedule: Schedule) -> Iterator[None]:
    """Each statement and COMMIT of databases opened in this block asks the schedule."""

    class Connection(_FaultyConnection):
        pass

    Connection.schedule = schedule

    def connect(dialect: Any, record: Any, arguments: Any, options: dict[str, Any]) -> None:
        options["factory"] = Connection

    event.listen(Engine, "do_connect", connect)
    try:
        yield
    finally:
        event.remove(Engine, "do_connect", connect)
