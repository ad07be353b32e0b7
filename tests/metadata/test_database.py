"""Writes share commits but not fates; reads never wait for them."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from registry.domain.errors import NameUnknown, RegistryError, Unavailable
from registry.metadata import database as module
from registry.metadata import schema
from registry.metadata.database import Database, by_key
from storage.failure import FailureMark
from tests.support.registry import Clock

CLOCK = Clock()
WAIT = 10.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    schema.upgrade(tmp_path / "registry.db")
    return tmp_path / "registry.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    opened = Database(path, CLOCK, FailureMark())
    yield opened
    await opened.close()


def add(connection: Connection, name: str) -> str:
    connection.exec_driver_sql("INSERT INTO repository (name, created_at) VALUES (?, digestry_now())", (name,))
    return name


def add_then_raise(connection: Connection, name: str, error: Exception) -> None:
    add(connection, name)
    raise error


def names(connection: Connection) -> list[str]:
    return [row[0] for row in connection.exec_driver_sql("SELECT name FROM repository ORDER BY name")]


def break_foreign_key_at_commit(connection: Connection) -> str:
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    connection.exec_driver_sql(
        "INSERT INTO upload (id, repository_id, identity, algorithm, offset, segments, version, started_at, expires_at)"
        " VALUES ('x', 999, '', '', 0, '[]', 1, 0, 0)"
    )
    return "too early"


def names_in_file(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT name FROM repository ORDER BY name")]
    finally:
        connection.close()


class HeldWriter:
    """Keeps the writer thread in a write of its own, so that what is queued meanwhile makes one group."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entered, self._leave = threading.Event(), threading.Event()

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._database.write(self._hold))
        assert await asyncio.to_thread(self._entered.wait, WAIT)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)  # lets the tasks made in the block queue their writes
        self._leave.set()
        await self._task

    def _hold(self, connection: Connection) -> None:
        self._entered.set()
        assert self._leave.wait(WAIT)


@pytest.mark.parametrize("error", [NameUnknown(), ValueError("ours"), sqlite3.IntegrityError("the driver's")])
async def test_a_write_that_raises_rolls_back_only_itself(database: Database, error: Exception) -> None:
    transactions: list[object] = []

    def note(connection: Connection, name: str) -> str:
        transactions.append(connection.get_transaction())
        return add(connection, name)

    async with HeldWriter(database):
        before = asyncio.create_task(database.write(note, "before"))
        failing = asyncio.create_task(database.write(add_then_raise, "failing", error))
        after = asyncio.create_task(database.write(note, "after"))
    assert (await before, await after) == ("before", "after")
    with pytest.raises(type(error)) as raised:
        await failing
    assert raised.value is error
    assert transactions[0] is transactions[1], "not one group: this test shows nothing"
    assert await database.read(names) == ["after", "before"]


async def test_the_database_refusing_one_write_spares_its_neighbours(database: Database) -> None:
    async with HeldWriter(database):
        tasks = [asyncio.create_task(database.write(add, name)) for name in ("one", "one", "two")]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == "one" and isinstance(results[1], IntegrityError) and results[2] == "two"
    assert await database.read(names) == ["one", "two"]


async def test_an_answer_comes_after_the_commit(database: Database, path: Path) -> None:
    for number in range(20):
        name = f"{number:02}"
        await database.write(add, name)
        assert name in names_in_file(path)


async def test_a_commit_that_fails_fails_every_write_in_it(database: Database) -> None:
    """A refusal too: it may have been decided from what a neighbour wrote and lost."""
    async with HeldWriter(database):
        good = asyncio.create_task(database.write(add, "good"))
        refused = asyncio.create_task(database.write(add_then_raise, "refused", NameUnknown()))
        bad = asyncio.create_task(database.write(break_foreign_key_at_commit))
    for task in (good, refused, bad):
        with pytest.raises(Unavailable):
            await task
    assert await database.read(names) == []


async def test_the_writer_survives_a_commit_that_fails(database: Database) -> None:
    with pytest.raises(Unavailable):
        await database.write(break_foreign_key_at_commit)
    assert await database.write(add, "next") == "next"
    assert await database.read(names) == ["next"]


def fill(connection: Connection) -> None:
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    connection.exec_driver_sql("INSERT INTO repository (name, created_at) VALUES (hex(randomblob(?)), 0)", (100_000,))


