"""`digestry audit`: as an operator sees it."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import cyclopts
import pytest

from registry.access.audit import Audit
from registry.cli import audit
from registry.clock import wall_clock
from registry.domain.times import parse_rfc3339
from tests.support.registry import opened

app = cyclopts.App(result_action="return_value")
app.command(audit.list_events, name="list")
app.command(audit.verify)
app.command(audit.export)

DIGEST = f"sha256:{'ab' * 32}"
HOUR = 3_600_000
ROWS: list[Mapping[str, object]] = [
    {"identity": "operator", "action": "user.create", "details": '{"user": "alice"}'},
    {"identity": "user:alice", "action": "tag.move", "repository": "team/app", "tag": "v1", "old_digest": DIGEST},
    {"identity": "user:\x1b[2Jü", "action": "access.denied", "repository": "other", "address": "192.0.2.1"},
]


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """Those of a registry with three events: two under a seal, one new."""
    asyncio.run(_fill(tmp_path))
    database, blobs = (
        f"database.url=sqlite:///{tmp_path}/registry.db",
        f"storage.filesystem.rootdirectory={tmp_path}/blobs",
    )
    return ["--set", database, "--set", blobs]


async def _fill(folder: Path) -> None:
    async with opened(folder) as registry:
        insert(folder, ROWS[:2], wall_clock() - 3 * HOUR)
        await Audit(registry.database).seal()
        insert(folder, ROWS[2:], wall_clock() - HOUR)


def insert(folder: Path, rows: list[Mapping[str, object]], at: int) -> None:
    with closing(sqlite3.connect(folder / "registry.db")) as connection:
        for row in rows:
            columns = {"at": at, **row}
            marks = ", ".join("?" * len(columns))
            connection.execute(f"INSERT INTO event ({', '.join(columns)}) VALUES ({marks})", [*columns.values()])
        connection.commit()


def run(*arguments: str) -> int:
    code = app(arguments, exit_on_error=False, print_error=False)
    assert isinstance(code, int)
    return code


def test_a_list_is_a_table(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", *flags) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "time", "who", "from", "did", "to", "details"]
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert {
        line.index(word) for line, word in zip(lines, ("access.denied", "tag.move", "user.create"), strict=True)
    } == {head.index("did")}
    assert "user:\\u001b[2J\\u00fc" in lines[0] and "192.0.2.1" in lines[0]
    assert lines[1].endswith("team/app:v1  sha256:abababababab →")
    assert lines[2].endswith('{"user": "alice"}')


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ([], [3, 2, 1]),
        (["--identity", "user:alice"], [2]),
        (["--repository", "team/app"], [2]),
        (["--action", "user.*"], [1]),
        (["--since", "2h"], [3]),
        (["--until", "2h"], [2, 1]),
        (["--since", "2000-01-01T00:00:00+01:00"], [3, 2, 1]),
        (["--until", "2000-01-01T00:00:00Z"], []),
        (["--limit", "2"], [3, 2]),
    ],
)
def test_a_list_can_be_narrowed(
    flags: list[str], capsys: pytest.CaptureFixture[str], filters: list[str], ids: list[int]
) -> None:
    assert run("list", "--json", *filters, *flags) == 0
    events = json.loads(capsys.readouterr().out)
    assert [event["id"] for event in events] == ids
    assert all(abs(wall_clock() - parse_rfc3339(event["at"])) < 4 * HOUR for event in events)


def test_a_list_that_is_cut_says_so(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run("list", "--limit", "2", *flags)
    assert "there are more" in capsys.readouterr().err
    run("list", "--limit", "3", *flags)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--since", "yesterday"],
        ["list", "--since", "2026-08-01T12:00:00"],
        ["list", "--until", "2026-08-01"],
        ["list", "--limit", "0"],
        ["list", "--limit", "1001"],
        ["verify", "--anchor", "12"],
        ["verify", "--anchor", f"x:{'0' * 64}"],
        ["verify", "--anchor", f"1:{'0' * 63}"],
    ],
)
def test_wrong_use_is_refused(arguments: list[str]) -> None:
    with pytest.raises(cyclopts.CycloptsError):
        run(*arguments)


def test_a_sound_chain_ends_with_an_anchor_to_keep(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", *flags) == 0
    note, checked, kept = capsys.readouterr().out.splitlines()
    assert note.startswith("note: 1 events are not sealed yet, the oldest for 36")
    assert checked == "checked 2 events under 1 seals: no problems"
    anchor = kept.split()[-1]
    assert run("verify", "--anchor", anchor.upper(), *flags) == 0
    assert run("verify", "--anchor", f"1{anchor}", *flags) == 1
    assert f"PROBLEM: no seal is 1{anchor}" in capsys.readouterr().out


def test_a_broken_chain_is_told(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(tmp_path / "registry.db")) as connection:
        connection.execute("UPDATE event SET identity = 'user:bob' WHERE id = 2")
        connection.commit()
    assert run("verify", *flags) == 1
    text = capsys.readouterr().out
    assert "PROBLEM: seal 1 does not fit" in text
    assert "1 problems" in text and "keep this" not in text
    assert run("verify", "--json", *flags) == 1
    told = json.loads(capsys.readouterr().out)
    assert (len(told["problems"]), told["seals"], told["events"], told["unsealed"]) == (1, 1, 2, 1)


def test_an_export_goes_to_stdout_or_a_file(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", *flags) == 0
    text = capsys.readouterr().out
    entries: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert ["seal" in entry or entry["id"] for entry in entries] == [1, 2, True, 3]
    assert run("export", "--output", f"{tmp_path}/events", *flags) == 0
    assert (tmp_path / "events").read_text() == text
    assert run("export", "--since", "2h", *flags) == 0
    assert json.loads(capsys.readouterr().out)["id"] == 3


def test_an_export_that_cannot_be_written_is_told(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "--output", "/absent/events", *flags) == 1
    assert capsys.readouterr().err == "digestry: [Errno 2] No such file or directory: '/absent/events'\n"


@pytest.mark.parametrize("command", ["list_events", "export"])
@pytest.mark.parametrize("times", [0, 1000])
def test_a_reader_may_have_seen_enough(flags: list[str], tmp_path: Path, command: str, times: int) -> None:
    insert(tmp_path, ROWS * times, wall_clock())
    code = f"import sys; from registry.cli import audit; sys.exit(audit.{command}(flags=sys.argv[1:]))"
    arguments = [sys.executable, "-c", code, *(flag for flag in flags if flag != "--set")]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(arguments, env=buffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert b"Error" not in process.stderr.read()
    assert process.returncode == 1
