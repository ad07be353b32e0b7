"""`digestry verify`, and how long commands tell how far they are."""

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from registry import values
from registry.assembly import Registry
from registry.cli.progress import CLEAR, Progress
from registry.clock import wall_clock
from registry.domain.names import Digest, RepositoryName
from tests.support.commands import Commands, at_terminal
from tests.support.images import image
from tests.support.registry import opened, push
from tests.support.rot import flip, push_image, stored_file

T = TypeVar("T")
IMAGE = image("verified")
LAYER = Digest(IMAGE.layers[0].digest)
BYTES = sum(len(part.data) for part in IMAGE.blobs)


@pytest.fixture
def digestry(digestry: Commands) -> Commands:
    """On a registry that holds an image."""

    async def fill(registry: Registry) -> None:
        await push_image(registry, IMAGE, "v1", "v2")

    on(digestry, fill)
    return digestry


def on(digestry: Commands, work: Callable[[Registry], Awaitable[T]]) -> T:
    async def run() -> T:
        async with opened(digestry.folder, wall_clock) as registry:
            return await work(registry)

    return asyncio.run(run())


def spoil(digestry: Commands, digest: Digest = LAYER) -> Path:
    async def flipped(registry: Registry) -> Path:
        path = await stored_file(registry, digest)
        flip(path, 10)
        return path

    return on(digestry, flipped)


def test_a_sound_registry_has_nothing_wrong(digestry: Commands) -> None:
    size = values.rounded_size(BYTES)
    said = digestry.done("verify")
    assert (said.out, said.err) == (f"verified 3 blobs, {size}: none wrong\n", "")
    assert digestry.done("verify", "--json").json == {"blobs": 3, "bytes": BYTES, "wrong": 0}


def test_a_wrong_blob_is_told_with_the_tags_that_need_it(digestry: Commands) -> None:
    spoil(digestry)
    said = digestry("verify")
    told, summary = said.out.splitlines()
    assert (said.code, said.err) == (1, "")
    assert told.startswith(f"WRONG: {LAYER}: its bytes hash to sha256:")
    assert told.endswith("pushed again; needed by team/app:v1, team/app:v2")
    assert summary.endswith("1 wrong")


def test_programs_get_a_line_for_each_and_a_summary(digestry: Commands) -> None:
    spoil(digestry)
    for _ in range(2):
        said = digestry("verify", "--json")
        told, summary = map(json.loads, said.out.splitlines())
        assert (said.code, said.err) == (1, "")
        assert told.pop("about").startswith("hash to sha256:")
        assert told == {
            "wrong": LAYER,
            "size": len(IMAGE.layers[0].data),
            "kind": "corrupt",
            "tags": ["team/app:v1", "team/app:v2"],
            "more_tags": False,
        }
        assert summary == {"blobs": 3, "bytes": BYTES + len(IMAGE.layers[0].data), "wrong": 1}  # it was read twice


def test_bytes_that_are_right_again_are_released(digestry: Commands) -> None:
    path = spoil(digestry)
    assert digestry("verify").code == 1
    flip(path, 10)
    said = digestry.done("verify")
    assert said.out.startswith(f"RELEASED: {LAYER}")
    assert "released" not in digestry.done("verify", "--json").json


def test_given_digests_are_verified_and_no_others(digestry: Commands) -> None:
    spoil(digestry)
    others = [part.digest for part in IMAGE.blobs if part.digest != LAYER]
    assert digestry.done("verify", *others, "--json").json["blobs"] == 2
    for text in (LAYER, LAYER[:20], LAYER.encoded[:8]):
        assert digestry("verify", text).code == 1


def test_what_was_verified_since_is_left_out(digestry: Commands) -> None:
    assert digestry.done("verify", "--older", "1h", "--json").json["blobs"] == 0
    assert digestry.done("verify", "--older", "1ms", "--json").json["blobs"] == 3


def test_a_repository_is_verified_alone(digestry: Commands) -> None:
    async def fill(registry: Registry) -> None:
        await push(registry, b"elsewhere", RepositoryName("else/where"))

    on(digestry, fill)
    assert digestry.done("verify", "--repository", "else/where", "--json").json["blobs"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sha256:" + "0" * 64], "there is nothing under"),
        ([IMAGE.digest], "there is no blob"),
        (["nonsense"], "digest"),
        (["--repository", "no/such"], "there is no repository"),
        (["--repository", "NO"], "name"),
        (["sha256:" + "0" * 64, "--older", "1h"], "not both"),
        (["sha256:" + "0" * 64, "--repository", "team/app"], "not both"),
    ],
    ids=str,
)
def test_what_is_refused(digestry: Commands, arguments: list[str], words: str) -> None:
    assert words in digestry.refused("verify", *arguments)


def test_a_terminal_shows_a_bar_that_goes_away(digestry: Commands) -> None:
    async def fill(registry: Registry) -> None:
        await push(registry, bytes(3 * 1024 * 1024))

    on(digestry, fill)
    spoil(digestry)
    with at_terminal(["verify", *digestry.flags, "--rate", "4MiB"]) as terminal:
        assert terminal.end() == 1
    bars = re.findall(r"verified \[#*\.*\] \S+ \S?i?B of 3\.0 MiB, \S+ \S+/s, 0:0\d left", terminal.screen)
    assert bars, terminal.screen
    last = terminal.screen.rpartition(CLEAR)[2]
    assert "verified [" not in last and last.strip().endswith("1 wrong")


class Ticking:
    def __init__(self, seconds: float) -> None:
        self._now, self._seconds = 0.0, seconds

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now


@pytest.mark.parametrize(("total", "more"), [(0, {}), (400, {"total": 400})])
def test_elsewhere_a_line_of_json_comes_now_and_then(total: int, more: dict[str, int]) -> None:
    out = io.StringIO()
    with Progress(total, lines=out, clock=Ticking(4)) as progress:
        for done in range(1, 7):
            progress.show("things", done)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines == [{"progress": "things", "done": done, **more, "seconds": 4.0 * done} for done in (3, 6)]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1500 << 20, "1.5 GiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert values.rounded_size(size) == text
