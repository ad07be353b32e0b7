"""What a generated registry consists of: how much, under which names, and the bytes of each blob by its number."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.digest import Digest
from storage.keys import blob_key


@dataclass(frozen=True)
class Shape:
    """How much of what. `blobs` counts the garbage too, `tags` are the sizes of repositories."""

    blobs: int = 0
    garbage: int = 0
    repositories: int = 0
    tags: Sequence[int] = ()


def database_of(root: Path) -> Path:
    return root / "registry.db"


def blobs_of(root: Path) -> Path:
    return root / "blobs"


def images_name(number: int) -> str:
    return f"images/{number:04}"


def single_name(number: int) -> str:
    return f"single/{number:07}"


def tagged_name(tags: int) -> str:
    """The repository with so many tags."""
    return f"tags/{tags}"


def tag_name(number: int) -> str:
    return f"build-{number:07}"


def bytes_of(number: int) -> bytes:
    """The blob of this number: it may be a config, and is as good a layer as any."""
    return b'{"os":"linux","architecture":"amd64","author":"%d"}' % number


def key_of(number: int, digest: Digest) -> str:
    return blob_key(digest, f"{number:032x}")
