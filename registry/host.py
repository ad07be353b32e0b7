"""What a server asks of its machine before it starts: processors, descriptors, locks, and files that are its own."""

import fcntl
import os
import pwd
import re
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from storage.files import make_folder

MOST_WORKERS = 4
LOCK_SECONDS = 5.0
# SQLite's locks and its shared memory do not hold over these (sqlite.org/wal.html)
_NETWORK = {
    "9p",
    "afs",
    "ceph",
    "cifs",
    "gfs2",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
    "smbfs",
}
_NETWORK_FUSE = ("fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "fuse.rclone")

_OCTAL = re.compile(rb"\\([0-7]{3})")


class HostError(Exception):
    """The machine can't be used like this; the text says what to do."""


def usable_cpus() -> int:
    """The processors that this process may use: its affinity, and the share that its container was given."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("utf-8").split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, -(-int(quota) // int(period))))


def default_workers() -> int:
    return min(usable_cpus(), MOST_WORKERS)


def raise_descriptor_limit() -> None:
    """Connections, blobs and staged files are descriptors; the usual soft limit of 1,024 is for select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def locked(path: Path, what: Path) -> Iterator[None]:
    """Hold a lock file of our own beside the data, also through forks, until the last process that has it ends.

    Raises HostError when another server holds it for longer than a restart takes.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
                raise HostError(f"{what} is used by another server (process {holder}); stop that one first")
            time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_owned(paths: Sequence[Path]) -> None:
    """Raise HostError unless what exists of these is ours and writable: files of two users end in half a registry."""
    for path in paths:
        if not path.exists():
            continue
        owner = path.stat().st_uid
        if owner != os.geteuid():
            raise HostError(
                f"{path} belongs to {_name(owner)}, and this process runs as {_name(os.geteuid())}: "
                f"run it as {_name(owner)}, or give the data to this user with chown -R"
            )
        if not os.access(path, os.W_OK):
            raise HostError(f"{path} can't be written by {_name(owner)}; see its permissions and its mount")


def make_ours(folder: Path) -> None:
    """Make a folder for data if it is missing; raise HostError when this user may not write there."""
    try:
        make_folder(folder)
    except OSError as error:
        raise HostError(f"{folder} can't be made: {error.strerror}; choose a folder of this user's") from error
    if not os.access(folder, os.W_OK):
        raise HostError(f"{folder} can't be written by {_name(os.geteuid())}; see its permissions and its mount")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def check_local(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Raise HostError when SQLite's database would lie on a network file system (S-13)."""
    kind = _file_system(path.resolve(), mounts)
    if kind in _NETWORK or kind.startswith(_NETWORK_FUSE):
        raise HostError(
            f"{path} lies on {kind}: SQLite's locks do not hold over a network. Put database.url on a local disk; "
            "blobs may stay"
        )


def _file_system(path: Path, mounts: Path) -> str:
    """The type of the mount that holds a path; empty when the system does not say (proc(5), mountinfo)."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return ""
    best, kind = -1, b""
    for line in lines:
        before, _, after = line.partition(b" - ")
        point = os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), before.split()[4]))
        if path.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), after.split()[0]
    return kind.decode()
