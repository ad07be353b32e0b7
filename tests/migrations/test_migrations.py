"""The migrations make exactly the tables that the code expects, wholly or not at all."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, text
from sqlalchemy.pool import NullPool

from registry.metadata import schema
from registry.metadata.access_models import metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "registry.db"


@pytest.fixture
def upgraded(path: Path) -> Iterator[Connection]:
    schema.upgrade(path)
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def statements(path: Path) -> dict[str, str]:
    """What makes each table and index, without the layout of the text."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    finally:
        connection.close()
    return {name: sql for name, sql in rows if name not in ("alembic_version", "sqlite_sequence")}


def parts(sql: str) -> list[str]:
    """What commas separate, whatever the order: a column that came later stands behind the constraints."""
    columns = sql.partition("(")[2].rpartition(")")
    nested = re.split(r",(?![^(]*\))", columns[0])
    return [" ".join(part.split()) for part in (sql.partition("(")[0], *nested, columns[2])]


def differences(connection: Connection, expected: MetaData) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, expected))


def test_from_empty_to_head_makes_the_tables_of_the_models(upgraded: Connection) -> None:
    assert differences(upgraded, metadata) == []


def test_the_comparison_would_see_a_missing_column(upgraded: Connection) -> None:
    upgraded.execute(text("ALTER TABLE doomed DROP COLUMN reason"))
    assert differences(upgraded, metadata) != []


def test_checks_and_table_options_are_those_of_the_models(path: Path, tmp_path: Path) -> None:
    """Alembic compares neither CHECK nor WITHOUT ROWID nor AUTOINCREMENT."""
    schema.upgrade(path)
    engine = create_engine(f"sqlite:///{tmp_path / 'models.db'}", poolclass=NullPool)
    with engine.begin() as connection:
        metadata.create_all(connection)
    found, expected = (
        {name: sorted(parts(sql)) for name, sql in statements(file).items()} for file in (path, tmp_path / "models.db")
    )
    assert found == expected


def test_the_constant_is_the_newest_revision(path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema._scripts()))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]
    assert schema.current_revision(path) is None
    schema.upgrade(path)
    assert schema.current_revision(path) == schema.HEAD


def test_an_upgrade_of_what_is_current_changes_nothing(path: Path) -> None:
    schema.upgrade(path)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO repository (name, created_at) VALUES ('kept', 0)")
    connection.commit()
    before = statements(path)
    schema.upgrade(path)
    assert statements(path) == before
    assert connection.execute("SELECT name FROM repository").fetchall() == [("kept",)]
    assert connection.execute("SELECT count(*) FROM alembic_version").fetchall() == [(1,)]
    connection.close()


def test_a_newer_revision_is_refused_and_left_alone(path: Path) -> None:
    schema.upgrade(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    content = path.read_bytes()
    with pytest.raises(schema.SchemaUnknownError, match="9999"):
        schema.upgrade(path)
    assert schema.current_revision(path) == "9999"
    assert path.read_bytes() == content


def test_an_upgrade_that_fails_leaves_nothing_behind(path: Path) -> None:
    """A stranger's table is in the way of one of the last that are made."""
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE tag (x)")
    connection.close()
    with pytest.raises(Exception, match="tag"):
        schema.upgrade(path)
    assert statements(path) == {"tag": "CREATE TABLE tag (x)"}
    assert schema.current_revision(path) is None
