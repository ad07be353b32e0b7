"""Which tag names a manifest best."""

import random

import pytest

from registry.domain.names import RepositoryName, Tag
from registry.domain.preferred_tags import Tagged, preference


def tagged(name: str, moved_at: int = 0) -> Tagged:
    repository, _, tag = name.partition(":")
    return Tagged(RepositoryName(repository), Tag(tag), moved_at)


@pytest.mark.parametrize(
    "best_first",
    [
        [("a:1.2.3", 1), ("a:stable", 3), ("a:latest", 5)],
        [("a:v1.2.3", 2), ("a:1.2.3-rc.1", 1), ("a:1.2", 9), ("a:latest", 9)],
        [("a:10.0.0", 2), ("a:9.0.0", 1), ("a:1.2.3x", 9), ("a:1.2.3.4", 8), ("a:version-1.2.3", 7)],
        [("a:new", 2), ("a:old", 1)],
        [("a:ab", 1), ("b:ab", 1), ("a:abc", 1), ("a:abd", 1)],
        [("long/name:b", 2), ("a:a", 1)],
        [("a:Latest", 1), ("a:latest", 1)],
    ],
)
def test_the_best_first(best_first: list[tuple[str, int]]) -> None:
    expected = [tagged(name, moved_at) for name, moved_at in best_first]
    shuffled = random.Random(1).sample(expected, len(expected))
    assert sorted(shuffled, key=preference) == expected
