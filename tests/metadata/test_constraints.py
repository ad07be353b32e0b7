"""Whatever our code forgets, the database itself refuses to dangle (reliability D3)."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.metadata import schema

BLOB, LAYER, IMAGE, INDEX, ABSENT = "sha256:b", "sha256:l", "sha256:m", "sha256:i", "sha256:absent"

MANIFEST = (
    "INSERT INTO manifest (repository_id, digest, media_type, annotations, size, content_size, depth, pushed_at,"
    " keep_until, payload) VALUES (1, '{}', '', '{{}}', 0, 0, 0, 0, 0, x'')"
)
REF = (
    "INSERT INTO ref (repository_id, parent, position, kind, digest, media_type, size, link_digest, manifest_digest)"
    " VALUES ({}, '{}', {}, '{}', '{}', '', 0, {}, {})"
)
TAG = "INSERT INTO tag (repository_id, name, digest, version, moved_at, moved_by) VALUES ({}, '{}', '{}', 1, 0, '')"
REPOSITORY = "INSERT INTO repository (id, name, created_at, deleted_at) VALUES ({}, '{}', 0, {})"


def ref(kind: str, digest: str, *, link: bool = False, manifest: bool = False, repository: int = 1) -> str:
    quoted = f"'{digest}'"
    return REF.format(repository, INDEX, 99, kind, digest, quoted if link else "NULL", quoted if manifest else "NULL")


SOUND = (
    REPOSITORY.format(1, "one", "NULL"),
    REPOSITORY.format(2, "two", "NULL"),
    f"INSERT INTO blob VALUES ('{BLOB}', 'key-b', 1, 'ok', 0, NULL)",
    f"INSERT INTO blob VALUES ('{LAYER}', 'key-l', 1, 'ok', 0, NULL)",
    f"INSERT INTO link VALUES (1, '{BLOB}', 0, 0, NULL, NULL)",
    f"INSERT INTO link VALUES (1, '{LAYER}', 0, 0, NULL, NULL)",
    MANIFEST.format(IMAGE),
    MANIFEST.format(INDEX),
    REF.format(1, IMAGE, 0, "layer", BLOB, f"'{BLOB}'", "NULL"),
    REF.format(1, INDEX, 0, "child", IMAGE, "NULL", f"'{IMAGE}'"),
    TAG.format(1, "latest", INDEX),
)

REFUSED = {
    "a ref to a missing link": ref("layer", ABSENT, link=True),
    "a ref to a missing manifest": ref("child", ABSENT, manifest=True),
    "a ref to a link of another repository": REF.format(2, INDEX, 0, "layer", BLOB, f"'{BLOB}'", "NULL"),
    "a ref of a missing manifest": REF.format(1, ABSENT, 0, "layer", BLOB, f"'{BLOB}'", "NULL"),
    "a ref to neither link nor manifest": ref("layer", BLOB),
    "a foreign ref to a link": ref("foreign", BLOB, link=True),
    "a foreign ref to a manifest": ref("foreign", IMAGE, manifest=True),
    "a ref of an unknown kind": ref("other", BLOB, link=True),
    "a ref whose link is of another digest": REF.format(1, INDEX, 99, "layer", LAYER, f"'{BLOB}'", "NULL"),
    "a ref whose manifest is of another digest": REF.format(1, INDEX, 99, "child", BLOB, "NULL", f"'{IMAGE}'"),
    "a tag to a missing manifest": TAG.format(1, "new", ABSENT),
    "a tag to a manifest of another repository": TAG.format(2, "new", IMAGE),
    "a tag moved to a missing manifest": f"UPDATE tag SET digest = '{ABSENT}'",
    "a link to a missing blob": f"INSERT INTO link VALUES (1, '{ABSENT}', 0, 0, NULL, NULL)",
    "a link of a missing repository": f"INSERT INTO link VALUES (9, '{BLOB}', 0, 0, NULL, NULL)",
    "deleting a linked blob": f"DELETE FROM blob WHERE digest = '{LAYER}'",
    "deleting a referenced link": f"DELETE FROM link WHERE digest = '{BLOB}'",
    "deleting a tagged manifest": f"DELETE FROM manifest WHERE digest = '{INDEX}'",
    "deleting a manifest that an index names": f"DELETE FROM manifest WHERE digest = '{IMAGE}'",
    "deleting a repository that holds something": "DELETE FROM repository WHERE id = 1",
    "two live repositories of one name": REPOSITORY.format(3, "one", "NULL"),
    "bringing back a repository whose name is taken": "UPDATE repository SET name = 'one' WHERE id = 2",
    "two blobs at one key": "INSERT INTO blob VALUES ('sha256:x', 'key-b', 1, 'ok', 0, NULL)",
    "a blob of negative size": "INSERT INTO blob VALUES ('sha256:x', 'key-x', -1, 'ok', 0, NULL)",
    "a blob in an unknown state": "INSERT INTO blob VALUES ('sha256:x', 'key-x', 1, 'odd', 0, NULL)",
    "an upload with half a lease": (
        "INSERT INTO upload VALUES ('u', 1, '', 'sha256', 0, '[]', 1, 'owner', NULL, NULL, 0, 0, NULL)"
    ),
    "an upload at a negative offset": (
        "INSERT INTO upload VALUES ('u', 1, '', 'sha256', -1, '[]', 1, NULL, NULL, NULL, 0, 0, NULL)"
    ),
}

BOTH_TARGETS = (
    f"INSERT INTO blob VALUES ('{IMAGE}', 'key-m', 1, 'ok', 0, NULL)",
    f"INSERT INTO link VALUES (1, '{IMAGE}', 0, 0, NULL, NULL)",
)

ALLOWED = {
    "a ref to a link": ref("layer", LAYER, link=True),
    "a ref to a manifest": ref("child", IMAGE, manifest=True),
    "a foreign ref to nothing": ref("foreign", ABSENT),
    "a tag": TAG.format(1, "new", IMAGE),
    "a deleted repository's name": REPOSITORY.format(3, "one", "1"),
    "a repository whose name differs in case": REPOSITORY.format(3, "ONE", "NULL"),
    "an unreferenced link goes": f"DELETE FROM link WHERE digest = '{LAYER}'",
    "an upload": "INSERT INTO upload VALUES ('u', 1, '', 'sha256', 0, '[]', 1, 'o', 1, NULL, 0, 0, NULL)",
}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    schema.upgrade(tmp_path / "registry.db")
    opened = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    opened.execute("PRAGMA foreign_keys = ON")
    for statement in SOUND:
        opened.execute(statement)
    yield opened
    opened.close()


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED.keys())
def test_the_database_refuses(connection: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


def test_the_database_refuses_a_ref_to_both_link_and_manifest(connection: sqlite3.Connection) -> None:
    for statement in BOTH_TARGETS:
        connection.execute(statement)
    connection.execute(ref("child", IMAGE, link=True))
    connection.execute("DELETE FROM ref WHERE position = 99")
    with pytest.raises(sqlite3.IntegrityError, match="ref_target"):
        connection.execute(ref("child", IMAGE, link=True, manifest=True))


@pytest.mark.parametrize("statement", ALLOWED.values(), ids=ALLOWED.keys())
def test_the_database_allows(connection: sqlite3.Connection, statement: str) -> None:
    assert connection.execute(statement).rowcount == 1
