"""Repositories as a whole: deleted, restored, merged, renamed."""

import pytest
from sqlalchemy import Connection, insert

from registry.domain.access import Caller, Identity
from registry.domain.errors import BlobUploadUnknown, Denied, ManifestUnknown, NameInvalid, NameUnknown, RegistryError
from registry.domain.grants import Grant, Pattern, Rights, parse_verbs
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import PageRequest
from registry.domain.problems import Conflict
from registry.metadata.models import tag as tag_table
from tests.support.images import image
from tests.support.registry import CALLER, DAY, NAME, body, execute, start
from tests.support.shelf import Shelf, statements

OTHER = RepositoryName("team/other")
MANY = 100_000


def caller(**granted: str) -> Caller:
    """`team/app` as `app`, and so on."""
    grants = [
        Grant("user:x", Pattern.parse(f"team/{name}"), parse_verbs(verbs.split(","))) for name, verbs in granted.items()
    ]
    return Caller(Identity("user:x", Rights(grants), is_known=True), "request")


async def delete(shelf: Shelf, name: RepositoryName = NAME) -> int:
    entry = await shelf.registry.repositories.delete(name, CALLER)
    shelf.clock.advance(1)
    return entry.id


# --- delete and restore --------------------------------------------------------------------------------------------


async def test_a_deleted_repository_is_gone_and_comes_back_as_it_was(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a", "b")
    await shelf.referrer(digest, "signature")
    await shelf.delete("b")
    before, live = await shelf.rows(), await shelf.live()
    entry = await shelf.registry.repositories.delete(NAME, CALLER)
    assert (entry.kind, entry.repository, entry.is_live, entry.digest, entry.tag) == (
        "repository",
        NAME,
        False,
        None,
        None,
    )
    assert (entry.deleted_at, entry.deleted_by) == (shelf.clock.now, CALLER.identity.name)
    assert (await shelf.live(), await shelf.tags()) == (set(), {})
    with pytest.raises(NameUnknown):
        await shelf.registry.manifests.get(NAME, digest)
    with pytest.raises(NameUnknown):
        await shelf.registry.tags.list(NAME, PageRequest())
    restored = await shelf.registry.trash.restore(entry.id, CALLER)
    assert (restored.repository, restored.manifests, restored.tags, restored.conflicts) == (NAME, 2, 1, [])
    assert (await shelf.rows(), await shelf.live()) == (before, live)
    told = [event for event in await shelf.events() if event[0] in ("repository.restore", "repository.delete")]
    assert told == [("repository.restore", NAME, None, None, None), ("repository.delete", NAME, None, None, None)]


async def test_what_is_not_there_cannot_be_deleted(shelf: Shelf) -> None:
    await shelf.image("one")
    await delete(shelf)
    for name in (NAME, OTHER):
        with pytest.raises(NameUnknown):
            await delete(shelf, name)


async def test_its_name_is_free_at_once(shelf: Shelf) -> None:
    old = await shelf.image("old", "a")
    await delete(shelf)
    await shelf.image("new", "b")
    with pytest.raises(ManifestUnknown):
        await shelf.registry.manifests.get(NAME, old)
    assert set(await shelf.tags()) == {"b"}


async def test_it_comes_back_under_another_name(shelf: Shelf) -> None:
    old = await shelf.image("old", "a")
    entry = await delete(shelf)
    new = await shelf.image("new", "a")
    restored = await shelf.registry.trash.restore(entry, CALLER, OTHER)
    assert (restored.repository, restored.tags, restored.conflicts) == (OTHER, 1, [])
    assert (await shelf.tags(), await shelf.tags(OTHER)) == ({"a": new}, {"a": old})
    assert (await shelf.live(OTHER), await shelf.trash()) == ({old}, [])


async def test_another_name_must_be_one_and_be_free(shelf: Shelf) -> None:
    await shelf.image("old", "a")
    entry = await delete(shelf)
    await shelf.image("new", "a", name=OTHER)
    before = await shelf.rows()
    with pytest.raises(Conflict, match=f"{OTHER} already; choose another name"):
        await shelf.registry.trash.restore(entry, CALLER, OTHER)
    with pytest.raises(NameInvalid):
        await shelf.registry.trash.restore(entry, CALLER, "Not A Name")
    assert await shelf.rows() == before


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        ({"app": "pull,delete", "other": "push"}, True),
        ({"app": "delete", "other": "pull,push"}, False),
        ({"app": "pull,push,delete"}, False),
        ({"app": "pull,push,delete", "other": "pull,overwrite,delete"}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("by", ["rename", "restore"])
async def test_content_does_not_move_past_rights(shelf: Shelf, by: str, held: dict[str, str], allowed: bool) -> None:
    """Whoever may not pull it here must not get it there."""
    digest = await shelf.image("one", "a")
    entry = await delete(shelf) if by == "restore" else 0
    asks = caller(**held)
    moving = (
        shelf.registry.trash.restore(entry, asks, OTHER)
        if by == "restore"
        else shelf.registry.repositories.rename(NAME, OTHER, asks)
    )
    if allowed:
        await moving
    else:
        with pytest.raises(Denied):
            await moving
    assert await shelf.tags(OTHER) == ({"a": digest} if allowed else {})


# --- merged into a newer one ---------------------------------------------------------------------------------------


async def test_newer_tags_win_and_each_conflict_is_told(shelf: Shelf) -> None:
    same, old_a, old_b = (
        await shelf.image("same", "same"),
        await shelf.image("a", "a", "c"),
        await shelf.image("b", "b"),
    )
    signature = await shelf.referrer(old_a, "signature")
    entry = await delete(shelf)
    new_a, new_b = await shelf.image("new a", "a", "d"), await shelf.image("new b", "b")
    await shelf.image("same", "same")
    told = len(await shelf.events())
    restored = await shelf.registry.trash.restore(entry, CALLER)
    conflicts = [(kept.tag, kept.kept, kept.restored) for kept in restored.conflicts]
    assert conflicts == [("a", new_a, old_a), ("b", new_b, old_b)]
    assert (restored.repository, restored.manifests, restored.tags) == (NAME, 3, 1)
    assert await shelf.tags() == {"same": same, "a": new_a, "b": new_b, "c": old_a, "d": new_a}
    assert await shelf.live() == {same, old_a, old_b, new_a, new_b, signature}
    assert (await shelf.events())[: len(await shelf.events()) - told] == [
        ("repository.restore", NAME, None, None, None),
        ("tag.restore", NAME, "c", None, old_a),
    ]
    assert await shelf.trash() == []


async def test_hidden_content_of_the_newer_one_is_revealed(shelf: Shelf) -> None:
    one = await shelf.image("one", "a")
    index = await shelf.index([one], "index")
    entry = await delete(shelf)
    await shelf.image("one", "a")
    await shelf.index([one], "index")
    for digest in (index, one):
        await shelf.delete(digest)
    layer = Digest(image("one", layers=1).layers[0].digest)
    await shelf.registry.blobs.delete(NAME, layer, CALLER)
    restored = await shelf.registry.trash.restore(entry, CALLER)
    assert (restored.manifests, restored.tags, restored.conflicts) == (2, 2, [])
    assert (await shelf.live(), await shelf.tags()) == ({one, index}, {"a": one, "index": index})
    assert {entry.kind for entry in await shelf.trash()} == {"tag"}


async def test_what_was_in_its_trash_can_still_be_restored(shelf: Shelf) -> None:
    gone, stays = await shelf.image("gone", "gone"), await shelf.image("stays", "stays", "untagged")
    both = await shelf.image("both", "both")
    await shelf.referrer(gone, "signature")
    await shelf.registry.blobs.delete(NAME, await _loose(shelf), CALLER)
    tagged, deleted = await shelf.delete("untagged"), await shelf.delete(gone)
    await shelf.delete(both)
    layer = Digest(image("gone", layers=1).layers[0].digest)
    await shelf.registry.blobs.delete(NAME, layer, CALLER)
    entry = await delete(shelf)
    await shelf.image("both", "both")
    restored = await shelf.registry.trash.restore(entry, CALLER)
    assert (restored.manifests, await shelf.live()) == (1, {stays, both})
    assert [one.id for one in await shelf.trash()][-2:] == [deleted.id, tagged.id]
    assert {one.digest for one in await shelf.trash() if one.kind == "manifest"} == {gone}
    for one in (deleted, tagged):
        await shelf.registry.trash.restore(one.id, CALLER)
    assert await shelf.tags() == {"stays": stays, "untagged": stays, "gone": gone, "both": both}
    assert len(await shelf.live()) == 4


async def _loose(shelf: Shelf) -> Digest:
    key = await start(shelf.registry)
    digest = Digest.of(b"loose")
    await shelf.registry.uploads.finish(key, digest, body(b"loose"))
    return digest


async def test_what_was_merged_leaves_nothing_behind(shelf: Shelf) -> None:
    one = await shelf.image("one", "a")
    await shelf.delete(await shelf.image("two", "b"))
    entry = await delete(shelf)
    three = await shelf.image("three", "a")
    await shelf.registry.trash.restore(entry, CALLER)
    for _ in range(3):
        shelf.clock.advance(15 * DAY)
        await shelf.registry.uploads.expire()
        await shelf.registry.gc.run(lambda: True)
    assert await execute(shelf.registry, "SELECT name FROM repository") == [(NAME,)]
    assert await shelf.live() == {one, three}
    assert len(await execute(shelf.registry, "SELECT digest FROM manifest")) == 2


async def test_several_of_one_name_come_back_one_after_the_other(shelf: Shelf) -> None:
    digests, entries = [], []
    for seed in ("one", "two", "three"):
        digests.append(await shelf.image(seed, "latest", seed))
        entries.append(await delete(shelf))
    for entry in entries:
        await shelf.registry.trash.restore(entry, CALLER)
    assert await shelf.tags() == dict(zip(("one", "two", "three"), digests, strict=True)) | {"latest": digests[0]}
    assert await shelf.live() == set(digests)


# --- rename --------------------------------------------------------------------------------------------------------


async def test_a_renamed_repository_is_the_same(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a")
    entry = await shelf.delete("a")
    await shelf.registry.repositories.rename(NAME, OTHER, CALLER)
    assert (await shelf.live(), await shelf.live(OTHER)) == (set(), {digest})
    assert [(one.id, one.repository) for one in await shelf.trash()] == [(entry.id, OTHER)]
    await shelf.registry.trash.restore(entry.id, CALLER)
    assert await shelf.tags(OTHER) == {"a": digest}
    ((details,),) = await execute(shelf.registry, "SELECT details FROM event WHERE action = 'repository.rename'")
    assert details == f'{{"from": "{NAME}", "to": "{OTHER}"}}'
    assert await shelf.image("one", "b") == digest, "the old name is free"


async def test_a_rename_needs_something_and_a_free_name(shelf: Shelf) -> None:
    await shelf.image("one", "a")
    await shelf.image("two", "a", name=OTHER)
    before = await shelf.rows()
    for new_name in (OTHER, NAME):
        with pytest.raises(Conflict, match=f"{new_name} already"):
            await shelf.registry.repositories.rename(NAME, new_name, CALLER)
    with pytest.raises(NameUnknown):
        await shelf.registry.repositories.rename(RepositoryName("absent"), RepositoryName("free"), CALLER)
    assert await shelf.rows() == before


async def test_the_name_of_a_deleted_repository_is_free_for_another(shelf: Shelf) -> None:
    await shelf.image("one", "a")
    entry = await delete(shelf)
    two = await shelf.image("two", "b", name=OTHER)
    await shelf.registry.repositories.rename(OTHER, NAME, CALLER)
    await shelf.registry.trash.restore(entry, CALLER)
    assert (await shelf.tags())["b"] == two and len(await shelf.live()) == 2


# --- uploads, tags that stay, size ---------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["delete", "rename"])
async def test_uploads_end(shelf: Shelf, by: str) -> None:
    await shelf.image("one", "a")
    key = await start(shelf.registry)
    await shelf.registry.uploads.append(key, body(b"half"))
    if by == "delete":
        await delete(shelf)
    else:
        await shelf.registry.repositories.rename(NAME, OTHER, CALLER)
    with pytest.raises(BlobUploadUnknown):
        await shelf.registry.uploads.append(key, body(b"more"))
    assert await execute(shelf.registry, "SELECT count(*) FROM upload WHERE finished_digest IS NULL") == [(1,)]
    await shelf.registry.uploads.expire()
    assert await execute(shelf.registry, "SELECT count(*) FROM upload WHERE finished_digest IS NULL") == [(0,)]


async def test_tags_that_stay_keep_their_repository(fixed: Shelf) -> None:
    await fixed.image("one", "latest", "v1")
    before = await fixed.rows(), await fixed.events()
    refused: list[type[RegistryError]] = []
    for answer in (
        fixed.registry.repositories.delete(NAME, CALLER),
        fixed.registry.repositories.rename(NAME, OTHER, CALLER),
    ):
        with pytest.raises(Denied, match="the tag v1 is immutable") as error:
            await answer
        refused.append(error.type)
    assert (await fixed.rows(), await fixed.events()) == before
    assert refused == [Denied, Denied]


async def test_without_such_tags_a_repository_goes(fixed: Shelf) -> None:
    await fixed.image("one", "latest")
    await fixed.registry.repositories.rename(NAME, OTHER, CALLER)
    await delete(fixed, OTHER)
    assert await fixed.live(OTHER) == set()


async def test_the_size_of_a_repository_does_not_matter(shelf: Shelf) -> None:
    digest = await shelf.image("one", "a")
    await shelf.registry.database.write(_add_tags, digest)
    with statements(shelf.registry) as deleting:
        entry = await delete(shelf)
    with statements(shelf.registry) as restoring:
        restored = await shelf.registry.trash.restore(entry, CALLER)
    assert restored.tags == MANY + 1
    assert len(deleting) < 15 and len(restoring) < 15, (deleting, restoring)
    changes = [line for line in (*deleting, *restoring) if line.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert not [line for line in changes if " tag " in line or " manifest " in line or " link " in line]


def _add_tags(connection: Connection, digest: Digest) -> None:
    common = {"repository_id": 1, "digest": digest, "version": 1, "moved_at": 0, "moved_by": "x"}
    connection.execute(insert(tag_table), [common | {"name": Tag(f"t{number}")} for number in range(MANY)])
