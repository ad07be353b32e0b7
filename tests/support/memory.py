"""What the processes of a server hold: memory and descriptors."""

from pathlib import Path

from tests.support.server import LiveServer


def processes(server: LiveServer) -> list[int]:
    """The parent and its workers."""
    return [server.pid, *server.workers]


def resident(server: LiveServer) -> int:
    """Bytes of memory of all processes together that no other process shares."""
    return sum(_private(pid) for pid in processes(server))


def descriptors(server: LiveServer) -> int:
    """Open files and sockets of all processes together."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in processes(server))


def open_blobs(server: LiveServer) -> int:
    """Blobs that are being sent."""
    links = [_target(path) for pid in processes(server) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return sum("/sha256/" in link for link in links)


def _target(link: Path) -> str:
    """Where a descriptor leads; one that was closed meanwhile leads nowhere."""
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def _private(pid: int) -> int:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    sizes = {row.split(":")[0]: int(row.split()[1]) * 1024 for row in rows}
    return sizes["Private_Clean"] + sizes["Private_Dirty"]
