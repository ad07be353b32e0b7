"""`digestry repository delete|rename`, `tag history|rollback` and `trash`: what they say, and that they do it."""

import asyncio
from dataclasses import dataclass

import cyclopts
import pytest

from registry.clock import wall_clock
from registry.domain.times import parse_rfc3339, rfc3339
from tests.support.commands import Commands, at_terminal
from tests.support.registry import DAY, Clock, opened
from tests.support.shelf import Shelf

HOUR = 3_600_000
ABSENT = f"sha256:{'0' * 64}"


@dataclass
class Site:
    """team/app:prod has moved from `one` to `two` to `three`, two hours ago the last time."""

    digestry: Commands
    one: str = ""
    two: str = ""
    three: str = ""

    async def fill(self) -> None:
        clock = Clock(wall_clock() - 4 * HOUR)
        async with opened(self.digestry.folder, clock) as registry:
            shelf = Shelf(registry, clock)
            self.one = await shelf.image("one", "prod", "first")
            clock.advance(HOUR)
            self.two = await shelf.image("two", "prod")
            clock.advance(HOUR)
            self.three = await shelf.image("three", "prod")

    async def push(self) -> None:
        async with opened(self.digestry.folder, wall_clock) as registry:
            await Shelf(registry, Clock()).image("newer", "prod")

    def prod(self, repository: str = "team/app") -> str:
        tags = self.digestry.done("tag", "list", repository, "--json").json
        return str(next(tag["digest"] for tag in tags if tag["name"] == "prod"))

    def deleted(self) -> int:
        """Delete team/app; return the entry's id."""
        return int(self.digestry.done("repository", "delete", "team/app", "--yes", "--json").json["entry"])


@pytest.fixture
def site(digestry: Commands) -> Site:
    made = Site(digestry)
    asyncio.run(made.fill())
    return made


# --- tags ----------------------------------------------------------------------------------------------------------


def test_a_history_is_a_table(site: Site) -> None:
    head, *lines = site.digestry.done("tag", "history", "team/app:prod").out.splitlines()
    assert head.split() == ["time", "who", "from", "did", "old", "new"]
    ends = [(site.two, site.three), (site.one, site.two), ("", site.one)]
    assert [line.split()[2:] for line in lines] == [
        ["tag.point", *(digest[:19] for digest in end if digest)] for end in ends
    ]
    told = site.digestry.done("tag", "history", "team/app:prod", "--json").json
    assert [(move["old"] or "", move["new"]) for move in told] == ends
    assert all(wall_clock() - parse_rfc3339(move["at"]) < 5 * HOUR for move in told)


def test_a_history_that_is_cut_says_so(site: Site) -> None:
    said = site.digestry.done("tag", "history", "team/app:prod", "--limit", "2")
    assert (len(said.out.splitlines()), "there are more" in said.err) == (3, True)
    assert site.digestry.done("tag", "history", "team/app:prod", "--limit", "3").err == ""


