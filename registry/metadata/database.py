"""How query functions run: on the event loop, on a reader thread, or as a group-committed write.

Callers say `await database.read(f, …)` and `await database.write(f, …)`; docs/adr/0002 has the measurements.
Nothing but SQLite opens or closes the database's files: closing a descriptor of ours would drop its locks.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import ClauseElement, Connection, create_engine, event
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool

from registry import metrics
from registry.domain.errors import Unavailable
from registry.metadata.reserve import Reserve
from registry.metadata.turns import Turns
from storage.crashpoints import crash_point
from storage.failure import FailureMark
from storage.space import has_room

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")
Query = Callable[Concatenate[Connection, P], T]

BUSY_SECONDS = 5.0
# Writes that share a commit: enough to fill an fsync, few enough that nobody waits long
GROUP_LIMIT = 64

# What the write-ahead log keeps on disk once it was larger
LOG_LIMIT = 64 * 1024 * 1024

log = logging.getLogger(__name__)

# Values in one IN (…)
BATCH = 500
# At a commit these leave open what reached the disk
_LOST = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_NO_SPACE = "no space left for the database; the operator must free some"
_PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}

_by_key: set[Callable[..., Any]] = set()
_on_full_disk: set[Callable[..., Any]] = set()


class UnsafeDatabaseError(RuntimeError):
    """The database does not hold a setting that durability or integrity rests on."""


def by_key(query: Callable[P, T]) -> Callable[P, T]:
    """Mark a query that reads a few rows by key: it may run on the event loop."""
    _by_key.add(query)
    return query


def on_full_disk(query: Callable[P, T]) -> Callable[P, T]:
    """Mark a query that must be able to write on a full disk: it frees space, or keeps order without taking any."""
    _on_full_disk.add(query)
    return query


def batches(values: Iterable[V]) -> Iterator[list[V]]:
    """The values in lists that fit a statement."""
    waiting = iter(values)
    while batch := list(islice(waiting, BATCH)):
        yield batch


class Prepared:
    """A statement that SQLAlchemy compiles once and the driver runs: 9 µs where Core takes 64."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=sqlite_dialect.dialect(paramstyle="named"))
        self._text = str(compiled)
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def one(self, connection: Connection, **values: str | int) -> tuple[Any, ...] | None:
        """The only row, or None. Fetched to the end: an open cursor would pin its snapshot."""
        rows: list[tuple[Any, ...]] = _driver(connection).execute(self._text, {**self._constants, **values}).fetchall()
        return rows[0] if rows else None


