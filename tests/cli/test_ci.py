"""`digestry ci`: rules, what their jobs run, and why a token is not accepted."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import cyclopts
import pytest

from registry.cli import ci
from registry.domain.ci import PROVIDERS
from tests.support.commands import Commands, Said, at_terminal
from tests.support.issuer import AUDIENCE, Issuer, github_claims, running_issuer

HOST = ["--set", "http.host=https://registry.example.com"]
GITHUB = ["--provider", "github", "--claim", "repository_id=1234"]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as found:
        yield found


def add(digestry: Commands, *flags: str, name: str = "deploy") -> Said:
    return digestry.done("ci", "add", name, *flags)


def test_every_provider_is_offered() -> None:
    assert get_args(get_args(ci.Provider)[0]) == tuple(PROVIDERS) == tuple(ci._JOBS)


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        (
            GITHUB,
            [
                "  id-token: write",
                '        "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=https%3A%2F%2Fregistry.example.com" | jq -r .value |',
                "        docker login -u oidc --password-stdin registry.example.com",
            ],
        ),
        (
            ["--provider", "gitlab", "--claim", "project_id=20"],
            [
                '      aud: "https://registry.example.com"',
                '    - echo "$REGISTRY_TOKEN" | docker login -u oidc --password-stdin registry.example.com',
            ],
        ),
        (
            ["--provider", "generic", "--issuer", "https://ci.example.com", "--claim", "sub=job"],
            ['echo "$TOKEN" | docker login -u oidc --password-stdin registry.example.com'],
        ),
    ],
)
def test_a_rule_says_what_its_jobs_run(digestry: Commands, flags: list[str], lines: list[str]) -> None:
    said = add(digestry, *flags, *HOST)
    assert "digestry grant add ci:deploy 'team/**' pull,push" in said.out
    assert set(lines) <= set(said.out.splitlines())
    assert said.err == ""
    assert set(lines) <= set(digestry.done("ci", "show", "deploy", *HOST).out.splitlines())


def test_what_github_runs_asks_and_logs_in(digestry: Commands, tmp_path: Path) -> None:
    """With stand-ins for what a runner has: they say what they were called with."""
    said = add(digestry, *GITHUB, "--audience", "https://r.example.com/?a=b&c", *HOST)
    script = said.out.split("- run: |\n")[1]
    for name in ("curl", "docker"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >&2\ncat <&3\n' if name == "curl" else _DOCKER)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "jq").write_text("#!/bin/sh\ncat\n")
    (tmp_path / "jq").chmod(0o755)
    variables = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "asking",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://github.example.com/token?api-version=2.0",
    }
    shell = ["sh", "-e", "-c", f"exec 3<<TOKEN\nthe-token\nTOKEN\n{script}"]
    done = subprocess.run(shell, env=variables, capture_output=True, text=True, check=True, timeout=20)
    assert "Authorization: bearer asking" in done.stderr
    assert "/token?api-version=2.0&audience=https%3A%2F%2Fr.example.com%2F%3Fa%3Db%26c" in done.stderr
    assert done.stdout == "docker login -u oidc --password-stdin registry.example.com gets the-token\n"


_DOCKER = '#!/bin/sh\necho docker "$@" gets "$(cat)"\n'


def test_claims_of_one_name_are_alternatives(digestry: Commands) -> None:
    flags = ["--claim", "ref=refs/heads/main", "--claim", "ref=refs/tags/*", "--claim", "environment=a=b"]
    said = add(digestry, *GITHUB, *flags, "--lifetime", "1h", *HOST, "--json")
    assert said.json["claims"] == {
        "repository_id": ["1234"],
        "ref": ["refs/heads/main", "refs/tags/*"],
        "environment": ["a=b"],
    }
    assert (said.json["lifetime"], said.json["reuse"], said.json["created_by"]) == ("1h", None, "operator")
    assert digestry.done("ci", "show", "deploy", "--json").json == said.json
    assert digestry.done("ci", "list", "--json").json == [said.json]
    head, line = digestry.done("ci", "list").out.splitlines()
    assert head.split() == ["name", "provider", "issuer", "audience", "reuse", "claims"]
    assert line.endswith("never  repository_id=1234, ref=refs/heads/main|refs/tags/*, environment=a=b")


def test_a_rule_may_let_tokens_be_used_again(digestry: Commands) -> None:
    said = add(digestry, *GITHUB, "--reuse", "10s", *HOST, "--json")
    assert said.json["reuse"] == "10s"
    assert digestry.done("ci", "list").out.splitlines()[1].endswith(" 10s    repository_id=1234")
    assert ["reuse", "10s"] in [line.split() for line in digestry.done("ci", "show", "deploy").out.splitlines()]


def test_the_audience_is_this_registry_or_told(digestry: Commands) -> None:
    assert "give --audience, or set http.host" in digestry.refused("ci", "add", "deploy", *GITHUB)
    assert add(digestry, *GITHUB, *HOST, "--json").json["audience"] == "https://registry.example.com"
    said = add(digestry, *GITHUB, "--audience", "other", *HOST, "--json", name="other")
    assert said.json["audience"] == "other"


def test_without_an_address_jobs_cannot_log_in(digestry: Commands) -> None:
    said = add(digestry, *GITHUB, "--audience", "a")
    assert said.err.startswith("note: http.host is not set: jobs can't log in until it is")
    assert digestry.done("ci", "show", "deploy").err == said.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--provider", "github", "--claim", "ref=x"], "at least one of repository_id, repository_owner_id"),
        ([*GITHUB, "--claim", "ref"], "--claim ref: expected CLAIM=VALUE"),
        ([*GITHUB, "--claim", "ref=*"], "a value is text"),
        (["--provider", "github", "--claim", "repository_id=12*"], "repository_id is exact"),
        (["--provider", "generic", "--claim", "sub=job"], "an issuer is the exact https:// address"),
        ([*GITHUB, "--lifetime", "13h"], "1 minute to 12 hours"),
        ([*GITHUB, "--reuse", "61s"], "within 1 minute"),
    ],
)
def test_what_is_no_rule_is_refused(digestry: Commands, flags: list[str], words: str) -> None:
    assert words in digestry.refused("ci", "add", "deploy", *flags, *HOST)
    assert digestry.done("ci", "list", "--json").json == []


@pytest.mark.parametrize("flags", [[], ["--provider", "github"], ["--provider", "jenkins", "--claim", "sub=a"]])
def test_a_rule_has_a_provider_and_a_claim(digestry: Commands, flags: list[str]) -> None:
    with pytest.raises(cyclopts.CycloptsError):
        digestry("ci", "add", "deploy", *flags)


def test_a_rule_goes_with_its_grants(digestry: Commands) -> None:
    add(digestry, *GITHUB, *HOST)
    told = "there is a rule deploy already; take another name, or `digestry ci remove deploy` first"
    assert digestry.refused("ci", "add", "deploy", *GITHUB, *HOST) == told
    digestry.done("grant", "add", "ci:deploy", "**", "pull")
    digestry.done("ci", "remove", "deploy")
    assert digestry.done("grant", "list", "--json").json == []
    for command in ("show", "remove"):
        assert digestry.refused("ci", command, "deploy") == "there is no rule deploy; `digestry ci list` shows them"


# --- ci test ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def ruled(digestry: Commands, issuer: Issuer) -> Commands:
    """Two rules: `deploy` for the main branch, `release` for tags."""
    usual = [*GITHUB, "--issuer", issuer.url, "--audience", AUDIENCE]
    add(digestry, *usual, "--claim", "ref=refs/heads/main", name="deploy")
    add(digestry, *usual, "--claim", "ref=refs/tags/*", name="release")
    return digestry


def test_a_token_that_a_rule_accepts(ruled: Commands, issuer: Issuer, tmp_path: Path) -> None:
    """It is looked at, not used up, and not shown."""
    token = issuer.mint(**github_claims())
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    for said in (ruled("ci", "test", str(file)), ruled("ci", "test", "-", stdin=token)):
        assert said.code == 0
        lines = said.out.splitlines()
        assert lines[0] == "deploy: accepted"
        refused = lines.index("release: not accepted")
        assert {line.split()[0] for line in lines[1:refused]} == {"ok"}
        failed = [line.split(maxsplit=2) for line in lines[refused:] if "FAILED" in line]
        assert failed == [["FAILED", "ref", "found 'refs/heads/main', expected 'refs/tags/*'"]]
        assert not [part for part in token.split(".") if part in said.out + said.err]


@pytest.mark.parametrize(
    ("claims", "failed"),
    [
        ({"aud": "https://other.example.com"}, ["aud"]),
        ({"repository_id": "77", "event_name": "pull_request_target"}, ["event_name", "repository_id"]),
        ({"exp": 1}, ["exp"]),
    ],
)
def test_a_token_that_no_rule_accepts(
    ruled: Commands, issuer: Issuer, claims: dict[str, object], failed: list[str]
) -> None:
    """A-15"""
    said = ruled("ci", "test", "-", "--json", stdin=issuer.mint(**{**github_claims(), **claims}))
    assert said.code == 1
    deploy, release = said.json
    assert (deploy["rule"], deploy["accepted"], release["accepted"]) == ("deploy", False, False)
    assert [check["what"] for check in deploy["checks"] if not check["passed"]] == failed


def test_a_signature_by_somebody_else(ruled: Commands, issuer: Issuer) -> None:
    """A-01"""
    token = issuer.mint(**github_claims())
    said = ruled("ci", "test", "-", stdin=token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB"))
    assert said.code == 1
    assert said.out.count("FAILED signature") == 2


@pytest.mark.parametrize("stdin", ["", "canary", b"\xff.\xff.\xff", "a.b.c", "x" * 10_000])
def test_what_is_no_token_is_told(ruled: Commands, stdin: str | bytes) -> None:
    said = ruled("ci", "test", "-", stdin=stdin)
    assert said.code == 1
    assert said.out.count("FAILED form") == 2
    assert "canary" not in said.out + said.err and "xxx" not in said.out


@pytest.mark.parametrize("named", ["/no/canary", "canary" * 100])
def test_a_file_that_cannot_be_read_may_be_the_token_itself(ruled: Commands, named: str) -> None:
    told = ruled.refused("ci", "test", named)
    assert told.startswith("the token file can't be read: ") and told.endswith("`-` is stdin")
    assert "canary" not in told


def test_without_a_rule_there_is_nothing_to_test(digestry: Commands) -> None:
    assert "digestry ci add" in digestry.refused("ci", "test", "-", stdin="a.b.c")


def test_a_terminal_shows_marks(ruled: Commands, issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(issuer.mint(**github_claims()))
    with at_terminal(["ci", "test", str(file), *ruled.flags]) as terminal:
        assert terminal.end() == 0
        assert "✓ signature" in terminal.screen and "✗ ref" in terminal.screen
        assert "FAILED" not in terminal.screen