def test_what_a_tag_pointed_to(site: Site) -> None:
    for at, digest in (("150m", site.two), (rfc3339(wall_clock() - 210 * 60_000), site.one), ("1h", site.three)):
        assert site.digestry.done("tag", "history", "team/app:prod", "--at", at).out == f"{digest}\n"
    told = site.digestry.done("tag", "history", "team/app:prod", "--at", "1h", "--json").json
    assert (told["repository"], told["tag"], told["digest"]) == ("team/app", "prod", site.three)
    assert "had no tag prod at" in site.digestry.refused(
        "tag", "history", "team/app:prod", "--at", "2020-01-01T00:00:00Z"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["history", "team/app"], "team/app has no tag: write it as NAME:TAG, such as team/app:latest"),
        (["history", "team/app:none"], "team/app never had a tag none"),
        (["history", "absent:prod"], "no such repository"),
        (["history", "Team:prod"], "repository"),
        (["rollback", "team/app:first"], "team/app:first pointed to nothing else before"),
        (["rollback", "team/app:prod", "--to", "12"], "8 digits or more"),
        (["rollback", "team/app:prod", "--to", "0" * 8], "there is nothing under 00000000"),
        (["rollback", "team/app:prod", "--to", ABSENT], "a push brings one back"),
        (["rollback", "team/app:prod", "--to", ABSENT, "--at", "2h"], "give --to or --at, not both"),
        (["rollback", "team/app:prod", "--expect", ABSENT], f"now, not {ABSENT}"),
        (["rollback", "team/app:prod", "team/app:prod"], "once"),
        (["rollback", *(f"team/app:t{number}" for number in range(101))], "at most 100 tags"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_what_cannot_be_is_told(site: Site, arguments: list[str], told: str) -> None:
    assert told in site.digestry.refused("tag", *arguments)
    assert site.prod() == site.three


@pytest.mark.parametrize(
    "arguments", [["rollback"], ["history", "a:b", "--at", "noon"], ["history", "a:b", "--limit", "0"]]
)
def test_wrong_use_is_refused(digestry: Commands, arguments: list[str]) -> None:
    with pytest.raises(cyclopts.CycloptsError):
        digestry("tag", *arguments)


def test_tags_go_back_together(site: Site) -> None:
    before = site.digestry.done("tag", "rollback", "team/app:prod", "team/app:new", "--to", site.one[7:15], "--dry-run")
    assert (site.prod(), before.err) == (site.three, "note: nothing was changed\n")
    said = site.digestry.done("tag", "rollback", "team/app:prod", "team/app:new", "--to", site.one[7:15])
    head, moved, made = said.out.splitlines()
    assert before.out == said.out
    assert head.split() == ["tag", "from", "to"]
    assert moved.split() == ["team/app:prod", site.three[:19], site.one[:19]]
    assert made.split() == ["team/app:new", site.one[:19]]
    assert site.prod() == site.one
    again = site.digestry.done("tag", "rollback", "team/app:prod", "--to", site.one)
    assert "it was there already" in again.out


def test_a_tag_goes_back_by_a_move_or_to_a_time(site: Site) -> None:
    told = site.digestry.done("tag", "rollback", "team/app:prod", "--expect", site.three[:20], "--json").json
    assert told == [{"repository": "team/app", "tag": "prod", "old": site.three, "new": site.two}]
    site.digestry.done("tag", "rollback", "team/app:prod", "--at", "210m")
    assert site.prod() == site.one


# --- repositories --------------------------------------------------------------------------------------------------


def test_a_deletion_says_how_to_undo_it(site: Site) -> None:
    said = site.digestry.done("repository", "delete", "team/app", "--yes").out
    deleted, undo = said.splitlines()
    assert deleted == "deleted team/app"
    command = undo.partition("digestry ")[2].split()
    assert command[:2] == ["trash", "restore"]
    left = parse_rfc3339(undo.split()[1]) - wall_clock()
    assert 13 * DAY < left <= 14 * DAY
    assert site.digestry.done("repository", "list", "--json").json == []
    assert site.digestry.done(*command).out == "team/app: 3 manifests, 2 tags back\n"
    assert site.prod() == site.three


def test_nothing_goes_unasked(site: Site) -> None:
    assert "give --yes" in site.digestry.refused("repository", "delete", "team/app", stdin="team/app\n")
    assert "no repository" in site.digestry.refused("repository", "delete", "absent", "--yes")
    assert site.prod() == site.three


@pytest.mark.parametrize(("typed", "code"), [("team/app", 0), ("team/ap", 1), ("", 1), ("yes", 1)])
def test_a_terminal_is_asked_for_the_name(site: Site, typed: str, code: int) -> None:
    with at_terminal(["repository", "delete", "team/app", *site.digestry.flags]) as terminal:
        terminal.wait_for("type team/app to go on: ")
        terminal.type(f"{typed}\n")
        assert terminal.end() == code
    left = site.digestry.done("repository", "list", "--json").json
    assert len(left) == code


@pytest.mark.parametrize("entry", ["team/app", "9" * 19, "٣"])
@pytest.mark.parametrize("command", ["restore", "purge"])
def test_what_is_no_id_is_told_where_ids_are(site: Site, command: str, entry: str) -> None:
    with pytest.raises(cyclopts.CycloptsError, match="`digestry trash list` shows it"):
        site.digestry("trash", command, entry)


def test_a_rename(site: Site) -> None:
    assert site.digestry.done("repository", "rename", "team/app", "team/old").out == "team/app is team/old now\n"
    assert site.prod("team/old") == site.three
    missing = site.digestry.refused("repository", "rename", "team/app", "team/other")
    assert "no such repository; `digestry repository list`" in missing and "`digestry trash list`" in missing
    assert "choose another name" in site.digestry.refused("repository", "rename", "team/old", "team/old")
    told = site.digestry.done("repository", "rename", "team/old", "team/app", "--json").json
    assert told == {"repository": "team/app", "before": "team/old"}


# --- the trash -----------------------------------------------------------------------------------------------------


def test_the_trash_is_a_table(site: Site) -> None:
    entry = site.deleted()
    head, line = site.digestry.done("trash", "list").out.splitlines()
    assert head.split() == ["id", "kind", "what", "deleted", "by", "until"]
    identifier, kind, what, deleted, by, until = line.split()
    assert (identifier, kind, what, by) == (str(entry), "repository", "team/app", "operator")
    assert parse_rfc3339(until) - parse_rfc3339(deleted) == 14 * DAY
    (told,) = site.digestry.done("trash", "list", "--json").json
    assert (told["id"], told["repository"], told["tag"], told["restorable_until"]) == (entry, "team/app", None, until)
    assert site.digestry.done("trash", "list", "--repository", "team/other", "--json").json == []


def test_a_newer_repository_keeps_its_tags(site: Site) -> None:
    entry = site.deleted()
    asyncio.run(site.push())
    newer = site.prod()
    said = site.digestry.done("trash", "restore", str(entry)).out.splitlines()
    assert said[0] == "team/app: 3 manifests, 1 tag back"
    assert said[1] == f"team/app:prod stays at {newer}; it was {site.three}"
    assert site.prod() == newer
    site.digestry.done(*said[2].partition("digestry ")[2].split())
    assert site.prod() == site.three


def test_a_repository_comes_back_under_another_name(site: Site) -> None:
    entry = site.deleted()
    asyncio.run(site.push())
    told = site.digestry.done("trash", "restore", str(entry), "--as", "team/before", "--json").json
    assert told == {"repository": "team/before", "manifests": 3, "tags": 2, "conflicts": []}
    assert site.prod("team/before") == site.three


def test_a_tag_that_cannot_come_back_is_told(site: Site) -> None:
    asyncio.run(_delete_prod(site.digestry))
    asyncio.run(site.push())
    (entry,) = site.digestry.done("trash", "list", "--json").json
    said = site.digestry("trash", "restore", str(entry["id"]))
    assert (said.code, "stays at" in said.out) == (1, True)
    assert site.digestry.done("trash", "restore", str(entry["id"]), "--as", "before").err == ""
    assert site.digestry.done("trash", "list", "--json").json == []


async def _delete_prod(digestry: Commands) -> None:
    clock = Clock(wall_clock())
    async with opened(digestry.folder, clock) as registry:
        await Shelf(registry, clock).delete("prod")


def test_a_purge_is_for_good(site: Site) -> None:
    entry = str(site.deleted())
    assert "give --yes" in site.digestry.refused("trash", "purge", entry)
    with at_terminal(["trash", "purge", entry, *site.digestry.flags]) as terminal:
        terminal.wait_for(f"type {entry} to go on: ")
        terminal.type("no\n")
        assert terminal.end() == 1
    said = site.digestry.done("trash", "purge", entry, "--yes").out
    assert said == "the repository team/app can't be restored any more; what only it used is freed after 1d\n"
    for command in ("restore", "purge"):
        assert f"nothing under {entry} in the trash" in site.digestry.refused("trash", command, entry, *_yes(command))


def _yes(command: str) -> list[str]:
    return ["--yes"] if command == "purge" else []
