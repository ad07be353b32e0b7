"""How commands open a registry, and how they end."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from registry.assembly import Registry
from registry.cli.opening import run_on
from registry.domain.errors import Unavailable
from registry.domain.problems import Missing
from registry.metadata.schema import upgrade


@pytest.fixture
def flags(tmp_path: Path) -> tuple[str, ...]:
    upgrade(tmp_path / "registry.db")
    return (
        f"database.url=sqlite:///{tmp_path}/registry.db",
        f"storage.filesystem.rootdirectory={tmp_path}/blobs",
    )


def refused(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said, once as text and once as JSON."""

    async def never(registry: Registry) -> None:
        raise AssertionError

    assert run_on(None, flags, never) == run_on(None, flags, never, as_json=True) == 1
    told = capsys.readouterr()
    error: str = json.loads(told.out)["error"]
    assert told.err == f"digestry: {error}\n"
    return error


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_code_is_what_the_action_returns(flags: tuple[str, ...], returned: int | None, code: int) -> None:
    async def action(registry: Registry) -> int | None:
        return returned

    assert run_on(None, flags, action) == code


def test_the_registry_is_open_while_the_action_runs(flags: tuple[str, ...]) -> None:
    async def action(registry: Registry) -> int:
        return await registry.database.write(lambda connection: 7)

    assert run_on(None, flags, action) == 7


@pytest.mark.parametrize("error", [Missing("there is no user bob"), Unavailable("there is no user bob")])
def test_problems_are_told(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    async def action(registry: Registry) -> None:
        raise error

    assert run_on(None, flags, action) == 1
    assert capsys.readouterr() == ("", "digestry: there is no user bob\n")
    assert run_on(None, flags, action, as_json=True) == 1
    assert capsys.readouterr() == ('{"error": "there is no user bob"}\n', "")


def test_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (f"database.url=sqlite:///{tmp_path}/absent.db",)
    assert refused(flags, capsys).startswith(f"there is no database at {tmp_path}/absent.db; run this where")
    assert not (tmp_path / "absent.db").exists()


def test_another_schema(flags: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(tmp_path / "registry.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.commit()
    assert "has schema 0001, not" in refused(flags, capsys)


def test_no_database_of_ours(flags: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "registry.db").write_bytes(b"something else" * 100)
    assert refused(flags, capsys) == "file is not a database"


def test_data_of_another_user(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert "registry.db belongs to" in refused(flags, capsys)
