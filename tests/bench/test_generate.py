"""Generated registries are what pushes would have made, of the size that was asked for."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.generate import add_garbage, generate, main
from bench.rows import Made, Rows, images
from bench.shape import Shape, blobs_of, database_of, single_name, tag_name, tagged_name
from registry.assembly import Registry
from registry.content.conditions import Conditions
from registry.content.pushing import Push
from registry.domain.grants import ALL_RIGHTS
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import PageRequest
from tests.races import judge
from tests.support.registry import CALLER, DAY, Clock, execute, opened, pull, push

SHAPE = Shape(blobs=1000, garbage=100, repositories=30, tags=[250, 20])
SHARED = 3
OTHER = RepositoryName("other")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generated")
    generate(root, SHAPE, now=Clock().now)
    return root


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def registry(generated: Path, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    shutil.copytree(generated, tmp_path, dirs_exist_ok=True)
    async with opened(tmp_path, clock) as made:
        yield made
        report = await made.fsck.run(deep=True, progress=lambda *_: None)
        assert (report.problems, report.notes) == ([], [])


async def count(registry: Registry, what: str) -> int:
    ((found,),) = await execute(registry, f"SELECT count(*) FROM {what}")
    return int(found)


def files(root: Path) -> int:
    return len(list(blobs_of(root).glob("sha256/*/*")))


async def test_it_has_what_was_asked_for(registry: Registry, tmp_path: Path) -> None:
    unused = "link WHERE review_at IS NOT NULL AND digest NOT IN (SELECT link_digest FROM ref)"
    assert await count(registry, "blob") == files(tmp_path) == SHAPE.blobs + SHARED
    assert await count(registry, unused) == SHAPE.garbage
    assert await count(registry, "link WHERE review_at IS NOT NULL") == SHAPE.garbage
    assert await count(registry, "repository WHERE name LIKE 'single/%'") == SHAPE.repositories
    for tags in SHAPE.tags:
        here = f"tag WHERE repository_id = (SELECT id FROM repository WHERE name = '{tagged_name(tags)}')"
        assert await count(registry, here) == tags


async def test_images_have_two_to_five_layers_and_share_some(registry: Registry) -> None:
    layers = (
        "SELECT count(*) FROM ref JOIN repository ON repository.id = repository_id"
        " WHERE kind = 'layer' AND name LIKE 'images/%' GROUP BY repository_id, parent"
    )
    counts = [row[0] for row in await execute(registry, layers)]
    assert set(counts) == {2, 3, 4, 5}
    assert sum(counts) + len(counts) > SHAPE.blobs - SHAPE.garbage


@pytest.mark.parametrize("blobs", range(20))
def test_images_use_up_the_blobs(blobs: int) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        made = Made(Rows(connection), Clock().now, lambda phase, done: None)
        images(made, blobs)
        assert made.blobs == blobs


async def test_rows_are_those_of_a_push(registry: Registry) -> None:
    for name, tag in (("images/0001", "v7"), (tagged_name(250), tag_name(249)), (single_name(29), "v1")):
        source = RepositoryName(name)
        stored = await registry.manifests.get(source, Tag(tag))
        named = "SELECT digest FROM ref WHERE parent = ?"
        for (digest,) in await execute(registry, named, stored.digest):
            await push(registry, await pull(registry, Digest(digest), source), OTHER)
        made = Push(OTHER, stored.digest, stored.payload, stored.media_type, [], Conditions())
        await registry.manifests.put(made, CALLER)
        for table, key, times in (("manifest", "digest", {"pushed_at", "keep_until"}), ("ref", "parent", set[str]())):
            ours, theirs = [
                await rows(registry, table, key, stored.digest, one, times | {"repository_id"})
                for one in (source, OTHER)
            ]
            assert ours == theirs


async def rows(
    registry: Registry, table: str, key: str, digest: Digest, name: RepositoryName, without: set[str]
) -> list[tuple[object, ...]]:
    """The rows of a manifest in a repository, but for some columns."""
    columns = [row[1] for row in await execute(registry, f"PRAGMA table_info({table})") if row[1] not in without]
    return await execute(
        registry,
        f"SELECT {', '.join(columns)} FROM {table}"
        f" WHERE {key} = ? AND repository_id = (SELECT id FROM repository WHERE name = ?)",
        digest,
        name,
    )


async def test_a_collection_takes_the_garbage_and_nothing_else(
    registry: Registry, tmp_path: Path, clock: Clock
) -> None:
    assert (await registry.gc.run(lambda: True)).blobs == SHAPE.garbage
    clock.advance(2 * DAY)
    assert (await registry.gc.run(lambda: True)).files == SHAPE.garbage
    assert files(tmp_path) == SHAPE.blobs - SHAPE.garbage + SHARED
    assert judge.garbage(database_of(tmp_path), blobs_of(tmp_path)) == []


async def test_garbage_is_added_beside_a_registry(registry: Registry, tmp_path: Path, clock: Clock) -> None:
    # The clock of the machine is ahead of the test's
    add_garbage(tmp_path, range(5000, 5020), clock.now)
    assert (await registry.gc.run(lambda: True)).blobs == SHAPE.garbage + 20


async def test_names_are_in_order(registry: Registry) -> None:
    page = await registry.tags.list(RepositoryName(tagged_name(250)), PageRequest(100, tag_name(9)))
    assert list(page.entries) == [tag_name(number) for number in range(10, 110)]
    repositories = await registry.catalog.list(PageRequest(10, single_name(4)), ALL_RIGHTS)
    assert list(repositories.entries) == [single_name(number) for number in range(5, 15)]


async def test_garbage_alone(tmp_path: Path, clock: Clock) -> None:
    generate(tmp_path, Shape(blobs=5, garbage=5), now=clock.now)
    async with opened(tmp_path, clock) as registry:
        assert (await registry.gc.run(lambda: True)).blobs == 5


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--blobs", "1", "--garbage", "2"], "--garbage is a part of --blobs"),
        (["--blobs", "1"], "has data already"),
    ],
)
def test_what_it_refuses(
    generated: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    with pytest.raises(SystemExit):
        main(["--root", str(generated), *arguments])
    assert problem in capsys.readouterr().err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path / "new"), "--repositories", "2"]) == 0
    assert str(tmp_path / "new") in capsys.readouterr().out
    assert files(tmp_path / "new") == SHARED
