"""Every command is listed, explains itself, and is imported only when it is called."""

import subprocess
import sys

import cyclopts
import pytest

from registry.cli.main import app

HEAVY = ("sqlalchemy", "aiohttp", "alembic", "bcrypt", "joserfc", "registry.assembly")
# They have nothing to print but lines
WITHOUT_JSON = {("serve",), ("audit", "export")}
ABOUT_ACCESS = {"user", "group", "robot", "grant", "access", "ci", "audit"}


def commands(parent: cyclopts.App, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of each, groups of commands too."""
    found = []
    for name in parent:
        if not name.startswith("-"):
            found += [(*path, name), *commands(parent[name], (*path, name))]
    return found


COMMANDS = commands(app)
GROUPS = {path[:1] for path in COMMANDS if len(path) == 2}


def helped(capsys: pytest.CaptureFixture[str], *path: str) -> str:
    app([*path, "--help"], exit_on_error=False)
    return " ".join(capsys.readouterr().out.split())


def test_the_first_page_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(capsys)
    assert [path for path in COMMANDS if len(path) == 1 and f"│ {path[0]} " not in text] == []
    assert {(name,) for name in ABOUT_ACCESS} <= GROUPS


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_explains_itself(capsys: pytest.CaptureFixture[str], path: tuple[str, ...]) -> None:
    text = helped(capsys, *path)
    assert "." in text.partition("╭")[0], "there is no sentence below the usage"
    if path in GROUPS:
        return
    assert "--config" in text and "--set" in text
    assert ("--json" in text) == (path not in WITHOUT_JSON)
    if "[required]" in text:
        assert text.count(f"digestry {' '.join(path)} ") > 1, "there is no example beside the usage"


@pytest.mark.parametrize("arguments", [["--help"], ["user", "--help"]])
def test_help_imports_no_command(arguments: list[str]) -> None:
    code = (
        "import sys; from registry.cli.main import app; app(sys.argv[1:]); "
        f"print('loaded', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded []\n")
