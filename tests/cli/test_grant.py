"""`digestry grant`: who is meant, and what they get."""

import pytest

from tests.support.commands import Commands


def test_verbs_add_up(digestry: Commands) -> None:
    digestry.done("user", "add", "alice", stdin="correct horse")
    said = digestry.done("grant", "add", "user:alice", "team/**", "pull")
    assert (said.out, said.err) == ("grant 1: user:alice has pull on team/**\n", "")
    said = digestry.done("grant", "add", "user:alice", "team/**", "delete,push", "--json")
    assert said.json == {
        "subject": "user:alice",
        "pattern": "team/**",
        "verbs": ["pull", "push", "delete"],
        "id": 1,
    }


@pytest.mark.parametrize("subject", ["anonymous", "authenticated", "group:team", "robot:build", "ci:deploy"])
def test_everybody_who_can_be_meant(digestry: Commands, subject: str) -> None:
    digestry.done("group", "add", "team")
    digestry.done("robot", "add", "build")
    rule = ["--provider", "generic", "--issuer", "https://ci.example.com", "--audience", "a", "--claim", "sub=job"]
    digestry.done("ci", "add", "deploy", *rule)
    assert digestry.done("grant", "add", subject, "team/app", "pull").err == ""
    assert [grant["subject"] for grant in digestry.done("grant", "list", "--json").json] == [subject]


@pytest.mark.parametrize(
    "command", [["add", "alice", "**", "pull"], ["remove", "alice", "**"], ["list", "--subject", "alice"]]
)
def test_a_name_alone_is_nobody(digestry: Commands, command: list[str]) -> None:
    told = digestry.refused("grant", *command)
    assert told == "say who alice is: user:alice or group:alice, robot:alice, ci:alice"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["person:alice", "**", "pull"], "a subject is user:NAME"),
        (["user:", "**", "pull"], "letters and digits"),
        (["al ice", "**", "pull"], "letters and digits"),
        (["user:alice", "**", "pul"], "verbs are pull, push, overwrite, delete, admin"),
        (["user:alice", "**", ""], "verbs are"),
        (["user:alice", "**", "pull, push"], "verbs are"),
        (["user:alice", "Team/**", "pull"], "a pattern is"),
        (["user:alice", "team/*/app", "pull"], "a pattern is"),
        (["user:alice", "", "pull"], "a pattern is"),
        (["group:team", "**", "pull"], "there is no group:team; make it first"),
        (["robot:build", "**", "pull"], "there is no robot:build; make it first"),
        (["ci:deploy", "**", "pull"], "there is no ci:deploy; make it first"),
        (["robot:build", "**", "admin"], "only users and groups can have admin"),
        (["anonymous", "**", "admin"], "only users and groups can have admin"),
    ],
)
def test_what_cannot_be_granted(digestry: Commands, arguments: list[str], words: str) -> None:
    assert words in digestry.refused("grant", "add", *arguments)
    assert digestry.done("grant", "list", "--json").json == []


def test_a_user_nobody_knows_is_told(digestry: Commands) -> None:
    said = digestry.done("grant", "add", "user:alcie", "**", "pull")
    assert said.err.startswith("note: there is no user alcie yet")
    assert digestry.done("grant", "add", "anonymous", "**", "pull").err == ""


def test_where_nobody_is_asked_that_is_told(digestry: Commands) -> None:
    said = digestry.done("grant", "add", "anonymous", "**", "pull", "--set", "auth.mode=open")
    assert said.err.startswith("note: auth.mode is open in these settings")


def test_a_grant_is_taken_back(digestry: Commands) -> None:
    digestry.done("grant", "add", "anonymous", "team/**", "pull,push")
    digestry.done("grant", "add", "anonymous", "team/app", "pull")
    said = digestry.done("grant", "remove", "anonymous", "team/**")
    assert said.out == "took back: anonymous has pull,push on team/**\n"
    assert [grant["pattern"] for grant in digestry.done("grant", "list", "--json").json] == ["team/app"]
    told = "anonymous has no grant on team/**; `digestry grant list --subject anonymous` shows what it has"
    assert digestry.refused("grant", "remove", "anonymous", "team/**") == told


@pytest.fixture
def granted(digestry: Commands) -> Commands:
    for subject, pattern in (("user:alice", "team/**"), ("anonymous", "team/app"), ("user:alice", "other/*")):
        digestry.done("grant", "add", subject, pattern, "pull")
    return digestry


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ([], [1, 2, 3]),
        (["--subject", "user:alice"], [1, 3]),
        (["--on", "team/app"], [1, 2]),
        (["--on", "other/a"], [3]),
        (["--on", "other/a/b"], []),
        (["--on", "team/app", "--subject", "anonymous"], [2]),
    ],
)
def test_a_list_can_be_narrowed(granted: Commands, filters: list[str], ids: list[int]) -> None:
    assert [grant["id"] for grant in granted.done("grant", "list", *filters, "--json").json] == ids
    head, *lines = granted.done("grant", "list", *filters).out.splitlines()
    assert head.split() == ["id", "subject", "pattern", "verbs"]
    assert [int(line.split()[0]) for line in lines] == ids


def test_a_list_is_asked_of_one_repository(granted: Commands) -> None:
    assert granted.refused("grant", "list", "--on", "team/**") != ""


def test_a_list_has_every_page(digestry: Commands) -> None:
    row = {"subject": "anonymous", "verbs": "pull", "created_at": 1, "created_by": "operator"}
    digestry.fill("access_grant", [{**row, "pattern": f"r{number}"} for number in range(2001)])
    assert len(digestry.done("grant", "list", "--json").json) == 2001
