"""What is known of a digest, and who gets to know it."""

from contextlib import suppress
from functools import partial
from itertools import chain, product
from pathlib import Path

import pytest

from registry.content.conditions import Conditions
from registry.content.digests import Digests
from registry.content.pushing import Push
from registry.domain.names import Digest, RepositoryName
from registry.domain.paging import PageRequest
from registry.domain.problems import Conflict, Invalid, Missing
from registry.metadata import pointings
from tests.support.digests import BASE, built, only, pages, twins
from tests.support.images import OCI, image_config, image_manifest
from tests.support.registry import CALLER, DAY, NAME, execute, opened, push
from tests.support.shelf import Shelf

OTHER = RepositoryName("other/app")
NOW = 1_700_000_000_000
mine = only(NAME)


async def tags(shelf: Shelf, digest: Digest, *, ever: bool = False) -> list[str]:
    found = await pages(partial(shelf.registry.digests.tags, digest, None, ever=ever), 100)
    return [f"{one.repository}:{one.tag}" for one in chain(*found)]


async def test_a_digest_is_known_by_its_beginning(shelf: Shelf) -> None:
    digest = await push(shelf.registry, b"blob")
    for text in (digest, digest[:15], digest.encoded, digest.encoded[:8], digest.encoded[:40]):
        assert await shelf.registry.digests.resolve(text, mine) == digest
    with pytest.raises(Missing):
        await shelf.registry.digests.resolve("0" * 8, mine)
    with pytest.raises(Invalid):
        await shelf.registry.digests.resolve(digest[:14], mine)


async def test_without_an_algorithm_it_may_be_either_one(shelf: Shelf) -> None:
    payload = image_manifest(b"{}", [])
    await push(shelf.registry, b"{}")
    digest = Digest.of(payload, "sha512")
    await shelf.registry.manifests.put(Push(NAME, digest, payload, OCI.manifest, [], Conditions()), CALLER)
    assert await shelf.registry.digests.resolve(digest.encoded[:8], mine) == digest
    with pytest.raises(Missing):
        await shelf.registry.digests.resolve(f"sha256:{digest.encoded[:8]}", mine)


async def test_a_beginning_of_several_is_told_with_those_that_one_may_pull(shelf: Shelf) -> None:
    one, two = [await push(shelf.registry, data, name) for data, name in zip(twins(), (NAME, OTHER), strict=True)]
    digests, start = shelf.registry.digests, one[:15]
    assert await digests.resolve(start, mine) == one
    assert await digests.resolve(start, only(OTHER)) == two
    for caller in (only(NAME, OTHER), None):
        with pytest.raises(Conflict) as refused:
            await digests.resolve(start, caller)
        assert refused.value.detail == f"{start} may be {', '.join(sorted([one, two]))}; give more digits"
    with pytest.raises(Missing):
        await digests.resolve(start, only("nothing"))
    assert await digests.resolve(two, None) == two


async def test_of_many_five_are_named(tmp_path: Path) -> None:
    async with opened(tmp_path) as registry:
        await push(registry, b"blob")
        many = [f"sha256:{'ab' * 31}{number:02}" for number in range(7)]
        for digest in many:
            await execute(registry, "INSERT INTO blob VALUES (?, ?, 1, 'ok', 0, 0)", digest, digest)
            await execute(registry, "INSERT INTO link VALUES (1, ?, 0, 0, NULL, NULL)", digest)
        with pytest.raises(Conflict) as refused:
            await registry.digests.resolve("abababab", mine)
        assert f"{', '.join(many[:5])}, and more;" in refused.value.detail
        assert many[5] not in refused.value.detail


async def test_whoever_sees_everything_sees_what_is_hidden(shelf: Shelf) -> None:
    digests = shelf.registry.digests
    hidden, loose = await shelf.image("hidden", "v1"), await push(shelf.registry, b"loose")
    await execute(shelf.registry, "UPDATE blob SET state = 'quarantined' WHERE digest = ?", loose)
    assert (await digests.get(loose, mine)).state == "quarantined"
    await shelf.delete(hidden)
    with pytest.raises(Missing):
        await digests.resolve(hidden, mine)
    assert await digests.resolve(hidden[:15], None) == hidden
    await shelf.registry.repositories.delete(NAME, CALLER)
    for digest in (hidden, loose):
        with pytest.raises(Missing):
            await digests.resolve(digest, mine)
        assert (await digests.get(await digests.resolve(digest[:15], None), None)).name is None
    assert (await digests.get(hidden, None)).kinds == ["manifest"]
    await execute(shelf.registry, "UPDATE blob SET state = 'ok'")


