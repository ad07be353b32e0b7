"""What would be free without a manifest, or a repository: the same as an independent walker says, and as it then is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Connection, insert

from registry.domain.names import Digest, RepositoryName
from registry.metadata.models import blob, link, manifest, ref, repository
from tests.support.digests import BASE, built, pages
from tests.support.registry import CALLER, DAY, NAME, opened, push
from tests.support.shelf import Shelf

OTHER = RepositoryName("other/app")
REPOSITORIES, MANIFESTS, BLOBS = 8, 10, 40


@dataclass
class Held:
    """A repository: what each manifest names, and all blobs that it holds."""

    id: int
    is_live: bool
    hidden: set[Digest] = field(default_factory=set)
    named: dict[Digest, list[Digest]] = field(default_factory=dict)
    children: dict[Digest, list[Digest]] = field(default_factory=dict)
    links: set[Digest] = field(default_factory=set)

    @property
    def name(self) -> str:
        return f"random/{self.id}"


@dataclass
class Content:
    sizes: Mapping[Digest, int]
    repositories: list[Held]

    def used(self, left_out: Held | None = None, left_out_manifest: Digest | None = None) -> set[Digest]:
        """What is held when that repository, or that manifest of it, is gone."""
        found: set[Digest] = set()
        for one in self.repositories:
            if one is not left_out:
                found |= one.links
            elif left_out_manifest is not None:
                unnamed = set(one.named[left_out_manifest])
                for digest in one.named.keys() - {left_out_manifest}:
                    unnamed -= set(one.named[digest])
                found |= one.links - unnamed
        return found

    def freed(self, *left_out: Held | Digest) -> int:
        gone = self.used() - self.used(*left_out)  # type: ignore[arg-type]
        return sum(self.sizes[digest] for digest in gone)


def made(random: Random) -> Content:
    """Layers shared within repositories and between them; some are named twice, some not at all."""
    sizes = {Digest.of(random.randbytes(8)): random.randrange(1, 1000) for _ in range(BLOBS)}
    content = Content(sizes, [Held(number + 1, random.random() < 0.8) for number in range(REPOSITORIES)])
    for one in content.repositories:
        one.links = set(random.sample(sorted(sizes), random.randrange(1, BLOBS // 4)))
        for _ in range(random.randrange(MANIFESTS)):
            digest = Digest.of(random.randbytes(8))
            one.named[digest] = random.choices(sorted(one.links), k=random.randrange(5))
            one.children[digest] = random.sample(sorted(one.children), min(len(one.children), random.randrange(3)))
            if random.random() < 0.2:
                one.hidden.add(digest)
    return content


def store(connection: Connection, content: Content) -> None:
    values = {"state": "ok", "created_at": 0, "verified_at": 0}
    connection.execute(insert(blob), [{"digest": d, "key": d, "size": s} | values for d, s in content.sizes.items()])
    for one in content.repositories:
        deleted_at = None if one.is_live else 1
        connection.execute(insert(repository).values(id=one.id, name=one.name, created_at=0, deleted_at=deleted_at))
        times = {"linked_at": 0, "keep_until": 0}
        connection.execute(insert(link), [{"repository_id": one.id, "digest": digest} | times for digest in one.links])
        for digest in one.named:
            connection.execute(insert(manifest).values(**row(one, digest)))
            refs = [*refs_of(one, digest)]
            if refs:
                connection.execute(insert(ref), refs)


def row(one: Held, digest: Digest) -> dict[str, object]:
    texts = dict.fromkeys(("media_type", "annotations"), "")
    numbers = dict.fromkeys(("size", "content_size", "depth", "pushed_at", "keep_until"), 0)
    hidden = {"deleted_at": 1 if digest in one.hidden else None}
    return {"repository_id": one.id, "digest": digest, "payload": b"", **texts, **numbers, **hidden}


def refs_of(one: Held, parent: Digest) -> Iterator[dict[str, object]]:
    parts = [("layer", digest) for digest in one.named[parent]] + [("child", digest) for digest in one.children[parent]]
    for position, (kind, digest) in enumerate(parts):
        yield {
            "repository_id": one.id,
            "parent": parent,
            "position": position,
            "kind": kind,
            "digest": digest,
            "media_type": "",
            "size": 0,
            "link_digest": digest if kind == "layer" else None,
            "manifest_digest": digest if kind == "child" else None,
        }


@pytest.mark.parametrize("seed", range(6))
async def test_it_is_what_a_walker_says(tmp_path: Path, seed: int) -> None:
    content = made(Random(seed))
    async with opened(tmp_path) as registry:
        await registry.database.write(store, content)
        for digest in content.sizes:
            expected = {
                (one.name, parent): content.freed(one, parent)
                for one in content.repositories
                for parent in one.named.keys() - one.hidden
                if one.is_live and digest in one.named[parent]
            }
            holding = chain(*await pages(partial(registry.digests.manifests, digest, None), 3))
            assert {(one.repository, one.digest): one.frees for one in holding} == expected
            repositories = chain(*await pages(partial(registry.digests.repositories, digest, None), 3))
            assert {one.repository: one.frees for one in repositories} == {
                one.name: content.freed(one) for one in content.repositories if one.is_live and digest in one.links
            }


async def test_it_is_what_the_garbage_collection_then_takes(shelf: Shelf) -> None:
    alone = await built(shelf, "a")
    await built(shelf, "b", "b")
    await built(shelf, "c", "c", name=OTHER)
    await push(shelf.registry, b"layer of c")
    await settled(shelf)
    (page,) = await pages(partial(shelf.registry.digests.manifests, Digest.of(BASE), None), 100)
    frees = {one.digest: one.frees for one in page}
    await shelf.delete(alone)
    assert await settled(shelf) == frees[alone] > len(b"layer of a")
    (page_of_repositories,) = await pages(partial(shelf.registry.digests.repositories, Digest.of(BASE), None), 100)
    by_name = {one.repository: one.frees for one in page_of_repositories}
    await shelf.registry.repositories.delete(NAME, CALLER)
    assert await settled(shelf) == by_name[NAME] > 0
    await shelf.registry.repositories.delete(OTHER, CALLER)
    assert await settled(shelf) == by_name[OTHER] + len(BASE)


async def settled(shelf: Shelf) -> int:
    """The bytes that go when trash and leases are over."""
    doomed = 0
    for _ in range(3):
        shelf.clock.advance(15 * DAY)
        doomed += (await shelf.registry.gc.run(lambda: True)).doomed_bytes
    return doomed
