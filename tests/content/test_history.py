"""What tags pointed to, and the way back."""

import pytest

from registry.content.history import Change, Wish
from registry.domain.access import OPERATOR, Caller, Identity
from registry.domain.errors import Denied, DigestInvalid, NameUnknown, PreconditionFailed
from registry.domain.grants import Grant, Pattern, Rights, parse_verbs
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import PageRequest
from registry.domain.problems import Conflict, Invalid, Missing
from tests.support.registry import CALLER, NAME
from tests.support.shelf import Shelf

OTHER = RepositoryName("team/other")
A, B = Tag("a"), Tag("b")
ABSENT = Digest.of(b"absent")


async def moves(shelf: Shelf, tag: Tag = A, name: RepositoryName = NAME) -> list[tuple[str, str | None, str | None]]:
    page = await shelf.registry.history.of_tag(name, tag, PageRequest())
    return [(move.action, move.old, move.new) for move in page.entries]


async def back(shelf: Shelf, *wishes: Wish, by: Caller = CALLER) -> list[Change]:
    return await shelf.registry.history.roll_back(wishes, by)


def caller(verbs: str) -> Caller:
    held = Rights([Grant("user:x", Pattern("team/**"), parse_verbs(verbs.split(",")))])
    return Caller(Identity("user:x", held, is_known=True), "request")


# --- what was ------------------------------------------------------------------------------------------------------


async def test_each_move_is_told(shelf: Shelf) -> None:
    one, two = await shelf.image("one", A), await shelf.image("two", A)
    entry = await shelf.delete(A)
    await shelf.registry.trash.restore(entry.id, CALLER)
    await back(shelf, Wish(NAME, A))
    found = list((await shelf.registry.history.of_tag(NAME, A, PageRequest())).entries)
    assert [(move.action, move.old, move.new) for move in found] == [
        ("tag.rollback", two, one),
        ("tag.restore", None, two),
        ("tag.delete", two, None),
        ("tag.point", one, two),
        ("tag.point", None, one),
    ]
    assert {(move.identity, move.request_id) for move in found} == {(CALLER.identity.name, CALLER.request_id)}
    assert [move.at for move in found] == sorted((move.at for move in found), reverse=True)


async def test_what_stays_the_same_is_no_move(shelf: Shelf) -> None:
    one = await shelf.image("one", A)
    await shelf.point(one, A)
    entry = await shelf.delete(A)
    await shelf.registry.trash.purge(entry.id, CALLER)
    assert await moves(shelf) == [("tag.delete", one, None), ("tag.point", None, one)]


async def test_it_comes_in_pages(shelf: Shelf) -> None:
    one, two = await shelf.image("one"), await shelf.image("two")
    for digest in (one, two) * 3:
        await shelf.point(digest, A)
    found: list[str | None] = []
    last = ""
    while True:
        page = await shelf.registry.history.of_tag(NAME, A, PageRequest(4, last))
        found += [move.new for move in page.entries]
        if page.next_last is None:
            break
        last = page.next_last
    assert found == [two, one] * 3
    with pytest.raises(Invalid):
        await shelf.registry.history.of_tag(NAME, A, PageRequest(4, "x"))


async def test_it_goes_on_when_the_repository_is_renamed_or_restored(shelf: Shelf) -> None:
    one, two = await shelf.image("one", A), await shelf.image("two", A)
    await shelf.registry.repositories.rename(NAME, OTHER, CALLER)
    entry = await shelf.registry.repositories.delete(OTHER, CALLER)
    with pytest.raises(NameUnknown):
        await moves(shelf, name=OTHER)
    await shelf.registry.trash.restore(entry.id, CALLER)
    assert await moves(shelf, name=OTHER) == [("tag.point", one, two), ("tag.point", None, one)]
    with pytest.raises(NameUnknown):
        await moves(shelf)


async def test_a_new_repository_of_an_old_name_has_no_past(shelf: Shelf) -> None:
    await shelf.image("one", A)
    await shelf.registry.repositories.delete(NAME, CALLER)
    two = await shelf.image("two", A)
    assert await moves(shelf) == [("tag.point", None, two)]


async def test_a_tag_that_never_was_is_missing(shelf: Shelf) -> None:
    await shelf.image("one", A)
    with pytest.raises(Missing, match="never had a tag b"):
        await moves(shelf, B)


async def test_what_it_pointed_to_at_a_time(shelf: Shelf) -> None:
    at = shelf.registry.history.at
    began = shelf.clock.now
    one, two = await shelf.image("one", A), await shelf.image("two", A)
    assert [await at(NAME, A, began + after) for after in (0, 1, 2, 1000)] == [one, two, two, two]
    with pytest.raises(Missing, match=r"had no tag a at 2023-11-14T22:13:19\.999Z"):
        await at(NAME, A, began - 1)
    with pytest.raises(Missing):
        await at(NAME, B, began)
    with pytest.raises(NameUnknown):
        await at(OTHER, A, began)


