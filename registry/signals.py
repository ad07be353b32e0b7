"""Signals as bytes of a socket, so that a loop waits for them beside everything else."""

import contextlib
import signal
import socket
from collections.abc import Iterator

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@contextlib.contextmanager
def signals() -> Iterator[socket.socket]:
    """A socket that gets the number of each signal as a byte."""
    reading, writing = socket.socketpair()
    for end in (reading, writing):
        end.setblocking(False)
    before = {number: signal.signal(number, lambda number, frame: None) for number in HANDLED}
    wakeup = signal.set_wakeup_fd(writing.fileno())
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        reading.close()
        writing.close()


def received(arriving: socket.socket) -> bytes:
    """The numbers of the signals since the last call."""
    try:
        return arriving.recv(4096)
    except BlockingIOError:
        return b""
