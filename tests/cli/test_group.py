"""`digestry group`: who is in it, and what that gives."""

import cyclopts
import pytest

from tests.support.commands import Commands


@pytest.fixture
def team(digestry: Commands) -> Commands:
    """With a group and two users."""
    digestry.done("group", "add", "team")
    for name in ("alice", "bob"):
        digestry.done("user", "add", name, stdin="correct horse")
    return digestry


def test_a_new_group_says_what_comes_next(digestry: Commands) -> None:
    said = digestry.done("group", "add", "team")
    assert "digestry group join team alice" in said.out
    assert "digestry grant add group:team 'team/**' pull,push" in said.out
    assert digestry.done("group", "add", "other", "--json").json == {"name": "other"}
    told = "there is a group team already; `digestry group join team` puts users into it"
    assert digestry.refused("group", "add", "team") == told
    assert "letters and digits" in digestry.refused("group", "add", "a group")


def test_members_come_and_go(team: Commands) -> None:
    assert team.done("group", "join", "team", "bob", "alice").out == "alice\nbob\n"
    assert team.done("group", "members", "team").out == "alice\nbob\n"
    assert team.done("group", "leave", "team", "bob", "--json").json == {"name": "team", "members": ["alice"]}
    assert team.done("group", "list", "--json").json == [{"name": "team", "members": ["alice"]}]
    head, line = team.done("group", "list").out.splitlines()
    assert (head.split(), line.split()) == (["name", "members"], ["team", "alice"])
    assert "digestry group join team alice" in team.done("group", "leave", "team", "alice").out


def test_to_join_twice_is_no_error(team: Commands) -> None:
    for _ in range(2):
        said = team.done("group", "join", "team", "alice")
        assert (said.out, said.err) == ("alice\n", "")


def test_a_member_nobody_knows_is_told(team: Commands) -> None:
    said = team.done("group", "join", "team", "alice", "alcie")
    assert said.err == "note: there is no user alcie yet; whoever gets this name has it: digestry user add alcie\n"
    assert said.out == "alcie\nalice\n"


def test_members_have_what_the_group_has(team: Commands) -> None:
    team.done("grant", "add", "group:team", "team/**", "pull")
    asked = ["access", "explain", "--as", "alice", "--on", "team/app", "--json"]
    assert not team.done(*asked).json["verbs"][0]["allowed"]
    team.done("group", "join", "team", "alice")
    assert team.done(*asked).json["verbs"][0]["allowed"]
    team.done("group", "remove", "team")
    assert not team.done(*asked).json["verbs"][0]["allowed"]


@pytest.mark.parametrize(
    "arguments", [["remove", "devs"], ["members", "devs"], ["join", "devs", "alice"], ["leave", "devs", "alice"]]
)
def test_no_group_of_that_name(team: Commands, arguments: list[str]) -> None:
    assert "devs" in team.refused("group", *arguments)


@pytest.mark.parametrize("command", ["join", "leave"])
def test_somebody_must_be_named(team: Commands, command: str) -> None:
    with pytest.raises(cyclopts.CycloptsError):
        team("group", command, "team")


def test_a_list_has_every_page(digestry: Commands) -> None:
    digestry.fill("user_group", [{"name": f"g{number:04}", "created_at": 1} for number in range(1001)])
    assert len(digestry.done("group", "list", "--json").json) == 1001
