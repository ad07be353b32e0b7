"""Disks of our own: file systems in image files, mounted through loop devices, small or copied in one instant.

The image file is the disk: what the kernel has not written to it, a power cut loses. A copy is a reflink on a file
system of its own, which takes no time and shows one instant, whatever goes on meanwhile.
"""

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support import tools

MIB = 1024 * 1024
# XFS refuses less than 300 MiB, and a registry keeps some free; holes cost nothing
SIZES = {"ext4": 256 * MIB, "xfs": 320 * MIB}
STORE_SIZE = 8192 * MIB
UNMOUNT_SECONDS = 10.0

_FICLONE = 0x40049409
_MEMORY = Path("/dev/shm")
# Lazy: the kernel would go on initialising in the background of a mounted image
_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
}
# A copy has the identity of its original, which XFS mounts only once
_OPTIONS = {"ext4": "", "xfs": ",nouuid"}


def require(*filesystems: str) -> None:
    """Skip the test where these cannot be mounted; in CI that fails."""
    tools.require(*filesystems)
    with tempfile.TemporaryDirectory(prefix="digestry-loop-") as folder:
        try:
            for filesystem in filesystems:
                image = make_image(Path(folder) / filesystem, filesystem)
                with mounted(image, Path(folder) / f"{filesystem}.mount", filesystem):
                    pass
        except subprocess.CalledProcessError as error:
            tools.give_up(f"loop images: {error.stderr.strip()}; run the tests where loop devices can be mounted")


def make_image(path: Path, filesystem: str, size: int | None = None, *options: str) -> Path:
    """An image file with an empty file system; `options` are its mkfs's own."""
    with path.open("wb") as image:
        image.truncate(size or SIZES[filesystem])
    run(*_MAKE[filesystem], *options, path)
    return path


@contextmanager
def mounted(image: Path, point: Path, filesystem: str, *, offset: int = 0, size: int | None = None) -> Iterator[Path]:
    """The file system that the image holds, or that lies at `offset` in it."""
    limits = f",offset={offset},sizelimit={size}" if size else ""
    point.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", filesystem, "-o", f"loop,noatime{limits}{_OPTIONS[filesystem]}", image, point)
    try:
        yield point
    finally:
        _unmount(point)


def run(*command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _unmount(point: Path) -> None:
    """The kernel may hold the files of a process that has just ended for a moment longer."""
    deadline = time.monotonic() + UNMOUNT_SECONDS
    while True:
        try:
            run("umount", point)
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline:
                run("umount", "--lazy", point)
                raise
            time.sleep(0.02)
        else:
            return


class Disk:
    """One image file with a file system for each mount point: several disks that lose their power together."""

    def __init__(self, image: Path, filesystem: str, parts: int) -> None:
        self.image = image
        self.filesystem = filesystem
        self.parts = parts

    @contextmanager
    def mounted(self, points: Sequence[Path]) -> Iterator[None]:
        size = SIZES[self.filesystem]
        with ExitStack() as stack:
            for number, point in zip(range(self.parts), points, strict=True):
                stack.enter_context(mounted(self.image, point, self.filesystem, offset=number * size, size=size))
            yield

    def cut(self, name: str) -> "Disk":
        """The disk as a power cut would leave it now."""
        return Disk(_clone(self.image, self.image.with_name(name)), self.filesystem, self.parts)

    def remove(self) -> None:
        self.image.unlink()


class DiskStore:
    """Makes disks, on a file system where they can be copied. Use `disk_store`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self, name: str, filesystem: str, parts: int) -> Disk:
        """An empty disk."""
        template = self._folder / f"template.{filesystem}.{parts}"
        if not template.exists():
            self._make(template, filesystem, parts)
        return Disk(_clone(template, self._folder / name), filesystem, parts)

    def _make(self, template: Path, filesystem: str, parts: int) -> None:
        one = make_image(self._folder / "part", filesystem)
        with template.open("wb") as whole, one.open("rb") as part:
            for number in range(parts):
                _copy_data(part.fileno(), whole.fileno(), number * SIZES[filesystem])
            whole.truncate(parts * SIZES[filesystem])
        one.unlink()


@contextmanager
def disk_store(folder: Path) -> Iterator[DiskStore]:
    """A place for disks, in memory where the machine has enough to spare, else under `folder`."""
    with tempfile.TemporaryDirectory(prefix="digestry-disks-", dir=_place(folder)) as place:
        image = make_image(Path(place) / "store", "xfs", STORE_SIZE, "-m", "reflink=1")
        with mounted(image, Path(place) / "disks", "xfs") as disks:
            yield DiskStore(disks)


def _place(folder: Path) -> Path:
    with suppress(OSError):
        space = os.statvfs(_MEMORY)
        if space.f_bavail * space.f_frsize >= 4096 * MIB:
            return _MEMORY
    return folder


def _clone(source: Path, target: Path) -> Path:
    with source.open("rb") as original, target.open("wb") as copy:
        fcntl.ioctl(copy, _FICLONE, original.fileno())
    return target


def _copy_data(source: int, target: int, offset: int) -> None:
    """Copy all but the holes."""
    position, size = 0, os.fstat(source).st_size
    while True:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(source, position, os.SEEK_HOLE)
        os.lseek(source, position, os.SEEK_SET)
        os.lseek(target, offset + position, os.SEEK_SET)
        while position < min(end, size):
            position += os.sendfile(target, source, position, end - position)
