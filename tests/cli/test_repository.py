"""`digestry repository` and `digestry tag`: what there is."""

import asyncio

import pytest

from registry.assembly import Registry
from tests.support.commands import Commands
from tests.support.filling import put, put_artifact
from tests.support.images import image, index
from tests.support.registry import NAME, Clock, opened


@pytest.fixture
def stocked(digestry: Commands) -> Commands:
    async def fill() -> None:
        async with opened(digestry.folder, Clock()) as registry:
            await furnish(registry)

    asyncio.run(fill())
    return digestry


async def furnish(registry: Registry) -> None:
    await put(registry, NAME, "v1", image("app"))
    await put(registry, NAME, "v2", index("app"))
    await put_artifact(registry, NAME, "chart", "application/vnd.example.chart+json")
    await put(registry, "base/os", "latest", image("os"))


def test_repositories_are_listed(stocked: Commands) -> None:
    found = stocked.done("repository", "list", "--json").json
    assert [(one["name"], one["tags"], one["more_tags"]) for one in found] == [("base/os", 1, False), (NAME, 3, False)]
    assert found[0]["moved_at"] == "2023-11-14T22:13:20.000Z"
    head, first, second = stocked.done("repository", "list").out.splitlines()
    assert head.split() == ["name", "tags", "size", "last", "push"]
    assert (first.split()[:2], second.split()[:2]) == (["base/os", "1"], ["team/app", "3"])


def test_one_is_shown(stocked: Commands) -> None:
    assert stocked.done("repository", "show", NAME, "--json").json in stocked.done("repository", "list", "--json").json
    assert stocked.done("repository", "show", NAME).out.splitlines()[1].split()[:2] == [NAME, "3"]


def test_tags_are_listed(stocked: Commands) -> None:
    found = stocked.done("tag", "list", NAME, "--json").json
    assert [(one["name"], one["kind"]) for one in found] == [("chart", "artifact"), ("v1", "image"), ("v2", "index")]
    assert (found[2]["digest"], found[2]["platforms"]) == (index("app").digest, ["linux/amd64", "linux/arm64"])
    lines = stocked.done("tag", "list", NAME).out.splitlines()
    assert lines[0].split() == ["tag", "kind", "platforms", "size", "pushed", "digest"]
    assert "linux/amd64, linux/arm64" in lines[3] and lines[3].endswith(index("app").digest)


@pytest.mark.parametrize("command", [("repository", "show"), ("tag", "list")])
def test_what_is_not_there_says_where_to_look(digestry: Commands, command: tuple[str, str]) -> None:
    assert "the list of repositories has all" in digestry.refused(*command, "team/nothing")
    assert "lowercase components" in digestry.refused(*command, "Team")


def test_nothing_is_an_empty_list(digestry: Commands) -> None:
    assert digestry.done("repository", "list", "--json").json == []
