"""Tags and manifests that are deleted: what goes along, and how it all comes back."""

import pytest

from registry.content.conditions import Conditions
from registry.domain.access import OPERATOR, Caller, Identity
from registry.domain.errors import BlobUnknown, Denied, ManifestUnknown, Unsupported
from registry.domain.grants import Grant, Pattern, Rights, parse_verbs
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import PageRequest
from registry.domain.problems import Conflict, Invalid, Missing
from registry.metadata.trash import Entry
from tests.support.images import image
from tests.support.registry import CALLER, DAY, NAME, execute, pull
from tests.support.shelf import Shelf

OTHER = RepositoryName("team/other")


def rights(verbs: str, *patterns: str) -> Rights:
    return Rights([Grant("user:x", Pattern.parse(pattern), parse_verbs(verbs.split(","))) for pattern in patterns])


def caller(held: Rights) -> Caller:
    return Caller(Identity("user:x", held, is_known=True), "request")


def what(entries: list[Entry]) -> list[tuple[str, str | None]]:
    """Kind, and tag or digest."""
    return [(entry.kind, entry.tag or entry.digest) for entry in entries]


async def along(shelf: Shelf, entry: Entry) -> list[Entry]:
    return list((await shelf.registry.trash.taken_along(entry.id)).entries)


# --- what a deletion takes -----------------------------------------------------------------------------------------


