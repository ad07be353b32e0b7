"""Stored bytes, and what disks do to them."""

from pathlib import Path

from registry.assembly import Registry
from registry.content.conditions import Conditions
from registry.content.pushing import Push
from registry.domain.names import Digest, RepositoryName, Tag
from tests.support.images import Image
from tests.support.registry import CALLER, NAME, execute, push


async def push_image(registry: Registry, content: Image, *tags: str, name: RepositoryName = NAME) -> Digest:
    """All of it, under these tags; without any, by its digest."""
    for part in content.blobs:
        await push(registry, part.data, name)
    named = [Tag(tag) for tag in tags]
    reference = named[0] if named else Digest(content.digest)
    put = Push(name, reference, content.manifest, content.media_type, named, Conditions())
    return (await registry.manifests.put(put, CALLER)).digest


async def stored_file(registry: Registry, digest: str) -> Path:
    """Where a blob's bytes are."""
    ((key,),) = await execute(registry, "SELECT key FROM blob WHERE digest = ?", digest)
    return registry.settings.storage.filesystem.rootdirectory / str(key)


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Flip one bit, in place."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))
