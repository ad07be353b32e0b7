"""The audit log keeps what happened: whatever is changed behind its back, a check of the chain tells."""

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert

from registry.access import audit as module
from registry.access.audit import Audit
from registry.domain.access import Caller, Identity
from registry.domain.audit import SEALED, Anchor, EventFilter, Seal, Verdict, line
from registry.domain.paging import PageRequest
from registry.domain.problems import Invalid
from registry.metadata import events
from registry.metadata.database import Database
from registry.metadata.models import event
from registry.metadata.schema import upgrade
from storage.failure import FailureMark
from tests.support.registry import Clock

ALICE = Caller(Identity("user:alice", credential="password"), "request-1", "192.0.2.1")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seals of ten events, read four at a time."""
    monkeypatch.setattr(module, "SEAL_LIMIT", 10)
    monkeypatch.setattr(module, "BATCH", 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    upgrade(tmp_path / "registry.db")
    return tmp_path / "registry.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    opened = Database(path, Clock(), FailureMark())
    yield opened
    await opened.close()


@pytest.fixture
def audit(database: Database) -> Audit:
    return Audit(database)


@pytest.fixture
async def sealed(audit: Audit, database: Database) -> Audit:
    """Events 1 to 20 and 25 to 34, under three seals; the ids between were of transactions that failed."""
    await happen(database, 20)
    await database.write(insert_events, [25])
    await happen(database, 9)
    assert [seal.events for seal in await seal_all(audit)] == [10, 10, 10]
    assert (await verify(audit)).problems == []
    return audit


def insert_events(connection: Connection, ids: Sequence[int]) -> None:
    """With all columns."""
    common = dict.fromkeys(SEALED, "value") | {"at": Clock().now, "repository_id": 1, "details": '{"key": "value"}'}
    connection.execute(insert(event), [common | {"id": number} for number in ids])


async def happen(database: Database, times: int, action: str = "user.create", **details: object) -> None:
    for _ in range(times):
        await database.write(events.append_access, ALICE, action, details)


async def seal_all(audit: Audit) -> list[Seal]:
    made = []
    while (seal := await audit.seal()) is not None:
        made.append(seal)
    return made


async def verify(audit: Audit, anchor: Anchor | None = None) -> Verdict:
    return await audit.verify(lambda events: None, anchor)


def tamper(path: Path, *statements: str) -> None:
    """As somebody with the file and any SQLite would."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
        connection.commit()


# --- tampering -------------------------------------------------------------------------------------------------------

CHANGED = "seal 2 does not fit"
TAMPERINGS = [
    *((f"UPDATE event SET {column} = 'other' WHERE id = 15", CHANGED) for column in SEALED if column != "id"),
    ("UPDATE event SET tag = 'null' WHERE id = 15", CHANGED),
    ("UPDATE event SET tag = '' WHERE id = 15", CHANGED),
    ("UPDATE event SET tag = x'00ff' WHERE id = 15", CHANGED),
    ("UPDATE event SET identity = CAST(identity AS BLOB) WHERE id = 15", CHANGED),
    ("UPDATE event SET request_id = credential, credential = request_id WHERE id = 15", CHANGED),
    ("UPDATE event SET at = at + 1 WHERE id = 11", CHANGED),
    ("UPDATE event SET at = at + 1 WHERE id = 20", CHANGED),
    ("DELETE FROM event WHERE id = 15", "seal 2 covers 10 events from 11 to 20, and 9 are there"),
    ("DELETE FROM event WHERE id = 11", "seal 2 covers 10 events from 11 to 20, and 9 are there"),
    ("DELETE FROM event WHERE id = 20", "seal 2 covers 10 events from 11 to 20, and 9 are there"),
    ("DELETE FROM event WHERE id BETWEEN 11 AND 20", "seal 2 covers 10 events from 11 to 20, and 0 are there"),
    ("DELETE FROM event", "and 0 are there"),
    ("UPDATE event SET id = 99 WHERE id = 15", "9 are there"),
    ("UPDATE event SET id = 22 WHERE id = 25", "seal 3 does not fit"),
    ("INSERT INTO event (id, at, identity, action) VALUES (22, 0, '', '')", "seal 3 covers 10 events from 25 to 34"),
    ("INSERT INTO event (id, at, identity, action) VALUES (0, 0, '', '')", "seal 1 covers 10 events from 1 to 10"),
    ("INSERT INTO event (id, at, identity, action) VALUES (-9, 0, '', '')", "seal 1 covers 10 events from 1 to 10"),
    ("UPDATE event_seal SET first_event = 12 WHERE id = 2", CHANGED),
    ("UPDATE event_seal SET last_event = 19 WHERE id = 2", "seal 2 covers 10 events from 11 to 19, and 9 are there"),
    ("UPDATE event_seal SET last_event = 23 WHERE id = 2", CHANGED),
    ("UPDATE event_seal SET last_event = 'none' WHERE id = 2", "seal 2 covers 10 events"),
    ("UPDATE event_seal SET events = 9 WHERE id = 2", "seal 2 covers 9 events from 11 to 20, and 10 are there"),
    ("UPDATE event_seal SET hash = 'other' WHERE id = 2", CHANGED),
    ("UPDATE event_seal SET hash = x'00' WHERE id = 2", CHANGED),
    ("UPDATE event_seal SET sealed_at = 0 WHERE id = 2", CHANGED),
    ("UPDATE event_seal SET id = 7 WHERE id = 3", "between seal 2 and seal 7 there is none"),
    ("DELETE FROM event_seal WHERE id = 2", "between seal 1 and seal 3 there is none"),
    ("DELETE FROM event_seal WHERE id = 1", "between seal 0 and seal 2 there is none"),
]


