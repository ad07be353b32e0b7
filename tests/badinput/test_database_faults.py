"""Row S-13: a database that is locked, or that can't tidy up."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from registry import background
from registry.domain.names import RepositoryName
from tests.support.registry import opened, push
from tests.support.server import LiveServer
from tests.support.wire import assert_serving, prepare, request


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path, {"REGISTRY_HTTP_WORKERS": "2"}).start()
    prepare(server)
    yield server
    assert server.stop() == 0
    assert server.tracebacks() == []


def test_s13_pushes_to_a_locked_database_are_asked_to_come_back(server: LiveServer) -> None:
    with closing(sqlite3.connect(server.data / "registry.db", isolation_level=None)) as locker:
        locker.execute("BEGIN IMMEDIATE")
        refused = request(server, "POST", "/v2/team/app/blobs/uploads/")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "60")
        assert refused.code == "UNKNOWN"
        assert_serving(server)
        locker.execute("ROLLBACK")
    assert request(server, "POST", "/v2/team/app/blobs/uploads/").status == 202


async def test_s13_a_log_that_grows_behind_a_reader_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LARGE_LOG", 8 * 1024 * 1024)
    caplog.set_level(logging.WARNING)
    path = tmp_path / "registry.db"

    async def grow() -> None:
        async with opened(tmp_path) as registry:
            for number in range(200):
                await push(registry, str(number).encode(), RepositoryName(f"team/{number}"))
                await registry.database.write(lambda connection: connection.exec_driver_sql(FILL).rowcount)
            background.check_log(path)

    async with opened(tmp_path):
        await grow()
    assert not caplog.records, "without a reader it is reused"
    async with opened(tmp_path):
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM blob").fetchall()
            await grow()
    assert "registry.db-wal has grown to" in caplog.text


# Sixty KiB of a column that nobody reads here
FILL = "UPDATE upload SET candidate = hex(randomblob(30000)) WHERE id = (SELECT min(id) FROM upload)"
