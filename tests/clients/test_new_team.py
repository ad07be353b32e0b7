"""docs/new-team.md, done as it is written: each command, and what it says."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.access import operate, required_server
from tests.support.console import Step, agree, run, steps
from tests.support.issuer import Issuer, gitlab_claims, running_issuer
from tests.support.server import LiveServer
from tests.support.tools import Program, require

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/new-team.md"


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with required_server(tmp_path_factory.mktemp("server"), "bearer") as server:
        yield server


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as found:
        yield found


def test_x(docker: Program, live_server: LiveServer, issuer: Issuer, tmp_path: Path) -> None:
    text = DOCUMENT.read_text().replace("https://gitlab.example.com", issuer.url)
    text = text.replace("https://registry.example.com", live_server.url).replace("registry.example.com", live_server.host)
    clients = Path(require("docker")["docker"]).parent
    environment = live_server.environment()
    variables = {
        **environment, **docker._env,
        "PATH": f"{Path(sys.executable).parent}:{clients}:{environment['PATH']}",
        "ALICE_PASSWORD": "a1b2c3d4e5", "BOB_PASSWORD": "b1c2d3e4f5", "EVE_PASSWORD": "e1f2g3h4i5",
        "CI_TOKEN": issuer.mint(**gitlab_claims(aud=live_server.url)),
        "MERGE_REQUEST_TOKEN": issuer.mint(**gitlab_claims(aud=live_server.url, pipeline_source="merge_request_event", ref="feature")),
    }
    for step in steps(text):
        if "audit verify" in step.command:
            operate(live_server, lambda registry: registry.access.audit.seal())
        home = tmp_path / step.who
        said = run(step.command, tmp_path, {**variables, "DOCKER_CONFIG": str(home)})
        print(f"{step.who}$ {step.command}", *said, sep="\n")
