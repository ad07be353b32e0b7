"""The htpasswd file: what of it counts, and how it is followed."""

import logging
import os
import subprocess
from pathlib import Path

import bcrypt
import pytest

from registry.access.htpasswd import LOOK_SECONDS, Htpasswd
from registry.domain.problems import Invalid
from tests.support.tools import require

REST = "abcdefghijklmnopqrstu" + "." + "v" * 31
HASH = f"$2y$05${REST}"
OTHER = f"$2y$05${REST[:-1]}w"


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def tick(self) -> None:
        self.now += LOOK_SECONDS


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{HASH}\n")
    return path


def test_users_and_hashes(path: Path) -> None:
    path.write_text(f"# users\n\nbob:$2b$12${REST}\r\n  alice:{HASH}  \ncarol:$2a$10${REST}")
    file = Htpasswd(path)
    assert file.names() == ["alice", "bob", "carol"]
    assert file.hashes() == {"alice": HASH, "bob": f"$2b$12${REST}", "carol": f"$2a$10${REST}"}
    assert file.find("alice") == HASH
    assert file.find("nobody") is None
    assert file.costliest == f"$2b$12${REST}"


def test_the_last_line_of_a_name_counts_as_in_the_official_image(path: Path) -> None:
    path.write_text(f"alice:{HASH}\nalice:{OTHER}\n")
    assert Htpasswd(path).find("alice") == OTHER


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        "alice:",
        f":{HASH}",
        "alice:$apr1$abcdefgh$0123456789abcdefghijkl",
        "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "alice:plain",
        f"alice:$2x$05${REST}",
        f"alice:$2y$03${REST}",
        f"alice:$2y$32${REST}",
        f"alice:{HASH}w",
        f"alice:{HASH[:-1]}",
        f"alice:{HASH}:more",
        f"alice:$2y$05$abcdefghijklmnopqrstua{'v' * 31}",
        f"{'x' * 65}:{HASH}",
        f"user/alice:{HASH}",
        f"alice smith:{HASH}",
        f"ali\ufffdce:{HASH}",
    ],
)
def test_other_lines_are_ignored_with_one_warning(path: Path, line: str, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text(f"# comment\n{line}\nbob:{HASH}\n{line}\n")
    assert Htpasswd(path).names() == ["bob"]
    (record,) = caplog.records
    assert "line 2, 4:" in record.getMessage()
    assert "htpasswd -B" in record.getMessage()
    assert "$" not in record.getMessage(), "no hash and no password in the log"


def test_a_long_list_of_ignored_lines_is_cut(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("x\n" * 1000)
    assert Htpasswd(path).names() == []
    assert len(caplog.text) < 1000


def test_bytes_that_are_no_text_are_a_line_like_any_other(path: Path) -> None:
    path.write_bytes(b"\xff\xfe:\x00\n" + f"alice:{HASH}\n".encode())
    assert Htpasswd(path).names() == ["alice"]


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_cannot_be_read_at_the_start_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "nothing" if kind == "missing" else tmp_path
    with pytest.raises(Invalid, match="htpasswd -Bbn USER PASSWORD") as raised:
        Htpasswd(path)
    assert str(path) in raised.value.detail


def test_an_empty_file_is_nobody(path: Path) -> None:
    path.write_text("")
    file = Htpasswd(path)
    assert file.hashes() == {}
    assert file.costliest is None


@pytest.mark.parametrize("way", ["in place", "replaced", "emptied"])
def test_changes_count_within_a_second(path: Path, clock: Seconds, way: str) -> None:
    file = Htpasswd(path, clock)
    content = "" if way == "emptied" else f"bob:{HASH}\n# longer\n"
    if way == "replaced":
        (path.parent / "new").write_text(content)
        (path.parent / "new").replace(path)
    else:
        path.write_text(content)
    assert file.find("alice") == HASH, "not looked at more often"
    clock.tick()
    if way == "emptied":
        assert file.find("alice") == HASH, "somebody may be writing it"
        clock.tick()
    assert file.find("alice") is None
    assert file.find("bob") == (None if way == "emptied" else HASH)


def test_a_replacement_of_the_same_size_and_time_is_noticed(path: Path, clock: Seconds) -> None:
    file = Htpasswd(path, clock)
    state = path.stat()
    new = path.parent / "new"
    new.write_text(f"alice:{OTHER}\n")
    os.utime(new, ns=(state.st_atime_ns, state.st_mtime_ns))
    new.replace(path)
    clock.tick()
    assert file.find("alice") == OTHER


def test_a_file_that_did_not_change_is_not_read(path: Path, clock: Seconds, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Htpasswd(path, clock)
    monkeypatch.setattr(Path, "open", None)
    clock.tick()
    assert file.find("alice") == HASH


def test_a_file_that_is_gone_counts_as_it_was_until_it_is_back(
    path: Path, clock: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    file = Htpasswd(path, clock)
    path.unlink()
    for _ in range(3):
        clock.tick()
        assert file.find("alice") == HASH
    assert [record.levelno for record in caplog.records] == [logging.WARNING], "told once"
    path.write_text(f"bob:{HASH}\n")
    clock.tick()
    assert file.names() == ["bob"]
    path.unlink()
    clock.tick()
    assert file.names() == ["bob"]
    assert len(caplog.records) == 2, "told again"


def test_what_htpasswd_writes(path: Path) -> None:
    program = require("htpasswd")["htpasswd"]
    run = subprocess.run([program, "-Bbn", "dave", "a password"], capture_output=True, check=True, text=True)
    path.write_text(run.stdout)
    stored = Htpasswd(path).find("dave")
    assert stored is not None
    assert bcrypt.checkpw(b"a password", stored.encode())


def test_what_the_library_writes(path: Path) -> None:
    made = [bcrypt.gensalt(4, prefix).decode() + "v" * 31 for prefix in (b"2a", b"2b") * 50]
    path.write_text("".join(f"user{number}:{hashed}\n" for number, hashed in enumerate(made)))
    assert len(Htpasswd(path).names()) == len(made)
