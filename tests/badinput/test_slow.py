"""Clients that keep us waiting (H-18 to H-21), against a server whose deadlines are those of tests/support/hasty."""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.hasty import COMMAND, HASTY
from tests.support.images import OCI, digest_of
from tests.support.memory import open_blobs, resident
from tests.support.server import LiveServer
from tests.support.wire import (
    EVENTUALLY_SECONDS,
    TIMEOUT_SECONDS,
    Wire,
    assert_no_traceback,
    assert_refused,
    assert_serving,
    assert_sound,
    chunk,
    eventually,
    head,
    nothing_stored,
    prepare,
    push_blob,
    push_manifest,
    request,
    start_upload,
)

MIB = 1024 * 1024
TCP_CLOSE = b"\x07"
PING = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
# More than the kernel's buffers of both sides hold
BIG = bytes(range(256)) * 4096 * 32
CLOSED = "a connection was closed: "
NO_REQUEST = "no complete request came"
TOO_SLOW = "the answer was taken too slowly"
# What a machine that is busy with other tests may add to any time
SLACK = 5.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("hasty"), {"REGISTRY_HTTP_WORKERS": "1"}, COMMAND).start()
    try:
        prepare(server)
        yield server
        assert_sound(server)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def big(server: LiveServer) -> str:
    return f"/v2/slow/big/blobs/{push_blob(server, 'slow/big', BIG)}"


@contextmanager
def closed_for(server: LiveServer, reason: str, least: float, most: float) -> Iterator[None]:
    """The block ends with the end of a connection: in time, and for this reason and no other."""
    began, before = time.monotonic(), reasons(server)
    yield
    assert least < time.monotonic() - began < most + SLACK
    assert reasons(server) - before == Counter([reason] if reason else [])


def reasons(server: LiveServer) -> Counter[str]:
    """Why connections were closed, as the log says."""
    events = [json.loads(line)["event"] for line in server.log.read_text("utf-8").splitlines()]
    return Counter(event.removeprefix(CLOSED) for event in events if event.startswith(CLOSED))


@pytest.mark.parametrize("start", [b"", b"G", PING[:-2], PING[:-1]], ids=["nothing", "a byte", "a line", "almost all"])
def test_h18_a_head_that_does_not_come(server: LiveServer, start: bytes) -> None:
    with closed_for(server, NO_REQUEST, HASTY.head / 2, HASTY.head), Wire(server) as wire:
        wire.send(start)
        assert_serving(server)
        assert wire.rest() == b""


def test_h18_a_head_in_drops(server: LiveServer) -> None:
    with closed_for(server, NO_REQUEST, HASTY.head / 2, HASTY.head), Wire(server) as wire:
        wire.send(b"GET /v2/ HTTP/1.1\r\nX: ")
        while not _readable(wire, HASTY.head / 10):
            wire.send(b"a")  # each byte comes in time, the head does not
        assert wire.rest() == b""


def test_h18_a_later_head_that_does_not_come(server: LiveServer) -> None:
    with Wire(server) as wire:
        wire.send(PING)
        assert wire.receive(12) == b"HTTP/1.1 200"
        with closed_for(server, NO_REQUEST, HASTY.head / 2, HASTY.head):
            wire.send(PING[:-2])
            wire.rest()


def test_h19_an_idle_connection(server: LiveServer) -> None:
    with closed_for(server, "", HASTY.idle / 2, HASTY.idle), Wire(server) as wire:
        wire.send(PING).rest()


@pytest.mark.parametrize(("chunked", "drops"), [(False, b""), (True, b"x")], ids=["stalled", "chunked, in drops"])
def test_h20_a_slow_body(server: LiveServer, chunked: bool, drops: bytes) -> None:
    location = start_upload(server, "slow/body")
    fields = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(MIB)}
    began, sent = time.monotonic(), b"first"
    with Wire(server) as wire:
        wire.send(head("PATCH", location, fields) + (chunk(sent) if chunked else sent))
        while not _readable(wire, 0.1):
            wire.send((chunk(drops) if chunked else drops) if drops else b"")
            sent += drops
            assert time.monotonic() - began < HASTY.grace + HASTY.window + SLACK
        assert time.monotonic() - began > HASTY.window
        answer = wire.answer()
    assert_refused(server, answer, 408, "SIZE_INVALID")
    assert answer.headers["Connection"] == "close"
    status = request(server, "GET", location)
    kept = int(str(status.headers["Range"]).removeprefix("0-")) + 1
    assert len(b"first") <= kept <= len(sent)
    whole = sent[:kept] + b" and the rest"
    target = f"{status.location}&digest={digest_of(whole)}"
    assert request(server, "PUT", target, whole[kept:]).status == 201
    assert request(server, "DELETE", f"/v2/slow/body/blobs/{digest_of(whole)}").status == 202