async def test_the_last_move_of_a_millisecond_counts(shelf: Shelf) -> None:
    one = await shelf.image("one")
    two = await shelf.image("two")
    now = shelf.clock.now
    for digest in (one, two, one, two):
        await shelf.point(digest, A)
        shelf.clock.now = now
    assert await shelf.registry.history.at(NAME, A, now) == two


async def test_there_are_gaps_where_the_tag_or_its_repository_was_deleted(shelf: Shelf) -> None:
    one = await shelf.image("one", A)
    entry = await shelf.delete(A)
    shelf.clock.advance(10)
    await shelf.registry.trash.restore(entry.id, CALLER)
    again = shelf.clock.now
    shelf.clock.advance(10)
    whole = await shelf.registry.repositories.delete(NAME, CALLER)
    shelf.clock.advance(10)
    await shelf.registry.trash.restore(whole.id, CALLER)
    await shelf.registry.repositories.rename(NAME, OTHER, CALLER)

    async def was(at: int) -> bool:
        try:
            return await shelf.registry.history.at(OTHER, A, at) == one
        except Missing:
            return False

    times = (entry.deleted_at - 1, entry.deleted_at, again - 1, again, whole.deleted_at - 1, whole.deleted_at)
    assert [await was(at) for at in times] == [True, False, False, True, True, False]
    assert [await was(whole.deleted_at + after) for after in (9, 10, 1000)] == [False, True, True]


# --- the way back --------------------------------------------------------------------------------------------------


async def test_one_move_back_and_forth(shelf: Shelf) -> None:
    one, two = await shelf.image("one", A), await shelf.image("two", A)
    assert await back(shelf, Wish(NAME, A)) == [Change(NAME, A, two, one)]
    assert await back(shelf, Wish(NAME, A)) == [Change(NAME, A, one, two)]
    assert await back(shelf, Wish(NAME, A)) == [Change(NAME, A, two, one)]
    assert await shelf.tags() == {A: one}
    assert (await shelf.events())[0] == ("tag.rollback", NAME, A, two, one)


async def test_a_tag_that_was_deleted_comes_back_to_what_it_was(shelf: Shelf) -> None:
    await shelf.image("one", A)
    two = await shelf.image("two", A)
    entry = await shelf.delete(A)
    assert await back(shelf, Wish(NAME, A)) == [Change(NAME, A, None, two)]
    assert (await shelf.tags(), await shelf.trash()) == ({A: two}, [entry])
    assert (await shelf.registry.trash.restore(entry.id, CALLER)).conflicts == []
    assert await shelf.trash() == []


async def test_there_may_be_nothing_before(shelf: Shelf) -> None:
    await shelf.image("one", A)
    for tag in (A, B):
        with pytest.raises(Missing, match=f"{NAME}:{tag} pointed to nothing else before"):
            await back(shelf, Wish(NAME, tag))


async def test_to_a_time(shelf: Shelf) -> None:
    began = shelf.clock.now
    one, _, three = [await shelf.image(seed, A) for seed in ("one", "two", "three")]
    assert await back(shelf, Wish(NAME, A, at=began)) == [Change(NAME, A, three, one)]
    with pytest.raises(Missing):
        await back(shelf, Wish(NAME, A, at=began - 1))
    assert await shelf.tags() == {A: one}


async def test_to_a_digest_that_it_never_pointed_to(shelf: Shelf) -> None:
    one, two = await shelf.image("one", A), await shelf.image("two")
    assert await back(shelf, Wish(NAME, A, two), Wish(NAME, B, two)) == [
        Change(NAME, A, one, two),
        Change(NAME, B, None, two),
    ]


async def test_where_it_is_already(shelf: Shelf) -> None:
    one = await shelf.image("one", A)
    before = await shelf.rows(), await shelf.events()
    assert await back(shelf, Wish(NAME, A, one)) == [Change(NAME, A, one, one)]
    assert (await shelf.rows(), await shelf.events()) == before


async def test_from_the_trash(shelf: Shelf) -> None:
    one = await shelf.image("one")
    index = await shelf.index([one], A)
    two = await shelf.image("two", A)
    for digest in (index, one):
        await shelf.delete(digest)
    assert await back(shelf, Wish(NAME, A)) == [Change(NAME, A, two, index)]
    assert (await shelf.live(), await shelf.trash()) == ({one, two, index}, [])


async def test_what_was_purged_must_be_pushed_again(shelf: Shelf) -> None:
    one, two = await shelf.image("one", A), await shelf.image("two", A)
    await shelf.registry.trash.purge((await shelf.delete(one)).id, CALLER)
    with pytest.raises(Conflict, match=f"can't go back to {one}.*a push brings one back"):
        await back(shelf, Wish(NAME, A))
    with pytest.raises(Conflict):
        await back(shelf, Wish(NAME, B, ABSENT))
    assert await shelf.tags() == {A: two}


