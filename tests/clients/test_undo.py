"""docs/undo.md as it is written: each command is run, and must say what stands under it."""

from pathlib import Path

from tests.support.console import agree, run, steps
from tests.support.server import LiveServer
from tests.support.tools import ROOT, Program, command_path

DOCUMENT = ROOT / "docs/undo.md"
COMMANDS = 18


def test_the_story(docker: Program, live_server: LiveServer, tmp_path: Path) -> None:
    story = steps(DOCUMENT.read_text().replace("registry.example.com", live_server.host))
    assert len(story) == COMMANDS
    variables = {**live_server.environment(), **docker._env, "PATH": command_path("docker")}
    variables["BLOBS"] = variables["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"]
    for step in story:
        said = run(step.command, tmp_path, variables)
        assert agree(step.said, said), f"{DOCUMENT.name}:{step.line}: {step.command}\n\n{said}\n\nnot\n\n{step.said}"
