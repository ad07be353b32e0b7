"""What disks do to stored bytes."""

from pathlib import Path

from registry.assembly import Registry
from tests.support.registry import execute


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
