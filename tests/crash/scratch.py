"""Where harnesses keep data that need not outlive the machine."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A killed process loses nothing that it has written: memory is as good as a disk here, and faster
_MEMORY = Path("/dev/shm")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in memory where there is one."""
    with tempfile.TemporaryDirectory(prefix="digestry-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)
