"""What tags pointed to, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.model.answers import Refusal, check_movable
from tests.model.state import Move, Refused, Repository
from tests.model.trashed import Trashed


@dataclass(frozen=True)
class Wish:
    """A tag that is to go back: to a digest, else to what it pointed to at a time, else one move."""

    repository: str
    tag: str
    digest: str | None = None
    at: int | None = None
    expected: str | None = None


class Change(NamedTuple):
    repository: str
    tag: str
    old: str | None
    new: str


class Past(Trashed):
    def history(self, name: str, tag: str) -> list[Move]:
        """Newest first."""
        moves = [move for move in self._named(name).moves if move.tag == tag]
        if not moves:
            raise Refused("Missing")
        return moves[::-1]

    def at(self, name: str, tag: str, at: int) -> str:
        repository = self._named(name)
        moves = [move for move in repository.moves if move.tag == tag and move.at <= at]
        comings = [there for when, there in repository.comings if when <= at]
        if not moves or moves[-1].new is None or comings[-1:] == [False]:
            raise Refused("Missing")
        return moves[-1].new

    def preview(self, wishes: Sequence[Wish]) -> list[Change]:
        """All that a rollback asks, it asks of the state before."""
        if len({(wish.repository, wish.tag) for wish in wishes}) < len(wishes):
            raise Refused("Invalid")
        return [self._change(self._named(wish.repository), wish) for wish in wishes]

    def roll_back(self, wishes: Sequence[Wish]) -> list[Change]:
        """All or none."""
        changes = self.preview(wishes)
        for change in changes:
            repository = self.repositories[change.repository]
            if change.new != change.old:
                self._revive(repository, change.new)
                self._point("tag.rollback", repository, change.tag, change.new)
        return changes

    def _change(self, repository: Repository, wish: Wish) -> Change:
        old = repository.tags.get(wish.tag)
        if old is not None:
            _check_movable(wish.tag)
        if wish.expected not in (None, old):
            raise Refused("PreconditionFailed")
        new = self._target(repository, wish, old)
        if new != old and new not in repository.manifests:
            raise Refused("Conflict")
        return Change(wish.repository, wish.tag, old, new)

    def _target(self, repository: Repository, wish: Wish, old: str | None) -> str:
        if wish.digest is not None:
            return wish.digest
        if wish.at is not None:
            return self.at(wish.repository, wish.tag, wish.at)
        before = [move.new for move in repository.moves if move.tag == wish.tag and move.new not in (None, old)]
        if not before:
            raise Refused("Missing")
        return str(before[-1])


def _check_movable(tag: str) -> None:
    try:
        check_movable(tag)
    except Refusal:
        raise Refused("Denied") from None
