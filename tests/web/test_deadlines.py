"""What is too slow, by the numbers: a KiB a second over a minute."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from registry.web.deadlines import Deadlines, Pace, cut, outgoing

REAL = Deadlines()


def cut_off_at(pace: Pace, *rates: tuple[int, float]) -> int | None:
    """The second in which a transfer ends that moves so many bytes a second, each rate for so many seconds."""
    moved, second = 0.0, 0
    pace.too_slow(0.0, 0)
    for seconds, rate in rates:
        for _ in range(seconds):
            second += 1
            moved += rate
            if pace.too_slow(1.0, int(moved)):
                return second
    return None


def body() -> Pace:
    return Pace(REAL.window, REAL.rate, REAL.grace)


def answer() -> Pace:
    return Pace(REAL.window, REAL.rate)


@pytest.mark.parametrize("rate", [0, 1, 500, 1000])
def test_slow_from_the_start(rate: float) -> None:
    assert cut_off_at(body(), (1_000, rate)) == 90
    assert cut_off_at(answer(), (1_000, rate)) == 60


@pytest.mark.parametrize("rate", [1024, 1100, 10**9])
def test_fast_enough(rate: float) -> None:
    assert cut_off_at(body(), (10_000, rate)) is None
    assert cut_off_at(answer(), (10_000, rate)) is None


def test_a_good_start_does_not_help_for_long() -> None:
    at = cut_off_at(body(), (100, 10**6), (1_000, 10))
    assert at is not None
    assert 160 <= at <= 170


def test_the_grace_is_for_the_start_only() -> None:
    assert cut_off_at(body(), (29, 0), (60, 2000), (200, 0)) in range(110, 130)


def test_bursts_are_fine() -> None:
    """70 KiB at once, every 50 seconds."""
    pace, moved = answer(), 0
    for second in range(1_000):
        moved += 70 * 1024 if second % 50 == 0 else 0
        assert not pace.too_slow(1.0, moved)


def test_time_that_is_not_counted() -> None:
    """Our own pauses add no time, however long."""
    pace = body()
    for _ in range(10_000):
        assert not pace.too_slow(0.0, 5)
    assert cut_off_at(pace, (1_000, 0)) == 90


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listening.getsockname())
        server, _ = listening.accept()
        with server:
            yield server, client


def fill(server: socket.socket) -> int:
    """Send until nothing fits any more."""
    server.setblocking(False)
    sent, quiet = 0, 0
    while quiet < 5:
        try:
            sent += server.send(bytes(65536))
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.02)
    return sent


def test_the_kernel_tells_what_a_reader_has_taken() -> None:
    with connected() as (server, client):
        sent = fill(server)
        stalled = outgoing(server)
        assert stalled is not None
        assert stalled.pending
        assert stalled.acknowledged < sent
        assert outgoing(server) == stalled
        left = sent
        while left:
            left -= len(client.recv(65536))
        deadline = time.monotonic() + 10
        while (done := outgoing(server)) is None or done.pending:
            assert time.monotonic() < deadline
        assert done.acknowledged >= sent


def test_a_unix_socket_does_not_tell() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert outgoing(ours) is None


def test_a_cut_ends_both_sides_at_once() -> None:
    with connected() as (server, client):
        fill(server)
        cut(server)
        with pytest.raises(BrokenPipeError):
            server.send(b"x")
        server.close()
        client.settimeout(10)
        with pytest.raises(ConnectionResetError):
            while client.recv(65536):
                pass


def test_a_cut_of_a_connection_that_is_gone() -> None:
    with connected() as (server, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        cut(server)
        server.close()
        cut(server)