async def test_a_summary_of_a_manifest_and_of_a_blob(shelf: Shelf) -> None:
    digest = await built(shelf, "a", "v1", platform="linux/arm64")
    found = await shelf.registry.digests.get(digest, mine)
    assert (found.kinds, found.media_type, found.platform, found.name) == (
        *(["manifest"], OCI.manifest, "linux/arm64", f"{NAME}:v1"),
    )
    assert (found.state, found.verified_at) == ("ok", None)
    layer = await shelf.registry.digests.get(Digest.of(BASE), mine)
    assert (layer.kinds, layer.media_type, layer.platform, layer.size) == (["blob"], OCI.layer, None, len(BASE))
    assert (layer.state, layer.verified_at, layer.name) == ("ok", NOW, f"{NAME}:v1")


async def test_what_is_both_is_told_as_both_to_whoever_may_pull_both(shelf: Shelf) -> None:
    payload = image_manifest(b"{}", [])
    await push(shelf.registry, b"{}")
    digest = await shelf.put(payload, "v1")
    await push(shelf.registry, payload, OTHER)
    kinds = [
        (await shelf.registry.digests.get(digest, caller)).kinds for caller in (mine, only(OTHER), only(NAME, OTHER))
    ]
    assert kinds == [["manifest"], ["blob"], ["manifest", "blob"]]


async def test_tags_of_a_manifest_are_its_own(shelf: Shelf) -> None:
    child = await built(shelf, "a", "one", "two")
    await shelf.index([child], "all")
    await built(shelf, "a", "one", name=OTHER)
    assert await tags(shelf, child) == [f"{NAME}:one", f"{NAME}:two", f"{OTHER}:one"]
    (page,) = await pages(partial(shelf.registry.digests.tags, child, mine, ever=False), 100)
    assert [(one.digest, one.since, one.until) for one in page] == [(child, NOW, None)] * 2


async def test_tags_of_a_blob_are_those_of_all_that_holds_it_each_once(shelf: Shelf) -> None:
    children = [await built(shelf, "a", "a"), await built(shelf, "b")]
    inner = await shelf.index(children, "inner")
    await shelf.index([inner, children[0]], "outer")
    await shelf.image("alien", "alien")
    await built(shelf, "c", "c", name=OTHER)
    assert await tags(shelf, Digest.of(BASE)) == [f"{NAME}:{tag}" for tag in ("a", "inner", "outer")] + [f"{OTHER}:c"]
    assert await tags(shelf, Digest.of(b"layer of b")) == [f"{NAME}:inner", f"{NAME}:outer"]


async def test_tags_that_ever_pointed_somewhere(shelf: Shelf) -> None:
    first = await built(shelf, "a", "v")
    began = shelf.clock.now - 1
    second = await built(shelf, "b", "v")
    moved = shelf.clock.now - 1
    await shelf.point(first, "v")
    back = shelf.clock.now - 1
    entry = await shelf.delete("v")
    gone = shelf.clock.now - 1
    (page,) = await pages(partial(shelf.registry.digests.tags, first, mine, ever=True), 100)
    assert [(one.tag, one.digest, one.since, one.until) for one in page] == [
        ("v", first, began, moved),
        ("v", first, back, gone),
    ]
    assert await tags(shelf, first) == []
    assert await tags(shelf, second, ever=True) == [f"{NAME}:v"]
    (page,) = await pages(partial(shelf.registry.digests.tags, Digest.of(BASE), mine, ever=True), 100)
    assert [one.digest for one in page] == [first, second, first]
    await shelf.point(second, "v")
    await shelf.registry.trash.purge(entry.id, CALLER)  # of the deletion before
    (page,) = await pages(partial(shelf.registry.digests.tags, second, mine, ever=True), 100)
    assert [one.until for one in page] == [back, None]


async def test_the_past_of_what_is_gone_is_known_where_it_was(shelf: Shelf) -> None:
    digest = await built(shelf, "a", "v")
    await shelf.delete(digest)
    for _ in range(3):
        shelf.clock.advance(15 * DAY)
        await shelf.registry.gc.run(lambda: True)
    with pytest.raises(Missing):
        await shelf.registry.digests.resolve(digest[:15], mine)
    assert await shelf.registry.digests.resolve(digest[:15], mine, ever=True) == digest
    with pytest.raises(Missing):
        await shelf.registry.digests.resolve(digest[:15], only(OTHER), ever=True)
    assert await tags(shelf, digest, ever=True) == [f"{NAME}:v"]