def test_h20_a_slow_manifest_and_a_slow_whole_blob(server: LiveServer) -> None:
    targets = ("/v2/slow/body/manifests/v1", f"/v2/slow/body/blobs/uploads/?digest={digest_of(b'never')}")
    with nothing_stored(server), Wire(server) as first, Wire(server) as second:
        for wire, method, target in zip((first, second), ("PUT", "POST"), targets, strict=True):
            wire.send(head(method, target, {"Content-Length": "1000"}) + b"{")
        answers = [first.answer(), second.answer()]
    for answer in answers:
        assert_refused(server, answer, 408, "SIZE_INVALID")


def test_h20_what_is_left_of_a_refused_body(server: LiveServer) -> None:
    assert HASTY.linger > HASTY.grace + HASTY.window, "or this shows the other deadline only"
    with closed_for(server, "", HASTY.linger / 2, HASTY.linger), Wire(server) as wire:
        answer = wire.send(head("PUT", "/v2/Bad/manifests/v1", {"Content-Length": "1000"}) + b"{").answer()
        assert wire.rest() == b""
    assert_refused(server, answer, 400, "NAME_INVALID")


def test_h20_a_body_that_keeps_up(server: LiveServer) -> None:
    location = start_upload(server, "slow/steady")
    pieces, size = 40, 1024  # 10 KiB/s, for longer than the grace and two windows
    with Wire(server) as wire:
        wire.send(head("PATCH", location, {"Content-Length": str(pieces * size)}))
        for _ in range(pieces):
            wire.send(bytes(size))
            time.sleep((HASTY.grace + 2 * HASTY.window) / pieces)
        answer = wire.answer()
    assert answer.status == 202, answer.story


def test_h21_a_reader_that_stalls(server: LiveServer, big: str) -> None:
    before, readers = resident(server), 20
    wires = [Wire(server).send(head("GET", big)) for _ in range(readers)]
    try:
        eventually(lambda: open_blobs(server) == readers)
        assert_serving(server)
        assert resident(server) - before < readers * MIB
        eventually(lambda: open_blobs(server) == 0)
        assert_no_traceback(server)
    finally:
        for wire in wires:
            assert len(wire.rest()) < len(BIG)
            wire.__exit__(None, None, None)
    assert_serving(server)


def test_h21_answers_that_nobody_takes(server: LiveServer) -> None:
    """Not of blobs, and large enough that also a busy server fills all buffers at once."""
    document = {"schemaVersion": 2, "mediaType": OCI.index, "manifests": [], "annotations": {"filler": "x" * MIB}}
    digest = push_manifest(server, "slow/index", json.dumps(document).encode(), media_type=OCI.index)
    with closed_for(server, TOO_SLOW, HASTY.window, HASTY.window + EVENTUALLY_SECONDS), Wire(server) as wire:
        wire._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.send(head("GET", f"/v2/slow/index/manifests/{digest}", {"Connection": "keep-alive"}) * 100)
        eventually(lambda: wire._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == TCP_CLOSE)
    assert_no_traceback(server)
    assert_serving(server)


def test_h21_a_reader_that_keeps_up(server: LiveServer, big: str) -> None:
    received, began = 0, time.monotonic()
    with Wire(server) as wire:
        wire.send(head("GET", big))
        while time.monotonic() - began < 2 * HASTY.window:
            received += len(wire.receive(64 * 1024))
            time.sleep(0.02)
        received += len(wire.rest())
    assert received > len(BIG)


def _readable(wire: Wire, seconds: float) -> bool:
    """Whether something comes within the time, be it the end."""
    wire._socket.settimeout(seconds)
    try:
        wire._socket.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    finally:
        wire._socket.settimeout(TIMEOUT_SECONDS)
    return True
