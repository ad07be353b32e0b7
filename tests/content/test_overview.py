"""What lists show of repositories and tags, and that they look at no more than they must."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, event

from registry.assembly import Registry
from registry.content import catalog, overview
from registry.domain.access import OPERATOR
from registry.domain.grants import NO_RIGHTS, Grant, Pattern, Rights, parse_verbs
from registry.domain.names import RepositoryName
from registry.domain.paging import PageRequest
from registry.domain.problems import Missing
from registry.metadata import overview as queries
from tests.support.filling import put, put_artifact, put_manifest
from tests.support.images import OCI, Image, descriptor, image, index, index_manifest, platform_of
from tests.support.registry import CALLER, NAME, Clock, opened, push

ALL = OPERATOR.rights


@pytest_asyncio.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with opened(tmp_path, Clock()) as registry:
        yield registry


def sizes(*images: Image) -> int:
    """Of all their blobs, each once."""
    return sum({part.digest: len(part.data) for one in images for part in one.blobs}.values())


async def names(registry: Registry, rights: Rights = ALL, part: str = "") -> list[str]:
    return [found.name for found in (await registry.overview.repositories(PageRequest(), rights, part)).entries]


async def test_a_repository_counts_tags_and_each_blob_once(tmp_path: Path) -> None:
    clock = Clock()
    one, two = image("one"), image("two")
    async with opened(tmp_path, clock) as registry:
        await put(registry, NAME, "v1", one)
        await put(registry, NAME, "v2", two)
        clock.advance(1000)
        await put(registry, NAME, "v1-again", one)
        found = await registry.overview.repository(NAME)
        assert (found.tags, found.size, found.moved_at) == (3, sizes(one, two), clock.now)
        assert not found.more_tags and not found.more_size
        assert (await registry.overview.repositories(PageRequest(), ALL)).entries == [found]


async def test_blobs_that_were_deleted_do_not_count(registry: Registry) -> None:
    digest = await push(registry, b"loose")
    await registry.blobs.delete(NAME, digest, CALLER)
    found = await registry.overview.repository(NAME)
    assert (found.tags, found.size, found.moved_at) == (0, 0, None)


async def test_no_more_than_a_thousand_are_counted(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "COUNTED", 3)
    await put(registry, NAME, "v1", image("one"))  # three blobs
    await put_manifest(registry, NAME, image("one").manifest, OCI.manifest, "v2", "v3")
    found = await registry.overview.repository(NAME)
    assert (found.tags, found.more_tags, found.more_size) == (3, False, False)
    assert found.moved_at is not None
    await put_manifest(registry, NAME, image("one").manifest, OCI.manifest, "v4")
    await push(registry, b"one more")
    found = await registry.overview.repository(NAME)
    assert (found.tags, found.more_tags, found.more_size, found.moved_at) == (3, True, True, None)


async def test_repositories_are_those_that_may_be_pulled(registry: Registry) -> None:
    for name in ("a", "team/a", "team/b/c", "teams/x", "z"):
        await put(registry, name, "v1", image("one"))
    await push(registry, b"no manifest yet", RepositoryName("team/empty"))
    granted = [("team/**", "pull"), ("z", "push"), ("a", "admin")]
    rights = Rights([Grant("user:alice", Pattern(pattern), parse_verbs([verb])) for pattern, verb in granted])
    assert await names(registry) == ["a", "team/a", "team/b/c", "teams/x", "z"]
    assert await names(registry, rights) == ["a", "team/a", "team/b/c"]
    assert await names(registry, NO_RIGHTS) == []


async def test_pages_hold_each_repository_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "ROWS", 2)
    wanted = [f"team/r{number}" for number in range(7)]
    for name in wanted:
        await put(registry, name, "v1", image("one"))
    found, last, lengths = [], "", []
    while True:
        page = await registry.overview.repositories(PageRequest(3, last), ALL, "R")
        found += [one.name for one in page.entries]
        lengths.append(len(page.entries))
        if page.next_last is None:
            break
        last = page.next_last
    assert (found, lengths) == (wanted, [3, 3, 1])


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("app", ["team/app", "team/app_2"]),
        ("APP", ["team/app", "team/app_2"]),
        ("m/a", ["team/app", "team/app_2"]),
        ("_", ["team/app_2"]),
        (".", ["team/x.y"]),
        ("%", []),
        ("t%p", []),
        ("'", []),
        ("' OR 1=1 --", []),
        ("\\", []),
        ("\0", []),
        ("*", []),
        ("(a+)+$", []),
        ("a" * 100_000, []),
        ("é", []),
    ],
)
async def test_a_part_of_a_name_is_taken_literally(registry: Registry, part: str, found: list[str]) -> None:
    for name in ("team/app", "team/app_2", "team/x.y"):
        await put(registry, name, "v1", image("one"))
    assert await names(registry, part=part) == found


async def test_tags_tell_what_they_point_to(tmp_path: Path) -> None:
    clock = Clock()
    single, multi = image("single", platform="linux/arm/v7"), index("multi")
    async with opened(tmp_path, clock) as registry:
        digests = [await put(registry, NAME, "image", single), await put(registry, NAME, "index", multi)]
        digests.insert(0, await put_artifact(registry, NAME, "chart", "application/vnd.example.chart+json"))
        found = (await registry.overview.tags(NAME, PageRequest())).entries
    assert [one.digest for one in found] == digests
    assert [(one.name, one.kind, list(one.platforms)) for one in found] == [
        ("chart", "artifact", []),
        ("image", "image", ["linux/arm/v7"]),
        ("index", "index", ["linux/amd64", "linux/arm64"]),
    ]
    assert [one.size for one in found] == [len(b"{}chart"), sizes(single), sizes(*multi.images)]
    assert {(one.moved_at, one.moved_by) for one in found} == {(clock.now, CALLER.identity.name)}
    assert found[0].artifact_type == "application/vnd.example.chart+json"


async def test_an_index_words_its_platforms(registry: Registry) -> None:
    """Each once; what it does not say, its image does; attestations run nowhere."""
    unsaid, said, attestation = image("unsaid", platform="linux/s390x"), image("said"), image("attestation")
    entries = [
        descriptor(OCI.manifest, unsaid.manifest),
        descriptor(OCI.manifest, said.manifest, platform=platform_of("windows/amd64")),
        descriptor(OCI.manifest, said.manifest, platform=platform_of("windows/amd64")),
        descriptor(OCI.manifest, attestation.manifest, platform=platform_of("unknown/unknown")),
    ]
    for one in (unsaid, said, attestation):
        await put(registry, NAME, "child", one)
    await put_manifest(registry, NAME, index_manifest(entries), OCI.index, "a")
    found = (await registry.overview.tags(NAME, PageRequest(1))).entries[0]
    assert (found.name, list(found.platforms)) == ("a", ["linux/s390x", "windows/amd64"])
    assert found.size == sizes(unsaid) + sizes(said) + sizes(attestation)


async def test_an_index_of_blobs_has_their_size(registry: Registry) -> None:
    """Build caches are such ones."""
    blobs = [b"one", b"three"]
    for data in blobs:
        await push(registry, data)
    cache = index_manifest([descriptor("application/vnd.buildkit.cacheconfig.v0", data) for data in blobs])
    await put_manifest(registry, NAME, cache, OCI.index, "cache")
    found = (await registry.overview.tags(NAME, PageRequest())).entries[0]
    assert (found.kind, found.size, list(found.platforms)) == ("index", 8, [])


async def test_tags_come_in_pages(registry: Registry) -> None:
    await put(registry, NAME, "v0", image("one"))
    await put_manifest(registry, NAME, image("one").manifest, OCI.manifest, *(f"v{number}" for number in range(1, 5)))
    page = await registry.overview.tags(NAME, PageRequest(2, "v0"))
    assert ([one.name for one in page.entries], page.next_last) == (["v1", "v2"], "v2")
    page = await registry.overview.tags(NAME, PageRequest(2, "v2"))
    assert ([one.name for one in page.entries], page.next_last) == (["v3", "v4"], None)


async def test_a_repository_that_is_not_there(registry: Registry) -> None:
    with pytest.raises(Missing):
        await registry.overview.repository(NAME)
    with pytest.raises(Missing):
        await registry.overview.tags(NAME, PageRequest())


def plans(connection: Connection, query: Any, *values: Any) -> list[str]:
    """How SQLite goes about each statement of a query."""
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        query(connection, *values)
    finally:
        event.remove(connection, "before_cursor_execute", note)
    assert statements
    return [
        row[3]
        for statement, parameters in statements
        for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (catalog.pullable, (PageRequest(50), ALL)),
        (catalog.pullable, (PageRequest(50, "team"), ALL, "a")),
        (overview._repository, (NAME,)),
        (overview._tags, (NAME, PageRequest(100, "a"))),
    ],
    ids=["repositories", "filter", "repository", "tags"],
)
async def test_no_query_looks_through_a_table(registry: Registry, query: Any, values: tuple[Any, ...]) -> None:
    """What is limited within a statement (COUNTED) is counted by a scan of just that."""
    await put(registry, NAME, "v1", index("multi"))
    steps = await registry.database.read(plans, query, *values)
    scans = [step for step in steps if step.startswith("SCAN") and not re.match(r"SCAN \(?(anon|subquery)", step)]
    assert (scans, [step for step in steps if "TEMP B-TREE" in step]) == ([], [])
    assert any(step.startswith("SEARCH") for step in steps)