@pytest.mark.parametrize("kind", ["missing", "expected", "denied", "purged", "unknown"])
@pytest.mark.parametrize("first", [True, False])
async def test_all_of_a_set_or_none(fixed: Shelf, kind: str, first: bool) -> None:
    one = await fixed.image("one", A, "v1")
    two = await fixed.image("two", A)
    await fixed.image("three", B, name=OTHER)
    bad, error = {
        "missing": (Wish(OTHER, B), Missing),
        "expected": (Wish(NAME, B, one, expected=one), PreconditionFailed),
        "denied": (Wish(NAME, Tag("v1"), two), Denied),
        "purged": (Wish(OTHER, B, ABSENT), Conflict),
        "unknown": (Wish(RepositoryName("absent"), B), NameUnknown),
    }[kind]
    before = await fixed.rows(), await fixed.events()
    wishes = [Wish(NAME, A), Wish(NAME, Tag("c"), one)]
    with pytest.raises(error):
        await back(fixed, *([bad, *wishes] if first else [*wishes, bad]))
    assert (await fixed.rows(), await fixed.events()) == before


async def test_a_set_over_repositories(shelf: Shelf) -> None:
    one, two = await shelf.image("one", A), await shelf.image("two", A)
    three, four = await shelf.image("three", B, name=OTHER), await shelf.image("four", B, name=OTHER)
    assert await back(shelf, Wish(NAME, A), Wish(OTHER, B)) == [
        Change(NAME, A, two, one),
        Change(OTHER, B, four, three),
    ]


async def test_each_tag_once(shelf: Shelf) -> None:
    one = await shelf.image("one", A)
    with pytest.raises(Invalid, match="once"):
        await back(shelf, Wish(NAME, A), Wish(NAME, A, one))


@pytest.mark.parametrize(("expected", "found"), [("one", False), ("two", True), ("absent", False)])
async def test_only_if_it_points_where_it_is_expected(shelf: Shelf, expected: str, found: bool) -> None:
    digests = {"one": await shelf.image("one", A), "two": await shelf.image("two", A), "absent": ABSENT}
    wish = Wish(NAME, A, expected=digests[expected])
    if found:
        assert await back(shelf, wish) == [Change(NAME, A, digests["two"], digests["one"])]
    else:
        with pytest.raises(PreconditionFailed, match=f"points to {digests['two']} now, not {digests[expected]}"):
            await back(shelf, wish)


async def test_a_tag_that_is_gone_is_not_where_it_is_expected(shelf: Shelf) -> None:
    one = await shelf.image("one", A)
    await shelf.delete(A)
    with pytest.raises(PreconditionFailed, match="points to nothing now"):
        await back(shelf, Wish(NAME, A, expected=one))


@pytest.mark.parametrize(("verbs", "moves_it", "makes_it"), [("push", False, True), ("overwrite", True, False)])
async def test_rights(shelf: Shelf, verbs: str, moves_it: bool, makes_it: bool) -> None:
    """To learn where it points now, by what is not expected, takes them too."""
    one, two = await shelf.image("one", A), await shelf.image("two", A)
    for wish, allowed in ((Wish(NAME, A, one), moves_it), (Wish(NAME, B, one), makes_it)):
        if allowed:
            assert [change.new for change in await back(shelf, wish, by=caller(verbs))] == [one]
        else:
            with pytest.raises(Denied):
                await back(shelf, Wish(NAME, wish.tag, one, expected=ABSENT), by=caller(verbs))
    assert await shelf.tags() == ({A: one} if moves_it else {A: two}) | ({B: one} if makes_it else {})


async def test_a_preview_changes_nothing(shelf: Shelf) -> None:
    one, two = await shelf.image("one", A), await shelf.image("two", A)
    await shelf.delete(one)
    before = await shelf.rows(), await shelf.events()
    assert await shelf.registry.history.preview([Wish(NAME, A)], CALLER) == [Change(NAME, A, two, one)]
    with pytest.raises(PreconditionFailed):
        await shelf.registry.history.preview([Wish(NAME, A, expected=one)], CALLER)
    assert (await shelf.rows(), await shelf.events()) == before


# --- digests as people type them -----------------------------------------------------------------------------------


async def test_the_beginning_of_a_digest_is_looked_for_in_the_repository(shelf: Shelf) -> None:
    one, elsewhere = await shelf.image("one", A), await shelf.image("two", A, name=OTHER)
    await shelf.image("three", A)
    await shelf.registry.trash.purge((await shelf.delete(one)).id, CALLER)
    digest = shelf.registry.history.digest
    assert await digest(NAME, one[: len("sha256:") + 8], OPERATOR) == one, "it was there once"
    assert await digest(NAME, elsewhere, OPERATOR) == elsewhere, "a whole one is what it is"
    with pytest.raises(Missing):
        await digest(NAME, elsewhere[:20], OPERATOR)
    for wrong in ("sha256:123", "x", "md5:d41d8cd98f00b204e9800998ecf8427e"):
        with pytest.raises((Invalid, DigestInvalid)):
            await digest(NAME, wrong, OPERATOR)


async def test_the_beginning_of_a_digest_takes_pull(shelf: Shelf) -> None:
    one = await shelf.image("one", A)
    digest = shelf.registry.history.digest
    assert await digest(NAME, one[:20], caller("pull").identity) == one
    with pytest.raises(Missing):
        await digest(NAME, one[:20], caller("push,overwrite,delete").identity)
