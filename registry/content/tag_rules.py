"""Which tags stay where they are once they exist."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from registry.domain.errors import Denied
from registry.domain.names import Tag

# Whether a tag that exists may point elsewhere or go
MayMove: TypeAlias = Callable[[Tag], bool]


def movable_but(patterns: Sequence[str]) -> MayMove:
    """Every tag may move but those that match a glob of `tags.immutable`."""
    return lambda tag: not any(fnmatchcase(tag, pattern) for pattern in patterns)


def check_movable(tag: Tag, may_move: MayMove) -> None:
    """Raise Denied. Call it inside the transaction that would move or delete the tag (CVE-2026-31801)."""
    if not may_move(tag):
        raise Denied(
            f"the tag {tag} is immutable here (tags.immutable): it can neither move nor go; push under a new tag"
        )
