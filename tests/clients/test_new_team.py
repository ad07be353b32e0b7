"""docs/new-team.md as it is written: each command is run, and must say what stands under it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.access import PASSWORD, operate, required_server
from tests.support.console import agree, run, steps
from tests.support.issuer import Issuer, gitlab_claims, running_issuer
from tests.support.server import LiveServer
from tests.support.tools import ROOT, Program, command_path

DOCUMENT = ROOT / "docs/new-team.md"
COMMANDS = 35


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with required_server(tmp_path_factory.mktemp("server"), "bearer") as server:
        yield server


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as found:
        yield found


def test_the_story_of_a_new_team(docker: Program, live_server: LiveServer, issuer: Issuer, tmp_path: Path) -> None:
    story = steps(_here(DOCUMENT.read_text(), live_server, issuer))
    assert len(story) == COMMANDS
    folder, homes, secrets = tmp_path / "folder", tmp_path / "homes", _secrets(live_server, issuer)
    folder.mkdir()
    variables = {**live_server.environment(), **docker._env, "PATH": command_path("docker"), **secrets}
    transcript = ""
    for step in story:
        if step.command == "digestry audit verify":
            operate(live_server, lambda registry: registry.access.audit.seal())
        said = run(step.command, folder, {**variables, "DOCKER_CONFIG": str(homes / step.who)})
        assert agree(step.said, said), f"{DOCUMENT.name}:{step.line}: {step.command}\n\n{said}\n\nnot\n\n{step.said}"
        transcript += said
    never_shown = [*secrets.values(), (folder / "nightly.secret").read_text().strip()]
    assert [secret for secret in never_shown if secret in transcript] == []


def _here(document: str, server: LiveServer, issuer: Issuer) -> str:
    """With addresses on this machine."""
    return (
        document.replace("https://git.example.com", issuer.url)
        .replace("https://registry.example.com", server.url)
        .replace("registry.example.com", server.host)
    )


def _secrets(server: LiveServer, issuer: Issuer) -> dict[str, str]:
    """What the document takes from the environment."""
    return {
        **{f"{name}_PASSWORD": f"{PASSWORD} of {name}" for name in ("ALICE", "BOB", "EVE")},
        "CI_TOKEN": issuer.mint(**gitlab_claims(aud=server.url)),
        "MERGE_REQUEST_TOKEN": issuer.mint(**gitlab_claims(aud=server.url, pipeline_source="merge_request_event")),
    }


@pytest.mark.parametrize(
    ("expected", "said", "agrees"),
    [
        ("one", "one\n", True),
        ("one", "two", False),
        ("one", "one\ntwo", False),
        ("one\ntwo", "two", False),
        ("", "one", False),
        ("one…three", "one two three", True),
        ("one…three", "one\nthree", False),
        ("one\n…\nthree", "one\nthree", True),
        ("one\n…\nthree", "one\ntwo\n\ntwo\nthree", True),
        ("one\n…\nthree", "one\ntwo", False),
        ("name    state", "name  state", True),
        ("name    state", "name state", False),
        ("a.c", "abc", False),
    ],
)
def test_a_difference_is_seen(expected: str, said: str, agrees: bool) -> None:
    assert agree(expected, said) is agrees


@pytest.mark.parametrize(
    "document",
    ["```console\nno prompt\n```", "```console\n$ nobody types\n```", "```\nnot run\n```", "```console\nadmin$ open"],
)
def test_a_block_that_would_not_run_is_seen(document: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        steps(document)


def test_what_is_read_is_what_a_terminal_shows(tmp_path: Path) -> None:
    command = r"printf '1 %%\r100 %%\nmoved \033[1mbold\033[0m\n'; printf '\n'; test -t 1 && echo at a terminal"
    assert run(command, tmp_path, {"PATH": "/usr/bin:/bin"}) == "100 %\nmoved bold\n\nat a terminal\n"