async def test_a_tag_goes_alone(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a", "b")
    entry = await shelf.delete("a")
    assert (entry.kind, entry.tag, entry.digest, entry.deleted_by) == ("tag", "a", digest, CALLER.identity.name)
    assert (entry.deleted_at, entry.is_live, entry.act) == (shelf.clock.now - 1, True, None)
    assert (await shelf.tags(), await shelf.live()) == ({"b": digest}, {digest})
    assert (await shelf.events())[0] == ("tag.delete", NAME, "a", digest, None)


async def test_a_manifest_takes_its_tags_and_untagged_referrers_along(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a", "b")
    signature = await shelf.referrer(digest, "signature")
    of_signature = await shelf.referrer(signature, "of signature")
    tagged = await shelf.referrer(digest, "tagged", "keep")
    indexed = await shelf.referrer(digest, "indexed")
    index = await shelf.index([indexed])
    entry = await shelf.delete(digest)
    assert await shelf.live() == {tagged, indexed, index}
    assert await shelf.tags() == {"keep": tagged}
    assert what(await shelf.trash()) == [("manifest", digest)]
    taken = await along(shelf, entry)
    assert {one.act for one in taken} == {entry.id}
    assert what(taken) == [("tag", "a"), ("tag", "b"), ("manifest", signature), ("manifest", of_signature)]
    actions = [action for action, *_ in await shelf.events("%.delete")]
    assert (actions.count("manifest.delete"), actions.count("tag.delete"), len(actions)) == (3, 2, 5)


async def test_a_referrer_goes_once_no_index_that_lives_names_it(shelf: Shelf) -> None:
    digest = await shelf.image("one")
    indexed = await shelf.referrer(digest, "indexed")
    await shelf.delete(await shelf.index([indexed]))
    await shelf.delete(digest)
    assert await shelf.live() == set()


async def test_children_of_an_index_stay_and_it_keeps_them(shelf: Shelf) -> None:
    one, two = await shelf.image("one"), await shelf.image("two")
    index = await shelf.index([one, two], "latest")
    with pytest.raises(Unsupported, match=index):
        await shelf.delete(one)
    await shelf.delete(index)
    assert await shelf.live() == {one, two}


async def test_links_get_a_fresh_lease(shelf: Shelf) -> None:
    digest = await shelf.image("one")
    shelf.clock.advance(100 * DAY)
    await shelf.delete(digest)
    assert await execute(shelf.registry, "SELECT DISTINCT keep_until FROM link") == [(shelf.clock.now - 1 + DAY,)]


# --- back again ----------------------------------------------------------------------------------------------------


async def test_all_of_the_act_comes_back(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a", "b")
    signature = await shelf.referrer(digest, "signature")
    await shelf.referrer(signature, "of signature")
    await shelf.referrer(digest, "tagged", "keep")
    live, tags = await shelf.live(), await shelf.tags()
    entry = await shelf.delete(digest)
    restored = await shelf.registry.trash.restore(entry.id, CALLER)
    assert (restored.repository, restored.manifests, restored.tags, restored.conflicts) == (NAME, 3, 2, [])
    assert (await shelf.live(), await shelf.tags(), await shelf.trash()) == (live, tags, [])
    assert await execute(shelf.registry, "SELECT * FROM trash") == []
    assert sorted((action, tag) for action, _, tag, *_ in await shelf.events("%.restore")) == [
        *[("manifest.restore", None)] * 3,
        ("tag.restore", "a"),
        ("tag.restore", "b"),
    ]


async def test_what_was_deleted_for_itself_stays_deleted(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a", "b")
    signature = await shelf.referrer(digest, "signature")
    await shelf.delete(signature)
    await shelf.delete("a")
    entry = await shelf.delete(digest)
    await shelf.registry.trash.restore(entry.id, CALLER)
    assert (await shelf.live(), await shelf.tags()) == ({digest}, {"b": digest})
    assert what(await shelf.trash()) == [("tag", "a"), ("manifest", signature)]


async def test_what_went_along_can_come_back_alone(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a")
    signature = await shelf.referrer(digest, "signature")
    entry = await shelf.delete(digest)
    _, signed = await along(shelf, entry)
    await shelf.registry.trash.restore(signed.id, CALLER)
    assert await shelf.live() == {signature}
    assert what(await along(shelf, entry)) == [("tag", "a")]


async def test_a_push_brings_the_manifest_back_and_leaves_what_went_along(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a")
    signature = await shelf.referrer(digest, "signature")
    await shelf.delete(digest)
    await shelf.point(digest)
    assert (await shelf.live(), await shelf.tags()) == ({digest}, {})
    signed, tagged = await shelf.trash()
    assert what([signed, tagged]) == [("manifest", signature), ("tag", "a")]
    for entry in (signed, tagged):
        await shelf.registry.trash.restore(entry.id, CALLER)
    assert (await shelf.live(), await shelf.tags(), await shelf.trash()) == ({digest, signature}, {"a": digest}, [])


async def test_an_index_brings_its_children_back_each_once(shelf: Shelf) -> None:
    one, two = await shelf.image("one"), await shelf.image("two")
    inner = await shelf.index([one])
    index = await shelf.index([one, inner, two])
    entry = await shelf.delete(index)
    for child in (inner, one):
        await shelf.delete(child)
    restored = await shelf.registry.trash.restore(entry.id, CALLER)
    assert (restored.manifests, await shelf.live(), await shelf.trash()) == (3, {one, two, inner, index}, [])
    assert sorted(new for *_, new in await shelf.events("manifest.restore") if new) == sorted([one, inner, index])


async def test_a_child_comes_back_without_its_index(shelf: Shelf) -> None:
    one = await shelf.image("one")
    index = await shelf.index([one])
    await shelf.delete(index)
    entry = await shelf.delete(one)
    await shelf.registry.trash.restore(entry.id, CALLER)
    assert (await shelf.live(), what(await shelf.trash())) == ({one}, [("manifest", index)])


async def test_blobs_that_were_deleted_too_come_back(shelf: Shelf) -> None:
    digest = await shelf.image("one")
    layer = Digest(image("one", layers=1).layers[0].digest)
    entry = await shelf.delete(digest)
    await shelf.registry.blobs.delete(NAME, layer, CALLER)
    with pytest.raises(BlobUnknown):
        await pull(shelf.registry, layer)
    await shelf.registry.trash.restore(entry.id, CALLER)
    assert await shelf.live() == {digest}


async def test_a_tag_brings_its_manifest_back(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a", "b")
    tagged = await shelf.delete("a")
    await shelf.delete(digest)
    restored = await shelf.registry.trash.restore(tagged.id, CALLER)
    assert (restored.manifests, restored.tags) == (1, 1)
    assert (await shelf.live(), await shelf.tags()) == ({digest}, {"a": digest})
    assert what(await shelf.trash()) == [("tag", "b")]


async def test_a_newer_tag_stays_and_is_told_with_both_digests(shelf: Shelf) -> None:
    old = await shelf.image("old", "a")
    entry = await shelf.delete("a")
    new = await shelf.image("new", "a")
    restored = await shelf.registry.trash.restore(entry.id, CALLER)
    (kept,) = restored.conflicts
    assert (kept.tag, kept.kept, kept.restored, restored.tags) == ("a", new, old, 0)
    assert (await shelf.tags(), await shelf.trash()) == ({"a": new}, [entry])
    assert (await shelf.registry.trash.restore(entry.id, CALLER, "a-old")).conflicts == []
    assert (await shelf.tags(), await shelf.trash()) == ({"a": new, "a-old": old}, [])
    assert (await shelf.events())[0] == ("tag.restore", NAME, "a-old", None, old)


async def test_a_newer_tag_stays_when_a_manifest_comes_back(shelf: Shelf) -> None:
    old = await shelf.image("old", "a", "b")
    entry = await shelf.delete(old)
    new = await shelf.image("new", "a")
    restored = await shelf.registry.trash.restore(entry.id, CALLER)
    (kept,) = restored.conflicts
    assert (kept.tag, kept.kept, kept.restored, restored.tags, restored.manifests) == ("a", new, old, 1, 1)
    assert (await shelf.tags(), await shelf.live()) == ({"a": new, "b": old}, {old, new})
    (left,) = await shelf.trash()
    await shelf.registry.trash.restore(left.id, CALLER, "a-old")
    assert (await shelf.tags())["a-old"] == old


async def test_a_tag_that_points_there_again_needs_nothing(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a")
    entry = await shelf.delete("a")
    await shelf.point(digest, "a")
    before = await shelf.events()
    restored = await shelf.registry.trash.restore(entry.id, CALLER)
    assert (restored.tags, restored.conflicts, await shelf.trash()) == (0, [], [])
    assert await shelf.events() == before


# --- refused -------------------------------------------------------------------------------------------------------


async def test_nothing_comes_back_into_a_repository_that_is_in_the_trash(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a", "b")
    tagged, gone = await shelf.delete("a"), await shelf.delete(digest)
    whole = await shelf.registry.repositories.delete(NAME, CALLER)
    for entry in (tagged, gone):
        with pytest.raises(Conflict, match=f"{NAME} is in the trash itself; restore that first"):
            await shelf.registry.trash.restore(entry.id, CALLER)
    await shelf.registry.trash.restore(whole.id, CALLER)
    await shelf.registry.trash.restore(gone.id, CALLER)
    assert await shelf.tags() == {"b": digest}


async def test_a_manifest_has_no_other_name(shelf: Shelf) -> None:
    entry = await shelf.delete(await shelf.image("one"))
    with pytest.raises(Conflict, match="no other name"):
        await shelf.registry.trash.restore(entry.id, CALLER, "two")


@pytest.mark.parametrize("kind", ["tag", "manifest", "repository"])
async def test_to_restore_takes_push(shelf: Shelf, kind: str) -> None:
    digest = await shelf.image("one", "a")
    if kind == "repository":
        entry = await shelf.registry.repositories.delete(NAME, CALLER)
    else:
        entry = await shelf.delete(digest if kind == "manifest" else "a")
    before = await shelf.rows()
    with pytest.raises(Denied):
        await shelf.registry.trash.restore(entry.id, caller(rights("pull,overwrite,delete", "**")))
    assert await shelf.rows() == before
    await shelf.registry.trash.restore(entry.id, caller(rights("push", NAME)))
    assert await shelf.tags() == {"a": digest}


async def test_what_is_not_there_is_missing(shelf: Shelf) -> None:
    entry = await shelf.delete(await shelf.image("one"))
    await shelf.registry.trash.restore(entry.id, CALLER)
    for answer in (
        shelf.registry.trash.get(entry.id),
        shelf.registry.trash.restore(entry.id, CALLER),
        shelf.registry.trash.purge(entry.id, CALLER),
        shelf.registry.trash.restore(999, CALLER),
    ):
        with pytest.raises(Missing):
            await answer


async def test_tags_that_stay_keep_their_manifest(fixed: Shelf) -> None:
    digest = await fixed.image("one", "latest", "v1")
    signature = await fixed.referrer(digest, "signature")
    before = await fixed.rows()
    for reference in (digest, "v1"):
        with pytest.raises(Denied, match="the tag v1 is immutable"):
            await fixed.delete(reference)
    assert (await fixed.rows(), await fixed.events("%.delete")) == (before, [])
    assert await fixed.live() == {digest, signature}


# --- gone for good -------------------------------------------------------------------------------------------------


async def collect(shelf: Shelf) -> None:
    """Past all leases, but not past the time in the trash."""
    for _ in range(3):
        shelf.clock.advance(2 * DAY)
        assert (await shelf.registry.gc.run(lambda: True)).complete


def files(shelf: Shelf) -> int:
    return len(list(shelf.registry.settings.storage.filesystem.rootdirectory.glob("sha*/??/*")))


async def test_a_purged_tag_cannot_come_back(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a", "b")
    entry = await shelf.delete("a")
    assert await shelf.registry.trash.purge(entry.id, CALLER) == entry
    assert (await shelf.events())[0] == ("trash.purge", NAME, "a", digest, None)
    assert await shelf.trash() == []
    await collect(shelf)
    assert await shelf.live() == {digest}


async def test_a_purged_manifest_goes_with_what_went_along(shelf: Shelf) -> None:
    other = await shelf.image("other", "other")
    digest = await shelf.image("one", "a")
    await shelf.referrer(digest, "signature")
    await shelf.registry.trash.purge((await shelf.delete(digest)).id, CALLER)
    assert (await shelf.trash(), await execute(shelf.registry, "SELECT * FROM trash")) == ([], [])
    assert await execute(shelf.registry, "SELECT digest FROM manifest") == [(other,)]
    assert files(shelf) == 5
    await collect(shelf)
    assert (files(shelf), await shelf.live()) == (2, {other})


async def test_a_purged_repository_goes_with_all_its_rows(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a", "b")
    inner = await shelf.delete("a")
    await shelf.index([digest], "index")
    entry = await shelf.registry.repositories.delete(NAME, CALLER)
    assert what(await shelf.trash()) == [("repository", None), ("tag", "a")]
    await shelf.registry.trash.purge(entry.id, CALLER)
    assert await shelf.trash() == []
    with pytest.raises(Missing):
        await shelf.registry.trash.restore(inner.id, CALLER)
    await shelf.registry.uploads.expire()
    await collect(shelf)
    assert files(shelf) == 0
    # its id is not given again
    assert {table for table, rows in (await shelf.rows()).items() if rows} == {"repository"}
    await shelf.image("another", name=OTHER)
    await collect(shelf)
    assert await execute(shelf.registry, "SELECT name FROM repository") == [(OTHER,)]


async def test_a_manifest_that_an_index_in_the_trash_needs_is_not_purged(shelf: Shelf) -> None:
    one = await shelf.image("one", "a")
    index = await shelf.delete(await shelf.index([one]))
    child = await shelf.delete(one)
    before = await shelf.rows(), await shelf.events()
    with pytest.raises(Conflict, match="index that is in the trash too"):
        await shelf.registry.trash.purge(child.id, CALLER)
    assert (await shelf.rows(), await shelf.events()) == before
    for entry in (index, child):
        await shelf.registry.trash.purge(entry.id, CALLER)
    assert await shelf.trash() == []


async def test_a_referrer_that_an_index_in_the_trash_needs_stays_there(shelf: Shelf) -> None:
    digest = await shelf.image("one")
    signature = await shelf.referrer(digest, "signature")
    index = await shelf.delete(await shelf.index([signature]))
    entry = await shelf.delete(digest)
    await shelf.registry.trash.purge(entry.id, CALLER)
    assert what(await shelf.trash()) == [("manifest", signature), ("manifest", index.digest)]
    await shelf.registry.trash.restore(index.id, CALLER)
    assert await shelf.live() == {signature, index.digest}


async def test_what_is_purged_may_be_pushed_again(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a")
    await shelf.registry.trash.purge((await shelf.delete(digest)).id, CALLER)
    with pytest.raises(ManifestUnknown):
        await shelf.registry.manifests.get(NAME, digest)
    assert await shelf.image("one", "a") == digest
    await collect(shelf)
    assert await shelf.live() == {digest}


async def test_the_time_in_the_trash_ends(shelf: Shelf) -> None:
    entry = await shelf.delete(await shelf.image("one", "a"))
    shelf.clock.now = entry.deleted_at + shelf.registry.trash.keep
    await shelf.registry.gc.run(lambda: True)
    assert await shelf.trash() == [entry]
    shelf.clock.advance(1)
    await shelf.registry.gc.run(lambda: True)
    assert await execute(shelf.registry, "SELECT * FROM trash") == []


# --- the list ------------------------------------------------------------------------------------------------------


async def test_the_list_comes_in_pages_newest_first(shelf: Shelf) -> None:
    digest = await shelf.image("one", *(f"t{number}" for number in range(5)))
    for number in range(5):
        await shelf.registry.manifests.delete(NAME, Tag(f"t{number}"), Conditions(), CALLER)
    found: list[str | None] = []
    page = await shelf.registry.trash.list(PageRequest(2), OPERATOR.rights, None)
    while page.next_last is not None:
        found += [entry.tag for entry in page.entries]
        page = await shelf.registry.trash.list(PageRequest(2, page.next_last), OPERATOR.rights, None)
    assert [*found, *(entry.tag for entry in page.entries)] == ["t4", "t3", "t2", "t1", "t0"]
    assert await shelf.live() == {digest}
    with pytest.raises(Invalid):
        await shelf.registry.trash.list(PageRequest(2, "x"), OPERATOR.rights, None)


@pytest.mark.parametrize(
    ("patterns", "wanted", "found"),
    [
        (["**"], None, [OTHER, NAME]),
        (["**"], NAME, [NAME]),
        (["team/*"], None, [OTHER, NAME]),
        (["team/app"], None, [NAME]),
        (["team/app"], OTHER, []),
        (["elsewhere/**"], None, []),
        (["team/app", *(f"r{number}" for number in range(2000))], None, [NAME]),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_the_list_is_what_one_may_delete(
    shelf: Shelf, patterns: list[str], wanted: RepositoryName | None, found: list[str]
) -> None:
    for name in (NAME, OTHER):
        await shelf.image("one", "a", name=name)
        await shelf.delete("a", name)
    page = await shelf.registry.trash.list(PageRequest(), rights("delete", *patterns), wanted)
    assert [entry.repository for entry in page.entries] == found
    assert not (await shelf.registry.trash.list(PageRequest(), rights("pull,push", *patterns), wanted)).entries


async def test_a_page_is_filled_from_behind_what_one_may_not_delete(shelf: Shelf) -> None:
    deep = RepositoryName("team/app/deep")
    await shelf.image("one", *"abcd")
    await shelf.image("one", *"abcd", name=deep)
    for tag in "abcd":
        await shelf.delete(tag)
        await shelf.delete(tag, deep)
    page = await shelf.registry.trash.list(PageRequest(3), rights("delete", "team/*"), None)
    assert [(entry.repository, entry.tag) for entry in page.entries] == [(NAME, "d"), (NAME, "c"), (NAME, "b")]
    last = await shelf.registry.trash.list(PageRequest(3, page.next_last or ""), rights("delete", "team/*"), None)
    assert ([entry.tag for entry in last.entries], last.next_last) == (["a"], None)
