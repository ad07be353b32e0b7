"""What went wrong once: found by the model or while it was written."""

from pathlib import Path

import pytest

from registry.assembly import Registry
from registry.content.conditions import Conditions
from registry.content.pushing import Push
from registry.domain.access import ANYBODY
from registry.domain.errors import Unsupported
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import PageRequest
from registry.domain.problems import Missing
from tests.model.content import Content, Document, image, index
from tests.support.registry import CALLER, DAY, NAME, Clock, execute, opened, pull, push

V1 = Tag("v1")
ONE = image(Content.BRACES, [])


async def put(registry: Registry, document: Document, tag: Tag | None = None) -> Digest:
    digest = Digest(document.digest)
    manifest = Push(NAME, tag or digest, document.payload, document.media_type, (tag,) if tag else (), Conditions())
    return (await registry.manifests.put(manifest, CALLER)).digest


async def collect(registry: Registry) -> None:
    await registry.uploads.expire()
    await registry.gc.run(lambda: True)


async def test_an_index_pushed_again_is_as_deep_as_its_children_are_by_now(tmp_path: Path) -> None:
    """A child that was held as a blob has no depth: else indexes could be nested without limit."""
    inner = index([ONE])
    outer = index([inner])
    async with opened(tmp_path) as registry:
        for data in (b"{}", ONE.payload, inner.payload):
            await push(registry, data)
        depth = "SELECT depth FROM manifest WHERE digest = ?"
        digest = await put(registry, outer)
        assert await execute(registry, depth, digest) == [(0,)]
        await put(registry, ONE)
        await put(registry, inner)
        assert await put(registry, outer) == digest
        assert await execute(registry, depth, digest) == [(2,)]


async def test_a_blob_goes_that_an_index_named_until_it_was_pushed_again(tmp_path: Path) -> None:
    """The collection had found it needed, and did not look at it any more."""
    clock = Clock()
    async with opened(tmp_path, clock) as registry:
        for data in (b"{}", ONE.payload):
            await push(registry, data)
        await put(registry, index([ONE]))
        clock.advance(2 * DAY)
        await collect(registry)
        await push(registry, b"{}")
        await put(registry, ONE)
        await put(registry, index([ONE]))
        clock.advance(2 * DAY)
        await collect(registry)
        assert await execute(registry, "SELECT digest FROM link WHERE digest = ?", ONE.digest) == []


async def test_a_new_repository_has_no_past(tmp_path: Path) -> None:
    """SQLite gave the id of the last one again, once its row was gone."""
    clock = Clock()
    async with opened(tmp_path, clock) as registry:
        await push(registry, b"{}")
        await put(registry, ONE, V1)
        await registry.trash.purge((await registry.repositories.delete(NAME, CALLER)).id, CALLER)
        for _ in range(2):
            clock.advance(30 * DAY)
            await collect(registry)
        await push(registry, b"{}", RepositoryName("other"))
        with pytest.raises(Missing):
            await registry.history.of_tag(RepositoryName("other"), V1, PageRequest())


async def test_an_index_that_two_repositories_hold_comes_back_with_what_it_needs(tmp_path: Path) -> None:
    """It needed a blob in the newer one, and that stayed deleted."""
    async with opened(tmp_path, Clock()) as registry:
        await push(registry, b"{}")
        await put(registry, ONE)
        await put(registry, index([ONE]), V1)
        entry = await registry.repositories.delete(NAME, CALLER)
        for data in (b"{}", ONE.payload):
            await push(registry, data)
        await put(registry, index([ONE]))
        await registry.manifests.delete(NAME, Digest(index([ONE]).digest), Conditions(), CALLER)
        await registry.blobs.delete(NAME, Digest(ONE.digest), CALLER)
        await registry.trash.restore(entry.id, CALLER)
        await registry.manifests.delete(NAME, V1, Conditions(), CALLER)
        with pytest.raises(Unsupported, match="part of index"):
            await registry.manifests.delete(NAME, Digest(ONE.digest), Conditions(), CALLER)


async def test_a_manifest_that_was_deleted_twice_can_be_restored_as_long_as_the_later_entry_says(
    tmp_path: Path,
) -> None:
    clock = Clock()
    digest = Digest(ONE.digest)
    async with opened(tmp_path, clock) as registry:
        await push(registry, b"{}")
        await put(registry, ONE)
        await registry.manifests.delete(NAME, digest, Conditions(), CALLER)
        repository = await registry.repositories.delete(NAME, CALLER)
        clock.advance(13 * DAY)
        await push(registry, b"{}")
        await put(registry, ONE)
        await registry.manifests.delete(NAME, digest, Conditions(), CALLER)
        await registry.trash.restore(repository.id, CALLER)
        clock.advance(2 * DAY)
        await collect(registry)
        (entry,) = (await registry.trash.list(PageRequest(), ANYBODY.rights, NAME)).entries
        await registry.trash.restore(entry.id, CALLER)
        assert (await registry.manifests.get(NAME, digest)).payload == ONE.payload
        assert await pull(registry, Digest.of(b"{}", "sha256")) == b"{}"
