"""What tags pointed to, and the way back."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from sqlalchemy import Connection

from registry.content.digests import Digests
from registry.content.restoring import revive
from registry.content.scenes import repository_id, scene_of
from registry.domain.access import Action, Caller, Decide, Identity
from registry.domain.errors import DigestInvalid, PreconditionFailed
from registry.domain.names import Digest, RepositoryName, Tag, parse_digest
from registry.domain.paging import Page, PageRequest
from registry.domain.problems import Conflict, Invalid, Missing
from registry.domain.times import rfc3339
from registry.metadata import events, hiding, manifests, tag_history, tags
from registry.metadata.database import Database
from registry.metadata.events import Scene
from registry.metadata.tag_history import Move
from registry.metadata.tags import Pointed

__all__ = ["TAGS_AT_ONCE", "Change", "History", "Move", "Wish"]

# One transaction, for which all others wait
TAGS_AT_ONCE = 100
# Without a time or a digest: how far back something else is looked for
MOVES_BACK = 100


@dataclass(frozen=True, slots=True)
class Wish:
    """A tag that is to go back: to a digest, else to what it pointed to `at` a time, else one move back.

    With `expected` only if it points there now.
    """

    repository: RepositoryName
    tag: Tag
    digest: Digest | None = None
    at: int | None = None
    expected: Digest | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a wish; `old` is None where the tag was gone. Equal ones: nothing had to change."""

    repository: RepositoryName
    tag: Tag
    old: Digest | None
    new: Digest


class History:
    """The service of tags' past."""

    def __init__(self, database: Database, digests: Digests, decide: Decide) -> None:
        self._database = database
        self._digests = digests
        self._decide = decide

    async def of_tag(self, repository: RepositoryName, tag: Tag, page: PageRequest) -> Page[Move]:
        """Moves, newest first; `last` is the id of one. Raise NameUnknown, or Missing for a tag that never was."""
        found = await self._database.read(_moves, repository, tag, page.last_id(), page.limit + 1)
        return page.cut_by(found, lambda move: str(move.id))

    async def at(self, repository: RepositoryName, tag: Tag, at: int) -> Digest:
        """What the tag pointed to at a time; raise NameUnknown, or Missing when it did not exist then."""
        return await self._database.read(_then, repository, tag, at)

    async def digest(self, repository: RepositoryName, text: str, identity: Identity) -> Digest:
        """What is meant there: a whole digest, whatever it is of, or the beginning of one that there is or was.

        Raise Invalid, Missing or Conflict.
        """
        with suppress(DigestInvalid):
            return parse_digest(text)
        may_pull = self._decide(identity, Action.PULL, repository, None, None) is None
        return await self._digests.resolve(text, lambda name: may_pull and name == repository, ever=True)

    async def preview(self, wishes: Sequence[Wish], caller: Caller) -> list[Change]:
        """What `roll_back` would do now, or raise."""
        try:
            return await self._database.write(_undone, wishes, caller, self._decide)
        except _UndoneError as undone:
            return undone.changes

    async def roll_back(self, wishes: Sequence[Wish], caller: Caller) -> list[Change]:
        """Set all of these tags back or none; raise Missing, Conflict, Denied or PreconditionFailed."""
        return await self._database.write(_roll_back, wishes, caller, self._decide)


def _moves(connection: Connection, name: RepositoryName, tag: Tag, before: int | None, limit: int) -> list[Move]:
    found = tag_history.newest_first(connection, repository_id(connection, name), tag, before, limit)
    if not found and before is None:
        raise Missing(f"{name} never had a tag {tag}")
    return found


def _then(connection: Connection, name: RepositoryName, tag: Tag, at: int) -> Digest:
    id_now = repository_id(connection, name)
    move = tag_history.last_before(connection, id_now, tag, at)
    if move is None or move.new is None or tag_history.was_deleted(connection, id_now, at):
        raise Missing(f"{name} had no tag {tag} at {rfc3339(at)}; its history says when it had")
    return move.new


def _roll_back(connection: Connection, wishes: Sequence[Wish], caller: Caller, decide: Decide) -> list[Change]:
    named = {(wish.repository, wish.tag) for wish in wishes}
    if len(wishes) > TAGS_AT_ONCE:
        raise Invalid(f"at most {TAGS_AT_ONCE} tags can be rolled back at once")
    if len(named) != len(wishes):
        raise Invalid("each tag can be rolled back once")
    return [_fulfil(connection, scene_of(connection, wish.repository, caller), wish, decide) for wish in wishes]


class _UndoneError(Exception):
    """Takes back what was done, and says what it was."""

    def __init__(self, changes: list[Change]) -> None:
        super().__init__()
        self.changes = changes


def _undone(connection: Connection, wishes: Sequence[Wish], caller: Caller, decide: Decide) -> NoReturn:
    raise _UndoneError(_roll_back(connection, wishes, caller, decide))


def _fulfil(connection: Connection, scene: Scene, wish: Wish, decide: Decide) -> Change:
    pointed = tags.find(connection, scene.repository_id, wish.tag)
    old = pointed.digest if pointed else None
    _check(scene, wish.tag, pointed, decide)
    if wish.expected is not None and wish.expected != old:
        raise PreconditionFailed(f"{wish.repository}:{wish.tag} points to {old or 'nothing'} now, not {wish.expected}")
    new = _target(connection, scene, wish, old)
    if new != old:
        _bring_back(connection, scene, wish, new)
        by = scene.caller.identity.name
        tags.point(connection, scene.repository_id, wish.tag, new, by, is_new=pointed is None)
        events.append(connection, scene, "tag.rollback", tag=wish.tag, old=old, new=new)
    return Change(wish.repository, wish.tag, old, new)


def _check(scene: Scene, tag: Tag, pointed: Pointed | None, decide: Decide) -> None:
    action = Action.OVERWRITE if pointed else Action.PUSH
    refusal = decide(scene.caller.identity, action, scene.repository, tag, pointed.digest if pointed else None)
    if refusal is not None:
        raise refusal


def _target(connection: Connection, scene: Scene, wish: Wish, old: Digest | None) -> Digest:
    if wish.digest is not None:
        return wish.digest
    if wish.at is not None:
        return _then(connection, scene.repository, wish.tag, wish.at)
    for move in tag_history.newest_first(connection, scene.repository_id, wish.tag, None, MOVES_BACK):
        if move.new is not None and move.new != old:
            return move.new
    raise Missing(f"{wish.repository}:{wish.tag} pointed to nothing else before; its history says what it did")


def _bring_back(connection: Connection, scene: Scene, wish: Wish, digest: Digest) -> None:
    """From the trash, if it has to be."""
    if manifests.is_live(connection, scene.repository_id, digest):
        return
    if not hiding.hidden_of(connection, scene.repository_id, [digest]):
        raise Conflict(
            f"{wish.repository}:{wish.tag} can't go back to {digest}: no such manifest is there (any more); "
            "the tag's history says which it had, and a push brings one back"
        )
    revive(connection, scene, digest)
