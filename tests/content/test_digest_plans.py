"""Every query about a digest follows indexes: neither a table nor a repository is looked through."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest

from registry.assembly import Registry
from registry.content.digests import MayPull
from registry.domain.names import Digest
from registry.metadata import pointings
from tests.support.digests import BASE, built, only, pages
from tests.support.registry import NAME
from tests.support.shelf import Shelf

TABLES = ("repository", "blob", "link", "manifest", "ref", "tag", "event")
ALIASES = ("parent", "child", "other", "later")
LOOKED_THROUGH = re.compile(rf"SCAN (?:{'|'.join(TABLES + ALIASES)})\b|\(repository_id=\?\)|AUTOMATIC")


@contextmanager
def reads(registry: Registry) -> Iterator[list[str]]:
    """What is asked of SQLite meanwhile."""
    found: list[str] = []
    driver = registry.database._reading.connection.driver_connection
    assert driver is not None
    driver.set_trace_callback(found.append)
    yield found
    driver.set_trace_callback(None)


def plan(shelf: Shelf, statement: str) -> list[str]:
    with closing(sqlite3.connect(shelf.registry.settings.database.path)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]


async def ask(registry: Registry, digest: Digest, may_pull: MayPull | None) -> None:
    digests = registry.digests
    await digests.resolve(digest[:15], may_pull, ever=True)
    await digests.get(digest, may_pull)
    for ever in (False, True):
        await pages(partial(digests.tags, digest, may_pull, ever=ever), 1)
    await pages(partial(digests.manifests, digest, may_pull), 1)
    await pages(partial(digests.repositories, digest, may_pull), 1)


@pytest.mark.parametrize("few", [0, 1000])
async def test_no_query_looks_through_a_table_or_a_repository(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(pointings, "FEW", few)
    image = await built(shelf, "a", "v1")
    index = await shelf.index([image, await built(shelf, "b")], "all")
    with reads(shelf.registry) as statements:
        for digest in (Digest.of(BASE), image, index):
            await ask(shelf.registry, digest, only(NAME))
            await ask(shelf.registry, digest, None)
    asked = {one for one in statements if one.startswith(("SELECT", "WITH"))}
    assert len(asked) > 50
    bad = {step: one for one in asked for step in plan(shelf, one) if LOOKED_THROUGH.search(step)}
    assert bad == {}
