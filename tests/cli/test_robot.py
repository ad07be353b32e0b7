"""`digestry robot`: secrets are shown once, and end when they are told to."""

import asyncio
from pathlib import Path

import cyclopts
import pytest

from registry.cli.acting import client_address
from registry.config import HttpSettings, Settings
from tests.support.commands import Commands, login
from tests.support.registry import execute, opened

DAY = 86_400_000


def comes_in(digestry: Commands, secret: str, name: str = "build") -> bool:
    return asyncio.run(login(digestry.folder, f"robot${name}", secret)) is not None


def change(digestry: Commands, statement: str) -> None:
    async def run() -> None:
        async with opened(digestry.folder) as registry:
            await execute(registry, statement)

    asyncio.run(run())


def test_the_secret_alone_is_on_stdout(digestry: Commands) -> None:
    said = digestry.done("robot", "add", "build")
    secret = said.out.strip()
    assert said.out == f"{secret}\n" and secret.startswith("rbt_")
    assert secret not in said.err
    assert "shown only now, good for 90d" in said.err
    assert "docker login -u 'robot$build' --password-stdin 127.0.0.1:5000\n" in said.err
    assert "digestry grant add robot:build 'team/**' pull,push" in said.err
    assert comes_in(digestry, secret)


def test_the_secret_is_stored_nowhere(digestry: Commands) -> None:
    """A-23"""
    secret = digestry.done("robot", "add", "build").out.strip()
    stored = b"".join(path.read_bytes() for path in digestry.folder.rglob("*") if path.is_file())
    assert secret.split("_")[1].encode() in stored
    assert secret.split("_")[2].encode() not in stored


def test_programs_get_all_at_once(digestry: Commands) -> None:
    said = digestry.done("robot", "add", "build", "--about", "nightly", "--json")
    assert said.err == ""
    assert (said.json["name"], said.json["user"]) == ("build", "robot$build")
    assert said.json["secret"].split("_")[1] == said.json["id"]
    assert comes_in(digestry, said.json["secret"])


def test_after_a_rotation_both_are_good_for_a_while(digestry: Commands) -> None:
    old = digestry.done("robot", "add", "build").out.strip()
    said = digestry.done("robot", "rotate", "build", "--overlap", "1h", "--expires", "30d")
    new = said.out.strip()
    assert "the secrets before it end within 1h" in said.err
    assert comes_in(digestry, old) and comes_in(digestry, new)
    first, second = digestry.done("robot", "show", "build", "--json").json["secrets"]
    assert (first["id"], second["id"]) == (old.split("_")[1], new.split("_")[1])
    assert first["expires_at"] < second["expires_at"]
    change(digestry, f"UPDATE robot_secret SET expires_at = 1 WHERE id = '{first['id']}'")
    assert not comes_in(digestry, old) and comes_in(digestry, new)
    assert digestry.done("robot", "show", "build").out.count("expired") == 1


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_revoked_secret_is_good_no_more(digestry: Commands, is_whole: bool) -> None:
    """A-14"""
    secret = digestry.done("robot", "add", "build").out.strip()
    named = secret if is_whole else secret.split("_")[1]
    said = digestry.done("robot", "revoke", "build", named)
    assert secret not in said.out
    assert not comes_in(digestry, secret)
    told = digestry.refused("robot", "revoke", "build", named)
    shown = "`digestry robot show build` shows them"
    assert told == f"the robot build has no secret {secret.split('_')[1]}; {shown}"


def test_out_and_in_again(digestry: Commands) -> None:
    secret = digestry.done("robot", "add", "build").out.strip()
    digestry.done("robot", "disable", "build")
    assert not comes_in(digestry, secret)
    assert digestry.done("robot", "list").out.splitlines()[1].split()[:2] == ["build", "disabled"]
    digestry.done("robot", "enable", "build")
    assert comes_in(digestry, secret)
    digestry.done("robot", "remove", "build")
    assert not comes_in(digestry, secret)


def test_a_list_tells_the_last_use_and_the_next_end(digestry: Commands) -> None:
    digestry.done("robot", "add", "build", "--about", "nightly builds")
    digestry.done("robot", "rotate", "build")
    digestry.done("robot", "add", "idle")
    change(digestry, "UPDATE robot_secret SET expires_at = expires_at - 100 * 86400000 WHERE robot_id = 2")
    change(digestry, "UPDATE robot_secret SET last_used_at = created_at WHERE robot_id = 1")
    build, idle = digestry.done("robot", "list", "--json").json
    secrets = digestry.done("robot", "show", "build", "--json").json["secrets"]
    assert build["expires_at"] == min(secret["expires_at"] for secret in secrets)
    assert build["last_used_at"] == max(secret["created_at"] for secret in secrets)
    assert (idle["expires_at"], idle["last_used_at"]) == (None, None)
    head, first, second = digestry.done("robot", "list").out.splitlines()
    assert head.split("  ")[0] == "name" and "last used" in head and "expires" in head
    assert build["last_used_at"] in first and build["expires_at"] in first and first.endswith("nightly builds")
    assert "never" in second and "has no good secret" in second


def test_a_robot_whose_maker_is_out_is_told(digestry: Commands) -> None:
    digestry.done("user", "add", "alice", stdin="correct horse")
    digestry.done("robot", "add", "build")
    change(digestry, "UPDATE robot SET created_by = 'user:alice', creator_id = (SELECT id FROM user_account)")
    assert not digestry.done("robot", "list", "--json").json[0]["orphaned"]
    digestry.done("user", "disable", "alice")
    assert digestry.done("robot", "list", "--json").json[0]["orphaned"]
    assert "its maker is kept out" in digestry.done("robot", "show", "build").out


@pytest.mark.parametrize("arguments", [["rotate"], ["revoke", "canary"], ["disable"], ["enable"], ["remove"], ["show"]])
def test_no_robot_of_that_name(digestry: Commands, arguments: list[str]) -> None:
    command, *rest = arguments
    told = "there is no robot build; `digestry robot list` shows them"
    assert digestry.refused("robot", command, "build", *rest) == told


def test_what_is_no_robot_is_refused(digestry: Commands) -> None:
    assert "letters and digits" in digestry.refused("robot", "add", "robot$build")
    assert "at most ten years" in digestry.refused("robot", "add", "build", "--expires", "4000d")
    assert digestry.done("robot", "list", "--json").json == []


@pytest.mark.parametrize("flag", ["--expires", "--overlap"])
@pytest.mark.parametrize("value", ["soon", "0d", "-1d", "90", ""])
def test_a_time_has_a_unit(digestry: Commands, flag: str, value: str) -> None:
    with pytest.raises(cyclopts.CycloptsError):
        digestry("robot", "rotate", "build", flag, value)


@pytest.mark.parametrize(
    ("addr", "host", "address"),
    [
        ("127.0.0.1:5001", "", "127.0.0.1:5001"),
        ("[::1]:5000", "", "[::1]:5000"),
        (":5000", "", "REGISTRY"),
        ("0.0.0.0:5000", "", "REGISTRY"),
        ("unix:/run/registry", "", "REGISTRY"),
        (":5000", "https://registry.example.com", "registry.example.com"),
        ("127.0.0.1:5000", "http://localhost:8080", "localhost:8080"),
    ],
)
def test_where_clients_log_in(tmp_path: Path, addr: str, host: str, address: str) -> None:
    assert client_address(Settings(http=HttpSettings(addr=addr, host=host))) == address