@pytest.mark.parametrize(("statement", "words"), TAMPERINGS, ids=[statement for statement, _ in TAMPERINGS])
async def test_whatever_is_changed_is_found(sealed: Audit, path: Path, statement: str, words: str) -> None:
    tamper(path, statement)
    assert words in "; ".join((await verify(sealed)).problems)


async def test_one_changed_event_is_one_problem(sealed: Audit, path: Path) -> None:
    tamper(path, "UPDATE event SET identity = 'user:bob' WHERE id = 5")
    (problem,) = (await verify(sealed)).problems
    assert problem.startswith("seal 1 does not fit: one of the events from 1 to 10 was changed")


async def test_the_first_seal_gone_with_its_events_is_found(sealed: Audit, path: Path) -> None:
    tamper(path, "DELETE FROM event_seal WHERE id = 1", "DELETE FROM event WHERE id <= 10")
    assert (await verify(sealed)).problems == ["between seal 0 and seal 2 there is none; one is gone"]
    tamper(path, "UPDATE event_seal SET id = 1 WHERE id = 2", "UPDATE event_seal SET id = 2 WHERE id = 3")
    assert [problem[:19] for problem in (await verify(sealed)).problems] == [
        "seal 1 does not fit",
        "seal 2 does not fit",
    ]


async def test_only_an_anchor_finds_a_chain_made_anew(sealed: Audit, path: Path) -> None:
    before = await verify(sealed)
    assert before.newest is not None
    tamper(path, "DELETE FROM event_seal", "UPDATE event SET identity = 'user:bob' WHERE id = 15")
    assert await sealed.seal() is not None
    first = (await verify(sealed)).newest
    assert first is not None
    await seal_all(sealed)
    assert (await verify(sealed)).problems == []
    assert (await verify(sealed, first.anchor)).problems == [], "the first ten were not touched"
    (problem,) = (await verify(sealed, before.newest.anchor)).problems
    assert problem == f"no seal is 34:{before.newest.hash}: the chain was made anew since, or cut off"


async def test_only_an_anchor_finds_a_chain_cut_off(sealed: Audit, path: Path) -> None:
    newest = (await verify(sealed)).newest
    assert newest is not None
    tamper(path, "DELETE FROM event_seal WHERE id = 3", "DELETE FROM event WHERE id > 20")
    assert (await verify(sealed)).problems == []
    assert "cut off" in (await verify(sealed, newest.anchor)).problems[0]


async def test_an_anchor_is_an_event_with_its_hash(sealed: Audit) -> None:
    newest = (await verify(sealed)).newest
    assert newest is not None
    assert (await verify(sealed, Anchor(34, newest.hash))).problems == []
    assert len((await verify(sealed, Anchor(33, newest.hash))).problems) == 1
    assert len((await verify(sealed, Anchor(34, "0" * 64))).problems) == 1


# --- sealing ---------------------------------------------------------------------------------------------------------


async def test_nothing_to_seal(audit: Audit) -> None:
    assert await audit.seal() is None
    assert await verify(audit) == Verdict()


