"""`digestry user`: who may come in with a password, and how it is told."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import bcrypt
import cyclopts
import pytest

from tests.support.access import basic, required_server, settle
from tests.support.commands import Commands, at_terminal, login
from tests.support.wire import request

PASSWORD = "correct horse"
OTHER = "battery staple"


def comes_in(digestry: Commands, name: str, password: str) -> bool:
    return asyncio.run(login(digestry.folder, name, password)) is not None


@pytest.mark.parametrize("line", [PASSWORD, f"{PASSWORD}\n", f"{PASSWORD}\r\n", f"{PASSWORD}\n{OTHER}\n"])
def test_a_password_is_one_line_of_stdin(digestry: Commands, line: str) -> None:
    said = digestry.done("user", "add", "alice", stdin=line)
    assert "digestry grant add user:alice 'team/**' pull,push" in said.out
    assert comes_in(digestry, "alice", PASSWORD)
    assert not comes_in(digestry, "alice", OTHER)


def test_a_password_may_be_in_a_file(digestry: Commands, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    digestry.done("user", "add", "alice", "--password-file", str(file), stdin=OTHER)
    assert comes_in(digestry, "alice", PASSWORD)
    file.write_text(f"{PASSWORD}\n{OTHER}\n")
    assert "control characters" in digestry.refused("user", "add", "bob", "--password-file", str(file))


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["alice"], "", "--password-file, or send it as one line to stdin"),
        (["alice"], "\n", "no password came"),
        (["alice"], b"\xff\xfe1234567\n", "UTF-8"),
        (["alice"], "short\n", "at least 8"),
        (["alice"], "é" * 37, "at most 72 bytes"),
        (["alice", "--password-file", "/no/canary"], "", "the password file can't be read: No such file"),
        (["al ice"], PASSWORD, "letters and digits"),
        (["a/b"], PASSWORD, "letters and digits"),
    ],
)
def test_what_is_no_user_is_refused(digestry: Commands, arguments: list[str], stdin: str | bytes, words: str) -> None:
    told = digestry.refused("user", "add", *arguments, stdin=stdin)
    assert words in told
    assert "canary" not in told
    assert digestry.done("user", "list", "--json").json == []


@pytest.mark.parametrize("arguments", [["alice", PASSWORD], ["alice", "--password", PASSWORD], []])
def test_a_password_is_no_argument(digestry: Commands, arguments: list[str]) -> None:
    with pytest.raises(cyclopts.CycloptsError):
        digestry("user", "add", *arguments)


def test_a_name_is_one_users(digestry: Commands) -> None:
    digestry.done("user", "add", "alice", stdin=PASSWORD)
    told = "there is a user alice already; take another name, or `digestry user password alice`"
    assert digestry.refused("user", "add", "alice", stdin=OTHER) == told
    assert comes_in(digestry, "alice", PASSWORD)


def test_an_administrator_in_one_command(digestry: Commands) -> None:
    said = digestry.done("user", "add", "root", "--admin", "--json", stdin=PASSWORD)
    assert said.json == {"name": "root", "admin": True}
    (grant,) = digestry.done("grant", "list", "--json").json
    assert (grant["subject"], grant["pattern"], grant["verbs"]) == ("user:root", "**", ["admin"])


def test_another_password(digestry: Commands) -> None:
    digestry.done("user", "add", "alice", stdin=PASSWORD)
    digestry.done("user", "password", "alice", stdin=OTHER)
    assert comes_in(digestry, "alice", OTHER)
    assert not comes_in(digestry, "alice", PASSWORD)
    assert digestry.refused("user", "password", "bob") == "there is no user bob; `digestry user list` shows them"


def test_out_and_in_again(digestry: Commands) -> None:
    digestry.done("user", "add", "alice", stdin=PASSWORD)
    assert digestry.done("user", "disable", "alice", "--json").json == {"name": "alice", "disabled": True}
    assert not comes_in(digestry, "alice", PASSWORD)
    assert digestry.done("user", "list").out.splitlines()[1].split()[:2] == ["alice", "disabled"]
    digestry.done("user", "enable", "alice")
    assert comes_in(digestry, "alice", PASSWORD)
    digestry.done("user", "remove", "alice")
    assert not comes_in(digestry, "alice", PASSWORD)


@pytest.mark.parametrize("command", ["disable", "enable", "remove"])
def test_nobody_of_that_name(digestry: Commands, command: str) -> None:
    assert digestry.refused("user", command, "alice") == "there is no user alice; `digestry user list` shows them"


@pytest.mark.parametrize("command", ["disable", "remove"])
def test_the_last_administrator_stays(digestry: Commands, command: str) -> None:
    """A-20"""
    digestry.done("user", "add", "root", "--admin", stdin=PASSWORD)
    assert "give that to another user first" in digestry.refused("user", command, "root")
    assert comes_in(digestry, "root", PASSWORD)


def test_a_list_has_the_files_users_too(digestry: Commands, tmp_path: Path) -> None:
    file = htpasswd(tmp_path, alice=OTHER, zoe=OTHER)
    digestry.done("user", "add", "alice", stdin=PASSWORD)
    digestry.done("group", "add", "team")
    digestry.done("group", "join", "team", "alice")
    listed = ["user", "list", "--set", f"auth.htpasswd.path={file}"]
    alice, zoe = digestry.done(*listed, "--json").json
    assert (alice["name"], alice["source"], alice["groups"]) == ("alice", "database", ["team"])
    assert zoe == {"name": "zoe", "disabled": False, "created_at": None, "groups": [], "source": "htpasswd"}
    head, first, second = digestry.done(*listed).out.splitlines()
    assert head.split() == ["name", "state", "groups", "made"]
    assert first.split() == ["alice", "team", alice["created_at"]]
    assert second.split(maxsplit=1) == ["zoe", "in the htpasswd file"]


def htpasswd(folder: Path, **passwords: str) -> Path:
    file = folder / "htpasswd"
    lines = [f"{name}:{bcrypt.hashpw(text.encode(), bcrypt.gensalt(4)).decode()}" for name, text in passwords.items()]
    file.write_text("\n".join([*lines, "carol:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs="]))
    return file


def test_an_import_leaves_who_is_there(digestry: Commands, tmp_path: Path) -> None:
    file = str(htpasswd(tmp_path, alice=OTHER, bob=OTHER))
    digestry.done("user", "add", "alice", stdin=PASSWORD)
    said = digestry.done("user", "import", file)
    assert said.out.splitlines()[:2] == ["imported: bob", "there already, left as they are: alice"]
    assert comes_in(digestry, "alice", PASSWORD) and comes_in(digestry, "bob", OTHER)
    again = digestry.done("user", "import", file, "--json")
    assert again.json == {"imported": [], "kept": ["alice", "bob"]}
    assert digestry.done("user", "import", file).out.startswith("imported: nobody\n")


def test_an_import_tells_which_lines_it_ignored(digestry: Commands, tmp_path: Path) -> None:
    file = htpasswd(tmp_path, bob=OTHER)
    command = [sys.executable, "-m", "registry", "user", "import", str(file), *digestry.flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("imported: bob\n")
    assert "ignored line 2" in done.stderr
    assert "{SHA}" not in done.stdout + done.stderr


def test_an_import_of_no_file(digestry: Commands) -> None:
    assert "the htpasswd file /no/file can't be read" in digestry.refused("user", "import", "/no/file")


def test_a_serving_registry_sees_it_within_a_second(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(OTHER)
    with required_server(tmp_path, "basic") as server:
        added = server.digestry("user", "add", "alice", "--password-file", "password")
        assert (added.returncode, added.stderr) == (0, "")
        settle()
        assert request(server, "GET", "/v2/", headers=basic("alice", OTHER)).status == 200
        assert server.digestry("user", "disable", "alice").returncode == 0
        settle()
        assert request(server, "GET", "/v2/", headers=basic("alice", OTHER)).status == 401


# --- at a terminal ---------------------------------------------------------------------------------------------------


def test_a_terminal_is_asked_twice_without_echo(digestry: Commands) -> None:
    with at_terminal(["user", "add", "alice", *digestry.flags]) as terminal:
        terminal.wait_for("Password: ")
        terminal.type(f"{PASSWORD}\n")
        terminal.wait_for("Once more: ")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.end() == 0
        assert PASSWORD not in terminal.screen
        assert "made the user alice" in terminal.screen
    assert comes_in(digestry, "alice", PASSWORD)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([f"{PASSWORD}\n", f"{OTHER}\n"], "these were two passwords; nothing was changed"),
        (["\n"], "no password came"),
        (["\x04"], "no password came"),
    ],
)
def test_a_slip_at_a_terminal_changes_nothing(digestry: Commands, answers: list[str], words: str) -> None:
    with at_terminal(["user", "add", "alice", *digestry.flags]) as terminal:
        for question, answer in zip(["Password: ", "Once more: "], answers, strict=False):
            terminal.wait_for(question)
            terminal.type(answer)
        assert terminal.end() == 1
        assert words in terminal.screen
    assert digestry.done("user", "list", "--json").json == []


def test_control_c_ends_the_question(digestry: Commands) -> None:
    with at_terminal(["user", "add", "alice", *digestry.flags]) as terminal:
        terminal.wait_for("Password: ")
        terminal.type("\x03")
        assert terminal.end() == 128 + signal.SIGINT
        assert "Traceback" not in terminal.screen


def test_an_unknown_user_is_told_before_the_question(digestry: Commands) -> None:
    with at_terminal(["user", "password", "alice", *digestry.flags]) as terminal:
        assert terminal.end() == 1
        assert "there is no user alice" in terminal.screen
        assert "Password" not in terminal.screen
