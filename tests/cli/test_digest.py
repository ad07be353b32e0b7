"""`digestry digest`: as an operator sees it."""

import asyncio

import pytest

from registry.content.conditions import Conditions
from registry.domain.names import Digest, RepositoryName
from tests.support.commands import Commands
from tests.support.digests import BASE, built
from tests.support.registry import CALLER, NAME, Clock, opened
from tests.support.shelf import Shelf

LAYER = Digest.of(BASE)
OTHER = RepositoryName("other/app")
BEGAN, MOVED = "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20.002Z"


@pytest.fixture
def images(digestry: Commands) -> list[Digest]:
    """Three on one layer: one with tags, one of which moved to the next; one in another repository."""

    async def fill() -> list[Digest]:
        clock = Clock()
        async with opened(digestry.folder, clock) as registry:
            shelf = Shelf(registry, clock)
            first = await built(shelf, "a", "v1", "latest")
            clock.advance(1)
            return [first, await built(shelf, "b", "latest"), await built(shelf, "c", "v1", name=OTHER)]

    return asyncio.run(fill())


def test_show(digestry: Commands, images: list[Digest]) -> None:
    lines = digestry.done("digest", "show", images[0][:15]).out.splitlines()
    assert [line.split(maxsplit=1) for line in lines[:2]] == [["digest", images[0]], ["name", f"{NAME}:v1"]]
    told = digestry.done("digest", "show", LAYER.encoded[:8], "--json").json
    assert (told["digest"], told["kinds"], told["size"], told["state"]) == (LAYER, ["blob"], len(BASE), "ok")
    assert told["verified_at"] == BEGAN


def test_tags(digestry: Commands, images: list[Digest]) -> None:
    head, *lines = digestry.done("digest", "tags", LAYER[:15]).out.splitlines()
    assert head.split() == ["repository", "tag", "digest", "since", "until"]
    assert [line.split() for line in lines] == [
        [NAME, "latest", images[1], MOVED, "now"],
        [NAME, "v1", images[0], BEGAN, "now"],
        [OTHER, "v1", images[2], "2023-11-14T22:13:20.003Z", "now"],
    ]
    assert [one["tag"] for one in digestry.done("digest", "tags", images[0], "--json").json] == ["v1"]
    ever = digestry.done("digest", "tags", images[0], "--ever", "--json").json
    assert [(one["tag"], one["since"], one["until"]) for one in ever] == [("latest", BEGAN, MOVED), ("v1", BEGAN, None)]


def test_manifests_and_repositories(digestry: Commands, images: list[Digest]) -> None:
    head, *lines = digestry.done("digest", "manifests", LAYER).out.splitlines()
    assert head.split() == ["name", "digest", "frees"]
    assert {tuple(line.split()[:2]) for line in lines} == {
        *((f"{NAME}:v1", images[0]), (f"{NAME}:latest", images[1]), (f"{OTHER}:v1", images[2]))
    }
    told = digestry.done("digest", "manifests", LAYER, "--json").json
    by_digest = {one["digest"]: one["frees"] for one in told}
    _, *lines = digestry.done("digest", "repositories", LAYER).out.splitlines()
    frees = [f"{by_digest[images[0]] + by_digest[images[1]]} B", f"{by_digest[images[2]]} B"]
    assert [line.split(maxsplit=2) for line in lines] == [[NAME, "blob", frees[0]], [OTHER, "blob", frees[1]]]
    assert [one["repository"] for one in digestry.done("digest", "repositories", LAYER, "--json").json] == [NAME, OTHER]


def test_what_no_repository_shows_is_told_too(digestry: Commands, images: list[Digest]) -> None:
    async def delete() -> None:
        async with opened(digestry.folder) as registry:
            await registry.manifests.delete(NAME, images[0], Conditions(), CALLER)

    asyncio.run(delete())
    assert "only the trash or a lease keeps it" in digestry.done("digest", "show", images[0]).out
    assert digestry.done("digest", "tags", images[0], "--json").json == []


@pytest.mark.parametrize("command", ["show", "tags", "manifests", "repositories"])
def test_refusals_say_what_to_do(digestry: Commands, command: str) -> None:
    assert "the first 8 digits or more" in digestry.refused("digest", command, "latest")
    assert "there is nothing under" in digestry.refused("digest", command, "0" * 8)