@dataclass(slots=True)
class _Write:
    run: Callable[[Connection], Any]
    future: "asyncio.Future[Any]"
    on_full_disk: bool
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        if self.future.done():  # the caller was cancelled
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Database:
    """One SQLite database: a connection on the event loop, one on a reader thread, one on the writer thread.

    Open it in the process that uses it: no connection may cross a fork. `now` tells the time in milliseconds.
    An I/O error at a commit sets `mark`; from then on nothing is written.
    """

    def __init__(self, path: Path, now: Callable[[], int], mark: FailureMark) -> None:
        self._path = path
        self._now = now
        self._mark = mark
        self._reserve = Reserve(path.with_name(f"{path.name}.reserve"))
        self._turns = Turns(path.with_name(f"{path.name}.lock"))
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="database-read")
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        # Opened first: it may have to make the file WAL, which the others only read back
        self._writing = self._connect("BEGIN IMMEDIATE", BUSY_SECONDS, query_only=False)
        self._reading = self._connect("BEGIN", BUSY_SECONDS, query_only=True)
        self._lookup = self._connect("BEGIN", 0, query_only=True)
        self._writer = threading.Thread(target=self._write_forever, name="database-write", daemon=True)
        self._writer.start()

    async def read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `query` on one snapshot. Raises Unavailable when the database can't be read."""
        if query in _by_key:
            try:
                return query(self._lookup, *args, **kwargs)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise _unavailable(error) from error
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._reads, self._read, lambda connection: query(connection, *args, **kwargs)
        )

    async def write(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `query` in a transaction and return once its commit is durable.

        What `query` raises rolls its changes back, and only its own. Raises Unavailable when the database can't
        be written now.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        write = _Write(lambda connection: query(connection, *args, **kwargs), future, query in _on_full_disk)
        self._writes.put(write)
        return cast(T, await write.future)

    async def take_reserve(self) -> None:
        """Set space aside for what must be written on a full disk; once it was used, again when there is room."""
        await asyncio.to_thread(self._reserve.take)

    async def close(self) -> None:
        """Finish the writes that wait, then close."""
        self._writes.put(None)
        await asyncio.to_thread(self._writer.join)
        self._reads.shutdown()
        for connection in (self._lookup, self._reading, self._writing):
            connection.close()
        self._turns.close()

    def _connect(self, begin: str, busy_seconds: float, *, query_only: bool) -> Connection:
        engine = create_engine(
            f"sqlite:///{self._path}",
            poolclass=NullPool,
            # What clients sent does not belong in a log
            hide_parameters=True,
            # isolation_level None: transactions begin where `begin` says, not before the first INSERT
            connect_args={"timeout": busy_seconds, "isolation_level": None, "check_same_thread": False},
        )
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        if not query_only:
            event.listen(engine, "after_cursor_execute", lambda *_: crash_point("database.statement"))
        connection = engine.connect()
        driver = _driver(connection)
        driver.execute("PRAGMA journal_mode = wal")
        driver.execute("PRAGMA synchronous = FULL")
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        if query_only:
            driver.execute("PRAGMA query_only = ON")
        for pragma, expected in _PRAGMAS.items():
            if driver.execute(f"PRAGMA {pragma}").fetchone() != (expected,):
                raise UnsafeDatabaseError(f"{self._path}: SQLite does not keep PRAGMA {pragma} = {expected}")
        driver.create_function("digestry_now", 0, self._now)
        return connection

    def _read(self, run: Callable[[Connection], T]) -> T:
        try:
            with self._reading.begin():
                return run(self._reading)
        except (DBAPIError, sqlite3.OperationalError) as error:
            _driver(self._reading).rollback()  # after a COMMIT that failed SQLAlchemy leaves it open
            raise _unavailable(error) from error

    def _write_forever(self) -> None:
        ending = False
        while not ending and (first := self._writes.get()) is not None:
            began = time.perf_counter()
            with self._turns.turn():  # while it waits for its turn, the group grows
                group, ending = self._group(first)
                self._commit(group)
            metrics.committed(len(group), time.perf_counter() - began)

    def _group(self, first: _Write) -> tuple[list[_Write], bool]:
        """What waits now, and whether nothing comes after it."""
        group = [first]
        while len(group) < GROUP_LIMIT:
            try:
                following = self._writes.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return group, True
            group.append(following)
        return group, False

    def _commit(self, group: Sequence[_Write]) -> None:
        """Write a group and answer it; on a full disk only those of it that must be written even then."""
        full = not self._has_room()
        for write in group:
            if full and not write.on_full_disk:
                write.error = Unavailable(_NO_SPACE)
        wanted = [write for write in group if write.error is None]
        if wanted and self._transact(wanted) == sqlite3.SQLITE_FULL:
            self._try_again_with_the_reserve([write for write in wanted if write.on_full_disk])
        for loop in {write.future.get_loop() for write in group}:
            mine = [write for write in group if write.future.get_loop() is loop]
            loop.call_soon_threadsafe(_settle, mine)

    def _transact(self, group: Sequence[_Write]) -> int | None:
        """Run a group in one transaction, a savepoint each; return SQLite's code when all of it failed."""
        driver = _driver(self._writing)
        try:
            self._check_mark()
            crash_point("database.beginning")
            with self._writing.begin():
                for write in group:
                    self._attempt(write)
                crash_point("database.committing")
            crash_point("database.committed")
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever the driver raises
            failure = _unavailable(error)
            code = _error_code(error)
            if code in _LOST:
                self._mark.set(f"the database at a commit: {error}")
            for write in group:
                write.error = failure
            driver.rollback()
            return code
        return None

    def _try_again_with_the_reserve(self, group: Sequence[_Write]) -> None:
        if group:
            self._reserve.give_up()
            for write in group:
                write.error = None
            self._transact(group)

    def _has_room(self) -> bool:
        try:
            return has_room(self._path.parent)
        except OSError:  # what is wrong will show when SQLite writes
            return True

    def _check_mark(self) -> None:
        if self._mark.reason:
            raise Unavailable(f"writing has stopped until a restart: {self._mark.reason}")

    def _attempt(self, write: _Write) -> None:
        try:
            with self._writing.begin_nested():
                write.result = write.run(self._writing)
        except Exception as error:
            # Out of space or I/O error: SQLite rolled back the neighbours too, so nobody may be told of success.
            # SQLAlchemy does not notice; only the driver knows.
            if not _driver(self._writing).in_transaction or _error_code(error) == sqlite3.SQLITE_FULL:
                raise
            broken = isinstance(error, (IntegrityError, sqlite3.IntegrityError))
            refused = isinstance(error, (DBAPIError, sqlite3.Error)) and not broken
            write.error = _unavailable(error) if refused else error


def _settle(writes: Sequence[_Write]) -> None:
    for write in writes:
        write.settle()


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)


def _error_code(error: Exception) -> int | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlite_errorcode", None)


def _unavailable(error: Exception) -> Unavailable:
    if isinstance(error, Unavailable):
        return error
    metrics.database_error()
    code = _error_code(error)
    if code is None:
        log.error("the database failed", exc_info=error)
    else:
        log.error("the database failed: %s", error.orig if isinstance(error, DBAPIError) else error)
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(_NO_SPACE)
    return Unavailable("the registry's database can't do this now; retry after the time in Retry-After")
