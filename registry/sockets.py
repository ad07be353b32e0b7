"""Listening sockets: made once by the parent, inherited by every worker."""

import socket
import stat
from pathlib import Path

BACKLOG = 1024


def listen(addr: str) -> list[socket.socket]:
    """Bind an address of `http.addr`; a host that means several addresses gives several sockets.

    Raises OSError when an address is taken or not of this machine.
    """
    if addr.startswith("unix:"):
        return [_unix(Path(addr.removeprefix("unix:")))]
    host, _, port = addr.rpartition(":")
    found = socket.getaddrinfo(
        host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    )
    return [_tcp(family, address) for family, _, _, _, address in dict.fromkeys(found)]


def close(addr: str, sockets: list[socket.socket]) -> None:
    """Stop listening, and take a Unix socket's file away."""
    for listening in sockets:
        listening.close()
    if addr.startswith("unix:"):
        Path(addr.removeprefix("unix:")).unlink(missing_ok=True)


def _tcp(family: int, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # else it would take the port of its IPv4 sibling
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _unix(path: Path) -> socket.socket:
    """The lock of the data is held, so a socket file that is there is a leftover, or somebody else's."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
