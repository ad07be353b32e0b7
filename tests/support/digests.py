"""Content whose digests are of a kind, and answers about digests as a whole."""

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from itertools import count
from typing import TypeVar

from registry.domain.names import Digest, RepositoryName
from registry.domain.paging import Page, PageRequest
from tests.support.images import image_config, image_manifest
from tests.support.registry import NAME, push
from tests.support.shelf import Shelf

T = TypeVar("T")

BASE = b"base layer"


@cache
def twins() -> tuple[bytes, bytes]:
    """Two blobs whose digests begin with the same 8 digits."""
    seen: dict[str, bytes] = {}
    for number in count():
        data = b"%d" % number
        start = hashlib.sha256(data).hexdigest()[:8]
        if start in seen:
            return seen[start], data
        seen[start] = data
    raise AssertionError("there are pairs")


def only(*names: str) -> Callable[[RepositoryName], bool]:
    """What somebody sees who may pull from these repositories."""
    return lambda name: name in names


async def pages(ask: Callable[[PageRequest], Awaitable[Page[T]]], limit: int) -> list[list[T]]:
    """All pages of a list."""
    found: list[list[T]] = []
    following: str | None = ""
    while following is not None:
        page = await ask(PageRequest(limit, following))
        assert len(page.entries) <= limit
        found.append([*page.entries])
        following = page.next_last
    return found


async def built(
    shelf: Shelf, seed: str, *tags: str, name: RepositoryName = NAME, platform: str = "linux/amd64"
) -> Digest:
    """An image on BASE with a layer of its own."""
    config, layer = image_config([seed], platform), f"layer of {seed}".encode()
    for data in (config, BASE, layer):
        await push(shelf.registry, data, name)
    return await shelf.put(image_manifest(config, [BASE, layer]), *tags, name=name)