async def test_a_seal_covers_so_many_events_and_its_anchor_is_logged(
    audit: Audit, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await happen(database, 25)
    with caplog.at_level(logging.INFO):
        made = await seal_all(audit)
    assert [(seal.id, seal.first_event, seal.last_event, seal.events) for seal in made] == [
        (1, 1, 10, 10),
        (2, 11, 20, 10),
        (3, 21, 25, 5),
    ]
    assert [(record.message, record.__dict__["anchor"]) for record in caplog.records] == [
        ("audit sealed", f"{seal.last_event}:{seal.hash}") for seal in made
    ]


async def test_a_chain_that_grows_is_sound(audit: Audit, database: Database) -> None:
    anchors: list[Anchor] = []
    for round_number in range(1, 5):
        await happen(database, 7)
        (made,) = await seal_all(audit)
        anchors.append(made.anchor)
        for anchor in anchors:
            verdict = await verify(audit, anchor)
            assert (verdict.problems, verdict.seals, verdict.events) == ([], round_number, 7 * round_number)
            assert verdict.newest == made


async def test_events_without_a_seal_are_counted_with_their_age(audit: Audit, path: Path) -> None:
    clock = Clock()
    database = Database(path, clock, FailureMark())
    audit = Audit(database)
    await happen(database, 3)
    await seal_all(audit)
    await happen(database, 1)
    clock.advance(5000)
    await happen(database, 1)
    verdict = await verify(audit)
    assert (verdict.problems, verdict.events, verdict.unsealed, verdict.unsealed_for) == ([], 3, 2, 5000)
    await seal_all(audit)
    assert (await verify(audit)).unsealed == 0
    await database.close()


async def test_two_sealers_at_once_make_one_chain(audit: Audit, database: Database, path: Path) -> None:
    other_database = Database(path, Clock(), FailureMark())
    other = Audit(other_database)
    for _ in range(20):
        await happen(database, 3)
        made = await asyncio.gather(audit.seal(), other.seal(), audit.seal(), other.seal())
        assert len([seal for seal in made if seal]) == 1
    verdict = await verify(audit)
    assert (verdict.problems, verdict.seals, verdict.events) == ([], 20, 60)
    await other_database.close()


async def test_progress_tells_how_many_events_were_checked(sealed: Audit) -> None:
    told: list[int] = []
    await sealed.verify(told.append)
    assert told == [4, 8, 10, 14, 18, 20, 24, 28, 30]


def test_every_column_is_sealed() -> None:
    assert tuple(event.c.keys()) == SEALED


VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary() | st.sampled_from(["null", "1", '","'])
ROWS = st.lists(st.lists(VALUES, min_size=1, max_size=4), max_size=4)


@given(ROWS)
def test_different_rows_have_different_lines(rows: list[list[Any]]) -> None:
    """What can be read back is unambiguous."""
    lines = b"".join(map(line, rows))
    assert lines.isascii()
    read = [[_value(value) for value in json.loads(text)] for text in lines.split(b"\n")[:-1]]
    assert read == rows


def _value(value: Any) -> Any:
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def mixed(audit: Audit, database: Database) -> Audit:
    rows: list[dict[str, Any]] = [
        {"at": 1000, "identity": "user:alice", "action": "tag.create", "repository": "team/app", "tag": "v1"},
        {"at": 2000, "identity": "user:bob", "action": "tag.delete", "repository": "team/app"},
        {"at": 3000, "identity": "user:alice", "action": "tags.x", "repository": "team/app/sub"},
        {"at": 4000, "identity": "robot:build", "action": "TAG.x", "repository": "Team/app"},
        {"at": 5000, "identity": "user:alice", "action": "grant.add", "details": '{"pattern": "team/**", "who": "ü"}'},
    ]
    columns = {"repository": None, "tag": None, "details": None}
    await database.write(lambda connection: connection.execute(insert(event), [columns | row for row in rows]))
    return audit


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (EventFilter(), [5, 4, 3, 2, 1]),
        (EventFilter(identity="user:alice"), [5, 3, 1]),
        (EventFilter(identity="user:al"), []),
        (EventFilter(repository="team/app"), [2, 1]),
        (EventFilter(action="tag.create"), [1]),
        (EventFilter(action="tag.*"), [2, 1]),
        (EventFilter(action="tag"), []),
        (EventFilter(action="%.*"), []),
        (EventFilter(since=3000), [5, 4, 3]),
        (EventFilter(until=3000), [2, 1]),
        (EventFilter(since=2000, until=5000), [4, 3, 2]),
        (EventFilter("user:alice", "team/app", "tag.*", 1000, 1001), [1]),
    ],
)
async def test_filters(mixed: Audit, wanted: EventFilter, ids: list[int]) -> None:
    page = await mixed.list(wanted, PageRequest())
    assert [found.id for found in page.entries] == ids


