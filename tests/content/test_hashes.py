"""A live hash is good for one state of one upload (design P1)."""

import pytest

from registry.content import hashes
from registry.content.hashes import LiveHashes
from storage.digest import Hasher

HASHER = Hasher("sha256")


def test_a_hash_of_this_state_is_given_once() -> None:
    live = LiveHashes()
    live.keep("upload", 3, 10, HASHER)
    assert live.take("upload", 3, 10) is HASHER
    assert live.take("upload", 3, 10) is None


@pytest.mark.parametrize(("upload_id", "version", "offset"), [("other", 3, 10), ("upload", 4, 10), ("upload", 3, 11)])
def test_a_hash_of_another_state_is_not_given(upload_id: str, version: int, offset: int) -> None:
    live = LiveHashes()
    live.keep("upload", 3, 10, HASHER)
    assert live.take(upload_id, version, offset) is None


def test_the_oldest_make_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "KEPT_LIMIT", 2)
    live = LiveHashes()
    for upload_id in ("one", "two", "three"):
        live.keep(upload_id, 1, 0, HASHER)
    assert live.take("one", 1, 0) is None
    assert live.take("three", 1, 0) is HASHER