async def test_manifests_that_name_a_digest(shelf: Shelf) -> None:
    image_of_a, image_of_b = await built(shelf, "a", "v1"), await built(shelf, "b")
    both = await shelf.index([image_of_a, image_of_b])
    hidden = await built(shelf, "hidden")
    await shelf.delete(hidden)
    (page,) = await pages(partial(shelf.registry.digests.manifests, Digest.of(BASE), mine), 100)
    assert {(one.repository, one.digest, one.name) for one in page} == {
        (NAME, image_of_a, f"{NAME}:v1"),
        (NAME, image_of_b, f"{NAME}@{image_of_b}"),
    }
    assert {one.platform for one in page} == {"linux/amd64"}
    (page,) = await pages(partial(shelf.registry.digests.manifests, image_of_a, mine), 100)
    assert [(one.digest, one.media_type, one.frees) for one in page] == [(both, OCI.index, 0)]


@pytest.mark.parametrize("few", [0, 1000])
async def test_long_lists_come_in_pages_each_entry_once(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Whether tags are looked up, or looked through since too much holds the blob."""
    expected = []
    for name in (NAME, OTHER):
        children = [await built(shelf, f"{n}", f"v{n}", f"w{n}", name=name) for n in range(4)]
        await shelf.index(children, "all", name=name)
        await shelf.image("alien", "alien", "v", name=name)
        expected += [(name, tag) for tag in sorted(["all", *(f"{letter}{n}" for letter in "vw" for n in range(4))])]
    monkeypatch.setattr(pointings, "FEW", few)
    monkeypatch.setattr(pointings, "WALKED", 3)
    monkeypatch.setattr("registry.content.digests.TAGS_A_PAGE", 4)
    monkeypatch.setattr("registry.content.digests.LINKS_A_PAGE", 3)
    digests, base = shelf.registry.digests, Digest.of(BASE)
    for limit, ever in product([1, 2, 3, 7, 100], [False, True]):
        found = await pages(partial(digests.tags, base, None, ever=ever), limit)
        assert [(one.repository, one.tag) for one in chain(*found)] == expected
    assert (len(found) > 1) == (few == 0)  # a page ends where too much was looked through
    for limit in (1, 3, 8):
        manifests = [*chain(*await pages(partial(digests.manifests, base, None), limit))]
        assert len({(one.repository, one.digest) for one in manifests}) == 8 == len(manifests)
        repositories = await pages(partial(digests.repositories, base, None), limit)
        assert [[one.repository for one in page] for page in repositories] == [[NAME], [OTHER]]


@pytest.mark.parametrize("after", ["x", "1", "-1//0", "1/a", "1/ä/0", f"{'9' * 19}//0", "1/a/b", "1//0/"])
async def test_a_page_starts_where_one_ended(shelf: Shelf, after: str) -> None:
    digests, base = shelf.registry.digests, await push(shelf.registry, BASE)
    page = PageRequest(10, after)
    with pytest.raises(Invalid):
        await digests.tags(base, None, page, ever=False)
    with pytest.raises(Invalid):
        await digests.manifests(base, None, page)


async def test_nobody_learns_of_what_they_may_not_pull(shelf: Shelf) -> None:
    """Names, tags, times, kinds: whatever is asked, and with whatever beginning."""
    mine_too = await built(shelf, "a", "zz", name=NAME)
    for name, tag in ((RepositoryName("a/before"), "1.0.0"), (RepositoryName("z/behind"), "9.0.0")):
        await built(shelf, "a", tag, name=name)
        await built(shelf, f"alone in {name}", "v1", name=name)
        await shelf.index([await built(shelf, "a", name=name)], "2.0.0", name=name)
    rows = await execute(shelf.registry, "SELECT digest FROM blob UNION SELECT digest FROM manifest")
    answers = {digest: await asked(shelf.registry.digests, Digest(digest)) for (digest,) in rows}
    seen = {digest for digest, told in answers.items() if told}
    assert seen == {mine_too, Digest.of(BASE), Digest.of(b"layer of a"), Digest.of(image_config(["a"]))}
    text = repr(answers)
    assert f"{NAME}:zz" in text
    assert [word for word in ("before", "behind", ".0.0", "alone") if word in text] == []


async def asked(digests: Digests, digest: Digest) -> list[object]:
    """All that somebody is told who may pull from NAME; nothing of a digest that is not there."""
    told: list[object] = []
    with suppress(Missing):
        assert await digests.resolve(digest[:15], mine) == digest
        told.append(await digests.get(digest, mine))
    for ever in (False, True):
        told += await pages(partial(digests.tags, digest, mine, ever=ever), 1)
    told += await pages(partial(digests.manifests, digest, mine), 1)
    told += await pages(partial(digests.repositories, digest, mine), 1)
    return [one for one in told if one]
