"""How SQLite goes about what the writer does: by keys and indexes, never through all that a repository has."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from registry.domain.names import Digest, Tag
from registry.metadata import garbage, hiding, retention, schema, tag_history, trash

DIGEST = Digest.of(b"any")
# Of these a repository has as many as it has content
LARGE = ("link", "manifest", "ref", "tag", "event")
QUERIES: dict[str, Callable[[Connection], object]] = {
    "look at links": lambda connection: garbage.remove_links(connection, 100),
    "remove manifests": lambda connection: garbage._remove(connection, 1, [DIGEST]),
    "is it named": lambda connection: connection.execute(garbage._parents(1, DIGEST)).all(),
    "bytes to remove": lambda connection: garbage.dead(connection, 1, (0, ""), 100),
    "what waits": lambda connection: garbage.waiting(connection, 1, 1),
    "what expires": lambda connection: trash.due(connection, 1, (0, 0), 100),
    "referrers that go along": lambda connection: hiding.lone_referrers(connection, 1, [DIGEST]),
    "children that come back": lambda connection: hiding.hidden_children(connection, 1, [DIGEST]),
    "bring back": lambda connection: hiding.reveal(connection, 1, [DIGEST]),
    "hide": lambda connection: hiding.hide(connection, 1, [DIGEST], 1),
    "what needs it": lambda connection: retention.parents(connection, 1, DIGEST, 20),
    "what points to it": lambda connection: retention.tags(connection, 1, DIGEST, 20),
    "history": lambda connection: tag_history.newest_first(connection, 1, Tag("v1"), None, 100),
    "what it was": lambda connection: tag_history.last_before(connection, 1, Tag("v1"), 1),
    "was it deleted": lambda connection: tag_history.was_deleted(connection, 1, 1),
}


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[tuple[Connection, list[str]]]:
    """A connection, and the plans of all that is run on it."""
    schema.upgrade(tmp_path / "registry.db")
    engine, plans = create_engine(f"sqlite:///{tmp_path / 'registry.db'}", poolclass=NullPool), list[str]()

    def explain(connection: Connection, cursor: sqlite3.Cursor, statement: str, values: Any, *_: object) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        plans.extend(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    event.listen(engine, "connect", lambda driver, _: driver.create_function("digestry_now", 0, lambda: 1))
    event.listen(engine, "before_cursor_execute", explain)
    with engine.connect() as connection:
        yield connection, plans


@pytest.mark.parametrize("query", QUERIES)
def test_no_query_looks_through_a_repository(planned: tuple[Connection, list[str]], query: str) -> None:
    connection, plans = planned
    QUERIES[query](connection)
    few = "INDEX event_repository"  # it has nothing but a repository's own comings and goings
    steps = [plan for plan in plans if any(f" {table} " in f"{plan} " for table in LARGE) and few not in plan]
    loose = [
        step for step in steps if step.startswith("SCAN") or step.endswith(("(repository_id=?)", "link_digest>?)"))
    ]
    assert loose == [], plans
