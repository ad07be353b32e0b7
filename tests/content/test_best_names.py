"""What a digest is called."""

import pytest

from registry.content import best_names
from registry.domain.names import Digest, RepositoryName
from tests.support.digests import BASE, built, only
from tests.support.images import OCI, descriptor, index_manifest, platform_of
from tests.support.registry import NAME, push
from tests.support.shelf import Shelf

mine = only(NAME)


async def name_of(shelf: Shelf, digest: Digest) -> str | None:
    return (await shelf.registry.digests.get(digest, mine)).name


@pytest.mark.parametrize(
    ("given", "best"),
    [
        (["latest", "1.2.3", "stable"], "1.2.3"),
        (["latest", "main", "dev"], "dev"),  # all at once: the shortest
        (["latest"], "latest"),
    ],
)
async def test_a_manifest_is_called_by_its_best_tag(shelf: Shelf, given: list[str], best: str) -> None:
    assert await name_of(shelf, await built(shelf, "a", *given)) == f"{NAME}:{best}"


async def test_without_any_tag_it_is_called_by_its_digest(shelf: Shelf) -> None:
    digest, loose = await built(shelf, "a"), await push(shelf.registry, b"loose")
    assert await name_of(shelf, digest) == f"{NAME}@{digest}"
    assert await name_of(shelf, Digest.of(BASE)) == f"{NAME}@{Digest.of(BASE)}"
    assert await name_of(shelf, loose) == f"{NAME}@{loose}"


async def test_the_tag_that_moved_last_wins_and_a_deleted_one_is_none(shelf: Shelf) -> None:
    digest = await built(shelf, "a", "old")
    await shelf.point(digest, "newer")
    assert await name_of(shelf, digest) == f"{NAME}:newer"
    await shelf.delete("newer")
    assert await name_of(shelf, digest) == f"{NAME}:old"


async def test_parts_of_an_index_are_called_by_it(shelf: Shelf) -> None:
    child = await built(shelf, "a")
    inner = await shelf.index([child])
    outer = index_manifest([await described(shelf, inner), await described(shelf, child, platform="linux/riscv64")])
    assert await name_of(shelf, child) == f"{NAME}@{child}"
    top = await shelf.put(outer, "v1", media_type=OCI.index)
    assert await name_of(shelf, top) == f"{NAME}:v1"
    assert await name_of(shelf, child) == f"{NAME}:v1 (linux/riscv64)"
    assert await name_of(shelf, inner) == f"{NAME}:v1 ({inner[:19]})"
    assert await name_of(shelf, Digest.of(b"layer of a")) == f"{NAME}:v1 (linux/riscv64)"
    deep = await built(shelf, "deep")
    await shelf.index([await shelf.index([deep])], "v3")
    assert await name_of(shelf, deep) == f"{NAME}:v3 (linux/amd64)"
    own = await built(shelf, "b")
    await shelf.index([own], "v2")
    assert await name_of(shelf, own) == f"{NAME}:v2 (linux/amd64)"  # its config says so
    await shelf.point(own, "latest")
    assert await name_of(shelf, own) == f"{NAME}:latest"


async def described(shelf: Shelf, digest: Digest, platform: str = "") -> dict[str, object]:
    found = await shelf.registry.manifests.get(NAME, digest)
    extra = {"platform": platform_of(platform)} if platform else {}
    return descriptor(found.media_type, found.payload, **extra)


async def test_only_so_many_are_looked_at(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(best_names, "LOOKED_AT", 2)
    parents = sorted([await built(shelf, f"{n}") for n in range(4)])
    await shelf.point(parents[3], "v1")
    assert await name_of(shelf, Digest.of(BASE)) == f"{NAME}@{Digest.of(BASE)}"
    await shelf.point(parents[1], "v2")
    assert await name_of(shelf, Digest.of(BASE)) == f"{NAME}:v2"


async def test_the_best_name_of_all_repositories_that_one_may_pull(shelf: Shelf) -> None:
    other, third = RepositoryName("other/app"), RepositoryName("third/app")
    for name, tag in ((NAME, "main"), (other, "1.0.0"), (third, "2.0.0")):
        digest = await built(shelf, "a", tag, name=name)
    callers = (mine, only(NAME, other), only(NAME, other, third))
    names = [(await shelf.registry.digests.get(digest, caller)).name for caller in callers]
    assert names == [f"{NAME}:main", f"{other}:1.0.0", f"{third}:2.0.0"]
