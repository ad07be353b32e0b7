"""The OCI's own conformance suite against a live registry, in both of its profiles: open, and with a password."""

import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.assembly import Registry
from tests.support.access import CHALLENGES, PASSWORD, add_user, operate, required_server
from tests.support.server import LiveServer
from tests.support.tools import ROOT, Program, require

REPORTS = ROOT / "build" / "conformance"
FILES = ("report.html", "results.yaml", "junit.xml")
LINE = 300
USER = "conformance"
RESULT = re.compile(r"^  (?P<name>\S.*): (?P<status>\w+)$", re.MULTILINE)

# what the suite itself leaves off: sparse manifests always, and in 1.1 what only the coming version asks for
DISABLED = {
    "1.1": {
        "Sparse Manifests",
        "Blob upload cancel",
        "Manifest put with tag params",
        "Tag Param",
        "Tag Param sha512",
    },
    "dev": {"Sparse Manifests"},
}


@dataclass(frozen=True)
class Outcome:
    """What one run of the suite says in its two result files."""

    statuses: dict[str, str]
    checks: dict[str, int]
    unsuccessful: list[str]

    def named(self, status: str) -> set[str]:
        return {name for name, found in self.statuses.items() if found == status}


@pytest.fixture(scope="module", params=CHALLENGES)
def required(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A registry where the suite's user has all rights on the suite's repositories, and nobody any other."""

    async def add(registry: Registry) -> None:
        await add_user(registry, USER, **{"conformance/**": "pull,push,overwrite,delete"})

    with required_server(tmp_path_factory.mktemp("server"), request.param) as server:
        operate(server, add)
        yield server


def run_suite(server: LiveServer, profile: str, results: Path, user: str) -> str:
    """Run the suite into a folder, as a user or ""; what it printed."""
    settings = {
        "OCI_VERSION": profile,
        "OCI_REGISTRY": server.host,
        "OCI_TLS": "disabled",
        "OCI_REPO1": f"conformance/{profile}/one",
        "OCI_REPO2": f"conformance/{profile}/two",
        "OCI_RESULTS_DIR": str(results),
        "OCI_USERNAME": user,
        "OCI_PASSWORD": PASSWORD,
    }
    suite = Program(require("conformance")["conformance"], env=settings, cwd=results)
    done = suite.run()
    return (done.stdout + done.stderr).decode(errors="replace")


def read_statuses(path: Path) -> dict[str, str]:
    """The APIs and kinds of data with their status, from the part of results.yaml after the configuration."""
    _, _, statuses = path.read_text().partition("\napis:\n")
    return {found["name"]: found["status"] for found in RESULT.finditer(statuses)}


def describe(case: ET.Element) -> str:
    """One line on a check that did not pass; the whole exchange is in report.html."""
    said = case.findtext("system-out", "").strip().replace("\n", "; ")
    return f"{case.get('status')}: {case.get('name')}: {said[:LINE]}"


def read_outcome(results: Path) -> Outcome:
    suite = ET.parse(results / "junit.xml").getroot().find("testsuite")
    assert suite is not None, "junit.xml has no test suite"
    names = ("tests", "failures", "errors", "skipped", "disabled")
    checks = {name: int(suite.get(name, "0")) for name in names}
    unsuccessful = [describe(case) for case in suite.iter("testcase") if case.get("status") != "passed"]
    return Outcome(read_statuses(results / "results.yaml"), checks, unsuccessful)


def keep(results: Path, kept: Path) -> None:
    """The report a reader may open later: the docs name this place."""
    kept.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(results / name, kept / name)


def check(server: LiveServer, profile: str, results: Path, kept: Path, user: str = "") -> None:
    """Run the suite: nothing may fail or be skipped but what the profile leaves off."""
    printed = run_suite(server, profile, results, user)
    assert (results / "junit.xml").is_file(), printed
    keep(results, kept)
    outcome = read_outcome(results)
    bad = sum(outcome.checks[name] for name in ("failures", "errors", "skipped"))
    assert bad == 0, "\n".join([f"{outcome.checks}, report in {kept}", *outcome.unsuccessful])
    assert outcome.checks["tests"] > outcome.checks["disabled"]
    assert outcome.named("Disabled") == DISABLED[profile]
    assert set(outcome.statuses.values()) <= {"Pass", "Disabled"}
    assert outcome.named("Pass")
    assert server.tracebacks() == []


@pytest.mark.parametrize("profile", DISABLED)
def test_every_check_of_the_profile_passes(live_server: LiveServer, tmp_path: Path, profile: str) -> None:
    check(live_server, profile, tmp_path, REPORTS / profile)


@pytest.mark.parametrize("profile", DISABLED)
def test_every_check_passes_with_a_password(
    required: LiveServer, tmp_path: Path, profile: str, request: pytest.FixtureRequest
) -> None:
    check(required, profile, tmp_path, REPORTS / request.node.callspec.id, USER)
