"""`digestry access explain`: the answer, and the grants behind it."""

import asyncio
from pathlib import Path

import bcrypt
import pytest

from registry.domain.access import Caller, Identity
from registry.domain.grants import Grant, Pattern, parse_verbs
from tests.support.access import DAY, OPERATING
from tests.support.commands import Commands
from tests.support.registry import opened

HASHED = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
NOTHING = "no grant gives it"


def explained(digestry: Commands, who: str, *flags: str, on: str = "team/app") -> dict[str, tuple[str, str]]:
    """By verb: yes or no, and why."""
    _, *lines = digestry.done("access", "explain", "--as", who, "--on", on, *flags).out.splitlines()
    words = [line.split(maxsplit=2) for line in lines]
    return {verb: (answer, why) for verb, answer, why in words}


@pytest.fixture
def team(digestry: Commands) -> Commands:
    """Alice is in the team; root administers everything; build is alice's robot."""
    asyncio.run(_fill(digestry.folder))
    return digestry


async def _fill(folder: Path) -> None:
    async with opened(folder) as registry:
        users, robots, grants = registry.access.users, registry.access.robots, registry.access.grants
        for name in ("alice", "root"):
            await users.adopt(name, HASHED, OPERATING)
        await users.add_group("team", OPERATING)
        await users.add_member("team", "alice", OPERATING)
        await robots.add("build", "", DAY, Caller(Identity("user:alice", is_known=True), "test"))
        for subject, pattern, verbs in (
            ("user:root", "**", "admin"),
            ("group:team", "team/**", "pull,push"),
            ("robot:build", "team/*", "push,delete"),
        ):
            await grants.add(Grant(subject, Pattern(pattern), parse_verbs(verbs.split(","))), OPERATING)


@pytest.mark.parametrize("who", ["alice", "user:alice"])
def test_a_group_gives(team: Commands, who: str) -> None:
    why = explained(team, who)
    assert why["push"] == ("yes", "grant 2: group:team has pull,push on team/**")
    assert why["delete"] == ("no", NOTHING)
    assert list(why) == ["pull", "push", "overwrite", "delete", "admin"]
    assert explained(team, who, on="other/app")["pull"] == ("no", NOTHING)


def test_admin_gives_every_verb(team: Commands) -> None:
    why = explained(team, "root")
    assert why["pull"] == ("yes", "grant 1: user:root has admin on **, and so all verbs")
    assert why["admin"] == ("yes", "grant 1: user:root has admin on **")


def test_each_grant_that_gives_is_told(team: Commands) -> None:
    team.done("grant", "add", "authenticated", "**", "pull")
    assert explained(team, "alice")["pull"] == (
        "yes",
        "grant 2: group:team has pull,push on team/**; grant 4: authenticated has pull on **",
    )
    assert explained(team, "anonymous")["pull"] == ("no", NOTHING)
    team.done("grant", "add", "anonymous", "team/app", "pull")
    assert explained(team, "anonymous")["pull"] == ("yes", "grant 5: anonymous has pull on team/app")


def test_a_robot_is_held_to_its_maker(team: Commands) -> None:
    why = explained(team, "robot:build")
    assert why["push"] == ("yes", "grant 3: robot:build has push,delete on team/*")
    assert why["delete"] == (
        "no",
        "grant 3: robot:build has push,delete on team/*; but user:alice, who made it, may not",
    )
    assert why["pull"] == ("no", NOTHING)


def test_a_rule_for_ci(team: Commands) -> None:
    rule = ["--provider", "generic", "--issuer", "https://ci.example.com", "--audience", "a", "--claim", "sub=job"]
    team.done("ci", "add", "deploy", *rule)
    team.done("grant", "add", "ci:deploy", "team/app", "push")
    assert explained(team, "ci:deploy")["push"] == ("yes", "grant 4: ci:deploy has push on team/app")


def test_the_file_gives_in_its_mode(team: Commands, tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(f"zoe:{HASHED}\n")
    flags = ["--set", f"auth.htpasswd.path={file}", "--set", "auth.mode=htpasswd"]
    why = explained(team, "zoe", *flags)
    assert why["pull"] == ("yes", "auth.mode = htpasswd: user:zoe has pull,push,overwrite,delete on **")
    assert why["admin"] == ("no", NOTHING)
    told = team.done("access", "explain", "--as", "zoe", "--on", "team/app", *flags, "--json").json
    assert told["verbs"][0]["grants"] == [
        {
            "subject": "user:zoe",
            "pattern": "**",
            "verbs": ["pull", "push", "overwrite", "delete"],
            "source": "auth.mode = htpasswd",
        }
    ]


def test_programs_get_the_grants(team: Commands) -> None:
    told = team.done("access", "explain", "--as", "robot:build", "--on", "team/app", "--json").json
    assert (told["subject"], told["repository"]) == ("robot:build", "team/app")
    pull, push, _, delete, _ = told["verbs"]
    assert pull == {"verb": "pull", "allowed": False, "grants": [], "missing_in_creator": False}
    held = {"subject": "robot:build", "pattern": "team/*", "verbs": ["push", "delete"], "id": 3}
    assert push == {"verb": "push", "allowed": True, "grants": [held], "missing_in_creator": False}
    assert delete == {"verb": "delete", "allowed": False, "grants": [held], "missing_in_creator": True}


@pytest.mark.parametrize(
    ("who", "on", "words"),
    [
        ("bob", "team/app", "user:bob can't log in"),
        ("robot:nobody", "team/app", "can't log in"),
        ("group:team", "team/app", "groups only give grants to users"),
        ("authenticated", "team/app", "ask for a user"),
        ("operator", "team/app", "may do everything"),
        ("someone:alice", "team/app", "a subject is"),
        ("alice", "Team/App", "name"),
        ("alice", "team/**", "name"),
    ],
)
def test_what_cannot_be_explained(team: Commands, who: str, on: str, words: str) -> None:
    assert words in team.refused("access", "explain", "--as", who, "--on", on)


def test_whoever_is_kept_out_may_nothing(team: Commands) -> None:
    team.done("user", "disable", "alice")
    for who in ("alice", "robot:build"):
        assert "can't log in" in team.refused("access", "explain", "--as", who, "--on", "team/app")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("auth.mode=open", "note: auth.mode is open in these settings"),
        ("storage.maintenance.readonly.enabled=true", "note: push is refused to everybody: the registry is read-only"),
        ("storage.delete.enabled=false", "note: delete is refused to everybody: deletion is switched off"),
    ],
)
def test_what_holds_for_everybody_is_told_beside(team: Commands, setting: str, words: str) -> None:
    asked = ["access", "explain", "--as", "alice", "--on", "team/app"]
    assert team.done(*asked).err == ""
    assert words in team.done(*asked, "--set", setting).err