async def test_an_event_has_all_that_was_recorded(mixed: Audit, database: Database) -> None:
    newest = (await mixed.list(EventFilter(action="grant.add"), PageRequest())).entries[0]
    assert newest.details == {"pattern": "team/**", "who": "ü"}
    assert newest.told()["at"] == "1970-01-01T00:00:05.000Z"
    await happen(database, 1, "user.create", user='"odd"\n\x1b ü')
    recorded = (await mixed.list(EventFilter(), PageRequest(1))).entries[0]
    assert (recorded.identity, recorded.credential, recorded.address) == ("user:alice", "password", "192.0.2.1")
    assert (recorded.request_id, recorded.details) == ("request-1", {"user": '"odd"\n\x1b ü'})


async def test_pages_go_on_where_the_last_one_ended(audit: Audit, database: Database) -> None:
    await happen(database, 20)
    found: list[int] = []
    last = ""
    while True:
        page = await audit.list(EventFilter(), PageRequest(7, last))
        found += [entry.id for entry in page.entries]
        await happen(database, 1)  # newer ones do not shift the pages
        if page.next_last is None:
            break
        last = page.next_last
    assert found == list(range(20, 0, -1))


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30, "²"])
async def test_a_page_goes_on_below_an_id(audit: Audit, last: str) -> None:
    with pytest.raises(Invalid, match="`after` is the `next` of the page before"):
        await audit.list(EventFilter(), PageRequest(last=last))


# --- export ----------------------------------------------------------------------------------------------------------


async def exported(audit: Audit, since: int | None = None, until: int | None = None) -> list[str]:
    """Ids of events, and of seals with an s before them."""
    pieces: list[str] = []

    async def write(text: str) -> None:
        pieces.append(text)

    await audit.export(write, since, until)
    entries = [json.loads(text) for text in "".join(pieces).splitlines()]
    return [f"s{entry['seal']['id']}" if "seal" in entry else str(entry["id"]) for entry in entries]


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


async def test_an_export_has_each_seal_behind_its_events(sealed: Audit, database: Database) -> None:
    chain = [*numbers(1, 10), "s1", *numbers(11, 20), "s2", *numbers(25, 34), "s3"]
    assert await exported(sealed) == chain
    await happen(database, 2)
    assert await exported(sealed) == [*chain, "35", "36"]


@pytest.mark.parametrize(
    ("since", "until", "lines"),
    [
        (5, 9, ["5", "6", "7", "8", "s1"]),
        (9, 12, ["9", "10", "s1", "11", "s2"]),
        (10, 11, ["10", "s1"]),
        (11, 12, ["11", "s2"]),
        (21, 25, []),
        (34, None, ["34", "s3"]),
    ],
)
async def test_a_part_has_the_seals_over_it(
    sealed: Audit, path: Path, since: int, until: int | None, lines: list[str]
) -> None:
    tamper(path, "UPDATE event SET at = id")
    assert await exported(sealed, since, until) == lines


async def test_an_empty_log_is_an_empty_export(audit: Audit) -> None:
    assert await exported(audit) == []


async def test_many_events_are_exported_in_batches(
    audit: Audit, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    await database.write(insert_events, range(1, 25_001))
    assert [seal.events for seal in await seal_all(audit)] == [10_000, 10_000, 5_000]
    pieces: list[int] = []
    found: list[dict[str, Any]] = []

    async def write(text: str) -> None:
        pieces.append(text.count("\n"))
        found.extend(json.loads(text) for text in text.splitlines())

    await audit.export(write)
    assert max(pieces) <= 1001
    assert [entry["id"] for entry in found if "id" in entry] == list(range(1, 25_001))
    assert [index for index, entry in enumerate(found) if "seal" in entry] == [10_000, 20_001, 25_002]
    assert (await verify(audit)).problems == []
