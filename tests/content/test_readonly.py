"""A registry that is read-only, or where deleting is switched off, changes nothing, whichever way it is asked."""

from collections.abc import Awaitable, Callable

import pytest

from registry.access.policy import Policy
from registry.content.history import History, Wish
from registry.content.repositories import Repositories
from registry.content.trash import Trash
from registry.domain.errors import Unsupported
from registry.domain.names import RepositoryName, Tag
from tests.support.registry import CALLER, DAY, NAME
from tests.support.shelf import Shelf

OTHER = RepositoryName("team/renamed")
Act = Callable[[Shelf, Policy, int], Awaitable[object]]


def trash(shelf: Shelf, policy: Policy) -> Trash:
    return Trash(shelf.registry.database, keep=DAY, decide=policy.decide)


def history(shelf: Shelf, policy: Policy) -> History:
    return History(shelf.registry.database, shelf.registry.digests, policy.decide)


def repositories(shelf: Shelf, policy: Policy) -> Repositories:
    return Repositories(shelf.registry.database, policy.decide, some_tags_stay=False)


ACTS: dict[str, Act] = {
    "restore": lambda shelf, policy, entry: trash(shelf, policy).restore(entry, CALLER),
    "purge": lambda shelf, policy, entry: trash(shelf, policy).purge(entry, CALLER),
    "roll back": lambda shelf, policy, entry: history(shelf, policy).roll_back([Wish(NAME, Tag("moved"))], CALLER),
    "rename": lambda shelf, policy, entry: repositories(shelf, policy).rename(NAME, OTHER, CALLER),
}


@pytest.mark.parametrize("act", ACTS)
async def test_nothing_changes_while_it_is_read_only(shelf: Shelf, act: str) -> None:
    await shelf.image("one", "moved")
    await shelf.image("two", "moved")
    entry = (await shelf.delete(await shelf.image("three"))).id
    before = await shelf.tags()
    with pytest.raises(Unsupported):
        await ACTS[act](shelf, Policy(readonly=True, deletion=True), entry)
    assert (await shelf.tags(), len(await shelf.trash())) == (before, 1)


async def test_nothing_is_purged_where_deleting_is_switched_off(shelf: Shelf) -> None:
    entry = (await shelf.delete(await shelf.image("one"))).id
    with pytest.raises(Unsupported):
        await ACTS["purge"](shelf, Policy(readonly=False, deletion=False), entry)
    assert len(await shelf.trash()) == 1
