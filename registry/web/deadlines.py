"""How long a connection may keep us waiting, and how a sweep finds the ones that do."""

import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

# How often a window is divided: a slow transfer is found at most this part of a window late
_PARTS = 6

# linux/tcp.h, struct tcp_info: tcpi_unacked, tcpi_bytes_acked, tcpi_notsent_bytes
_TCP_INFO = struct.Struct("=24xI92xQ16xI")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds, and bytes a second.

    A transfer is too slow when it moves less than `rate` over a `window`; bodies get `grace` before it begins. What is
    left of a body once its request was refused is read for `linger`, so that the client can read the answer.
    """

    head: float = 15.0
    idle: float = 75.0
    linger: float = 10.0
    grace: float = 30.0
    window: float = 60.0
    rate: int = 1024
    sweep: float = 1.0


class Pace:
    """How fast the other side moves bytes, in the time that it could: our own pauses do not count."""

    def __init__(self, window: float, rate: int, grace: float = 0.0) -> None:
        self._window = window
        self._rate = rate
        self._waited = -grace
        self._marks: deque[tuple[float, int]] = deque()

    def too_slow(self, seconds: float, moved: int) -> bool:
        """Add time since the last look that we waited for it; `moved` counts all its bytes so far."""
        if not self._marks:
            self._marks.append((self._waited, moved))
            return False
        self._waited += seconds
        if self._waited <= 0:
            self._marks[0] = (0.0, moved)
            return False
        if self._waited - self._marks[-1][0] >= self._window / _PARTS:
            self._marks.append((self._waited, moved))
        while len(self._marks) > 1 and self._waited - self._marks[1][0] >= self._window:
            self._marks.popleft()
        since, before = self._marks[0]
        duration = self._waited - since
        return duration >= self._window and moved - before < self._rate * duration


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What the kernel knows of an answer: bytes that have arrived, and whether more are on their way."""

    acknowledged: int
    pending: bool


def outgoing(sock: socket.socket) -> Outgoing | None:
    """None where the kernel can't tell, as for unix sockets."""
    try:
        found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        unacknowledged, acknowledged, unsent = _TCP_INFO.unpack(found)
    except (OSError, struct.error):
        return None
    return Outgoing(acknowledged, bool(unacknowledged or unsent))


def cut(sock: socket.socket) -> None:
    """End a connection together with what its kernel buffers hold.

    Whoever waits for the socket learns it as an error, also a running sendfile, which a closed transport would leave
    waiting for ever.
    """
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
