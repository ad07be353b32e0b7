"""How much a disk can still take."""

import os
from pathlib import Path

# Kept free of new content: on a disk that pushes have filled, deletes and the garbage collection still work
MARGIN = 64 * 1024 * 1024


def has_room(where: Path | int, length: int = 0) -> bool:
    """Whether `length` bytes of new content fit beside the margin; `where` is a folder or an open file."""
    space = os.statvfs(where)
    return space.f_bavail * space.f_frsize >= MARGIN + length
