"""Which of its tags names a manifest best."""

import re
from typing import NamedTuple

from registry.domain.names import RepositoryName, Tag

_VERSION = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(?:-.+)?")


class Tagged(NamedTuple):
    """A tag, and since when it points where it does."""

    repository: RepositoryName
    tag: Tag
    moved_at: int

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def preference(tagged: Tagged) -> tuple[int, int, int, str]:
    """The smaller, the better: a full version such as 1.2.3 says most, `latest` least; then what moved last."""
    rank = 0 if _VERSION.fullmatch(tagged.tag) else 2 if tagged.tag == "latest" else 1
    name = str(tagged)
    return rank, -tagged.moved_at, len(name), name