def enlarge(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA max_page_count = 1000000")


async def test_a_full_database_is_unavailable_and_the_writer_survives_it(database: Database, path: Path) -> None:
    with pytest.raises(Unavailable):
        await database.write(fill)
    await database.write(enlarge)
    await database.write(add, "next")
    assert names_in_file(path) == ["next"]


async def test_no_neighbour_of_a_write_that_fills_the_database_is_told_a_lie(database: Database, path: Path) -> None:
    """SQLite rolls the whole transaction back then: what was written before in it is gone too."""
    async with HeldWriter(database):
        before = asyncio.create_task(database.write(add, "before"))
        full = asyncio.create_task(database.write(fill))
        after = asyncio.create_task(database.write(add, "after"))
    results = await asyncio.gather(before, full, after, return_exceptions=True)
    assert isinstance(results[1], Exception), "not full: this test shows nothing"
    assert [result for result in results if isinstance(result, str)] == sorted(names_in_file(path), reverse=True)


async def test_a_cancelled_caller_neither_stops_its_write_nor_the_writer(database: Database) -> None:
    async with HeldWriter(database):
        cancelled = asyncio.create_task(database.write(add, "cancelled"))
        await asyncio.sleep(0)
        cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await database.write(add, "next")
    assert await database.read(names) == ["cancelled", "next"]


async def test_close_finishes_the_writes_that_wait(path: Path) -> None:
    database = Database(path, CLOCK, FailureMark())
    tasks = [asyncio.create_task(database.write(add, f"{number:03}")) for number in range(200)]
    await asyncio.sleep(0)
    await database.close()
    assert len(await asyncio.gather(*tasks)) == 200
    assert len(names_in_file(path)) == 200


def thread_of(connection: Connection) -> str:
    return threading.current_thread().name


@by_key
def thread_of_lookup(connection: Connection) -> str:
    return threading.current_thread().name


async def test_reads_by_key_run_on_the_event_loop_and_others_on_a_thread(database: Database) -> None:
    assert await database.read(thread_of_lookup) == threading.current_thread().name
    assert (await database.read(thread_of)).startswith("database-read")


def failing_on_the_loop(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as the driver would")
    error.sqlite_errorcode = code
    return error


async def test_a_read_by_key_that_finds_the_database_busy_goes_to_the_thread(database: Database) -> None:
    loop_thread = threading.current_thread()

    @by_key
    def busy_on_the_loop(connection: Connection, word: str) -> tuple[str, str]:
        if threading.current_thread() is loop_thread:
            raise failing_on_the_loop(sqlite3.SQLITE_BUSY)
        return word, threading.current_thread().name

    word, thread = await database.read(busy_on_the_loop, "word")
    assert word == "word" and thread.startswith("database-read")


async def test_a_read_by_key_that_fails_otherwise_is_unavailable(database: Database) -> None:
    @by_key
    def broken(connection: Connection) -> None:
        raise failing_on_the_loop(sqlite3.SQLITE_IOERR)

    with pytest.raises(Unavailable):
        await database.read(broken)


async def test_a_read_on_the_thread_that_fails_is_unavailable_and_the_next_one_works(database: Database) -> None:
    def broken(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT * FROM nowhere")

    with pytest.raises(Unavailable):
        await database.read(broken)
    assert await database.read(names) == []


async def test_reads_see_each_write_at_once(database: Database) -> None:
    @by_key
    def count(connection: Connection) -> int:
        cursor = module._driver(connection).execute("SELECT count(*) FROM repository")
        return int(cursor.fetchall()[0][0])

    for number in range(1, 6):
        await database.write(add, str(number))
        assert await database.read(count) == number
        assert len(await database.read(names)) == number


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("query_only", 1)]
)
async def test_every_connection_has_its_pragmas(database: Database, pragma: str, value: object) -> None:
    def read(connection: Connection) -> object:
        return module._driver(connection).execute(f"PRAGMA {pragma}").fetchall()[0][0]

    assert await database.read(read) == value
    assert await database.write(read) == (0 if pragma == "query_only" else value)
    assert await database.read(by_key(read)) == value, "the connection on the event loop"


async def test_a_database_that_does_not_keep_a_pragma_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._PRAGMAS, "synchronous", 3)
    with pytest.raises(module.UnsafeDatabaseError, match="synchronous"):
        Database(path, CLOCK, FailureMark())


async def test_reads_cannot_write(database: Database) -> None:
    with pytest.raises(Unavailable):
        await database.read(add, "never")
    assert await database.read(names) == []


async def test_writing_to_a_locked_database_is_unavailable_until_it_is_free(database: Database, path: Path) -> None:
    locker = sqlite3.connect(path, isolation_level=None)
    try:
        locker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as raised:
            await database.write(add, "locked out")
        assert raised.value.headers["Retry-After"]
        assert await database.read(names) == [], "reads go on"
        locker.execute("ROLLBACK")
    finally:
        locker.close()
    await database.write(add, "next")
    assert await database.read(names) == ["next"]


async def test_writing_to_a_read_only_database_is_unavailable_and_reads_go_on(database: Database, path: Path) -> None:
    await database.write(add, "old")
    read_only = Database(path, CLOCK, FailureMark())
    module._driver(read_only._writing).execute("PRAGMA query_only = ON")
    try:
        for _ in range(2):
            with pytest.raises(RegistryError) as raised:
                await read_only.write(add, "new")
            assert isinstance(raised.value, Unavailable)
        assert await read_only.read(names) == ["old"]
    finally:
        await read_only.close()


async def test_the_clock_of_the_database_is_the_injected_one(path: Path) -> None:
    clock = Clock()
    database = Database(path, clock, FailureMark())

    def now(connection: Connection) -> int:
        return int(connection.exec_driver_sql("SELECT digestry_now()").scalar_one())

    try:
        for _ in range(2):
            assert await database.read(now) == await database.write(now) == clock.now
            clock.advance(1234)
    finally:
        await database.close()
