"""HTTP that is broken, huge or sly (table b-2).

H-08 and H-17 are in test_manifests, H-10 to H-13 in test_uploads, H-18 to H-21 in test_slow.
Requests that can't be parsed are answered in the same form as all others, and then the connection is closed.
"""

import gzip
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.support.images import digest_of
from tests.support.memory import resident
from tests.support.server import LiveServer
from tests.support.wire import (
    ALIVE,
    ALIVE_NAME,
    ALIVE_TAG,
    Wire,
    assert_no_traceback,
    assert_refused,
    assert_serving,
    chunk,
    eventually,
    head,
    nothing_stored,
    push_blob,
    request,
    start_upload,
)

KIB = 1024
MIB = 1024 * 1024
RSS_LIMIT = 16 * MIB
FIRST = b"first"
UPLOADS = "/v2/http/uploads/blobs/uploads/"
# What a smuggled request would leave behind
SMUGGLED = head("POST", "/v2/http/smuggled/blobs/uploads/", {"Content-Length": "0"})
CHUNKED = {"Transfer-Encoding": "chunked"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def lines(method: str, target: str, *fields: bytes) -> bytes:
    """A head made of exactly these header lines."""
    return b"\r\n".join([f"{method} {target} HTTP/1.1".encode(), b"Host: localhost", *fields, b"", b""])


def assert_refused_and_closed(server: LiveServer, data: bytes, status: int, code: str = "UNSUPPORTED") -> None:
    with Wire(server) as wire:
        answer = wire.send(data).answer()
        assert wire.rest() == b"", "something was answered behind the refusal"
    assert_refused(server, answer, status, code)
    assert answer.headers["X-Request-Id"]


def offset(server: LiveServer, location: str) -> int:
    """How many bytes an upload has."""
    answer = request(server, "GET", location)
    assert answer.status == 204, answer.story
    return int(str(answer.headers["Range"]).removeprefix("0-")) + 1


def begun(server: LiveServer, name: str = "http/uploads") -> str:
    """An upload that has FIRST, and where it continues."""
    answer = request(server, "PATCH", start_upload(server, name), FIRST)
    assert answer.status == 202, answer.story
    return answer.location


def invited(wire: Wire, location: str, **fields: str) -> Wire:
    """Send the head of a PATCH, and return when the server reads the body."""
    extra = {name.replace("_", "-"): text for name, text in fields.items()}
    wire.send(head("PATCH", location, {"Expect": "100-continue", **(extra or CHUNKED)}))
    assert wire.receive(len(CONTINUE)) == CONTINUE
    return wire


@contextmanager
def flat_memory(server: LiveServer) -> Iterator[None]:
    before = resident(server)
    yield
    assert resident(server) - before < RSS_LIMIT


# What the parser refuses


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: +5"],
        [b"Content-Length: -5"],
        [b"Content-Length: 5,5"],
        [b"Content-Length: 5 5"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: " + b"9" * 20],
        [b"Content-Length: 18446744073709551617"],
        [b"Content-Length:"],
    ],
    ids=lambda fields: b" ".join(fields).decode(),
)
def test_h01_lengths_that_contradict(server: LiveServer, fields: Sequence[bytes]) -> None:
    with nothing_stored(server):
        assert_refused_and_closed(server, lines("POST", UPLOADS, *fields) + b"0\r\n\r\n" + SMUGGLED, 400)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: localhost\n\n", id="bare LF at the end"),
        pytest.param(lines("GET", "/v2/", b"X: a\nY: b"), id="bare LF"),
        pytest.param(lines("GET", "/v2/", b"X: a", b" folded"), id="obs-fold"),
        pytest.param(lines("GET", "/v2/", b"X: a", b"\tfolded"), id="obs-fold with a tab"),
        pytest.param(b"GET /v2/ HTTP/1.1\r\n X: a\r\nHost: localhost\r\n\r\n", id="space before the first field"),
        pytest.param(lines("GET", "/v2/", b"X : a"), id="space before the colon"),
        pytest.param(lines("GET", "/v2/", b": a"), id="no name"),
        pytest.param(lines("GET", "/v2/", b"X"), id="no colon"),
        pytest.param(lines("GET", "/v2/", b"X: a\0b"), id="NUL in a value"),
        pytest.param(lines("GET", "/v2/", b"X\0: a"), id="NUL in a name"),
        pytest.param(lines("GET", "/v2/", b"X: a\rb"), id="bare CR"),
        pytest.param(lines("GET", "/v2/", b"X: \x1b[31m"), id="escape"),
        pytest.param(lines("GET", "/v2/", b"Host: localhost"), id="two hosts"),
        pytest.param(b"GET /v2/ HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET /v2/\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", id="NUL in the target"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200, id="TLS"),
        pytest.param(b"\xff" * 100, id="noise"),
    ],
)
def test_h02_heads_that_are_none(server: LiveServer, data: bytes) -> None:
    with nothing_stored(server):
        assert_refused_and_closed(server, data + SMUGGLED, 400)


BAD_CHUNKS = [
    pytest.param(b"ZZ\r\nhello\r\n", id="no number"),
    pytest.param(b"-1\r\nhello\r\n", id="negative"),
    pytest.param(b"1" * 17 + b"\r\nhello\r\n", id="17 digits"),
    pytest.param(b"5\r\nhelloXX0\r\n\r\n", id="no CRLF behind the data"),
    pytest.param(b"5\nhello\r\n0\r\n\r\n", id="bare LF"),
    pytest.param(b"5 \r\nhello\r\n0\r\n\r\n", id="space behind the size"),
    pytest.param(b"\r\nhello\r\n0\r\n\r\n", id="no size"),
]


@pytest.mark.parametrize("data", BAD_CHUNKS)
def test_h03_broken_chunks(server: LiveServer, data: bytes) -> None:
    location = begun(server)
    with nothing_stored(server):
        assert_refused_and_closed(server, head("PATCH", location, CHUNKED) + chunk(b"more") + data + SMUGGLED, 400)
    assert offset(server, location) == len(FIRST)


@pytest.mark.parametrize("data", BAD_CHUNKS)
def test_h03_broken_chunks_while_the_body_is_read(server: LiveServer, data: bytes) -> None:
    location = begun(server)
    with nothing_stored(server), Wire(server) as wire:
        answer = invited(wire, location).send(chunk(b"more")).send(data + SMUGGLED).answer()
        assert wire.rest() == b""
    assert_refused(server, answer, 400, "UNSUPPORTED")
    assert offset(server, location) == len(FIRST)


@pytest.mark.parametrize("data", [b"ZZ\r\n", chunk(b"a") * 100_000, b"0\r\nX : a\r\n"], ids=["size", "tiny", "trailer"])
def test_h03_broken_chunks_behind_a_refusal(server: LiveServer, data: bytes) -> None:
    """Nobody reads this body any more, but what is left of it."""
    fields = {**CHUNKED, "Connection": "keep-alive"}
    with Wire(server) as wire:
        wire._socket.settimeout(5)
        answer = wire.send(head("PUT", "/v2/Bad/manifests/v1", fields)).answer()
        assert wire.send(chunk(b"more")).send(data).rest() == b""
    assert_refused(server, answer, 400, "NAME_INVALID")


# Bodies made of framing


def test_h04_a_million_tiny_chunks(server: LiveServer) -> None:
    location = begun(server)
    with flat_memory(server), Wire(server) as wire:
        answer = invited(wire, location).send(chunk(b"a") * 1_000_000).answer()
    assert_refused(server, answer, 400, "UNSUPPORTED")
    assert "chunks are too small" in answer.errors[0]["message"]
    assert offset(server, location) == len(FIRST)


@pytest.mark.parametrize(
    "chunks", [chunk(b"a" * 63) * 2_000, b"1;" + b"x" * 100 * KIB + b"\r\na\r\n"], ids=["63", "ext"]
)
def test_h04_too_much_framing(server: LiveServer, chunks: bytes) -> None:
    location = begun(server)
    with Wire(server) as wire:
        answer = invited(wire, location).send(chunks).answer()
    assert_refused(server, answer, 400, "UNSUPPORTED")
    assert offset(server, location) == len(FIRST)


@pytest.mark.parametrize(("size", "count"), [(1, 2_000), (64, 20_000), (100, 20_000)])
def test_h04_small_chunks_that_are_fair(server: LiveServer, size: int, count: int) -> None:
    location = begun(server)
    with Wire(server) as wire:
        answer = wire.send(head("PATCH", location, CHUNKED) + chunk(b"a" * size) * count + chunk(b"")).answer()
    assert answer.status == 202, answer.story
    assert offset(server, location) == len(FIRST) + size * count


@pytest.mark.parametrize(
    ("trailers", "status"),
    [
        pytest.param(b"".join(b"X-%d: a\r\n" % number for number in range(200_000)), 431, id="many"),
        pytest.param(b"X: " + b"a" * 4 * MIB, 431, id="long"),
        pytest.param(b"X : a\r\n\r\n", 400, id="broken"),
    ],
)
@pytest.mark.parametrize("reading", [False, True], ids=["at once", "while the body is read"])
def test_h05_trailers(server: LiveServer, reading: bool, trailers: bytes, status: int) -> None:
    location = begun(server)
    data = chunk(b"more") + b"0\r\n" + trailers
    with flat_memory(server), Wire(server) as wire:
        if reading:
            answer = invited(wire, location).send(data).answer()
        else:
            answer = wire.send(head("PATCH", location, CHUNKED) + data).answer()
    # Once the body is read, its head is past blame: what is told is that the coding is broken
    assert_refused(server, answer, 400 if answer.status == 400 else status, "UNSUPPORTED")
    assert offset(server, location) == len(FIRST)


@pytest.mark.parametrize(
    "field",
    [
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked;q=1",
    ],
)
def test_h06_other_transfer_codings(server: LiveServer, field: bytes) -> None:
    with nothing_stored(server):
        assert_refused_and_closed(server, lines("POST", UPLOADS, field) + chunk(b"") + SMUGGLED, 501)


def test_h06_chunked_by_any_case(server: LiveServer) -> None:
    location = begun(server)
    with Wire(server) as wire:
        data = lines("PATCH", location, b"Transfer-Encoding: Chunked", b"Connection: close") + chunk(b"x") + chunk(b"")
        assert wire.send(data).answer().status == 202


def test_h06_chunked_needs_http_1_1(server: LiveServer) -> None:
    data = f"PATCH {begun(server)} HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert_refused_and_closed(server, data + chunk(b""), 400)


def test_h07_a_packed_blob_stays_packed(server: LiveServer) -> None:
    bomb = gzip.compress(bytes(50 * MIB))
    digest = digest_of(bomb)
    with flat_memory(server):
        target = f"/v2/http/bomb/blobs/uploads/?digest={digest}"
        answer = request(server, "POST", target, bomb, headers={"Content-Encoding": "gzip"})
        assert answer.status == 201, answer.story
    pulled = request(server, "GET", f"/v2/http/bomb/blobs/{digest}")
    assert (pulled.status, pulled.body, pulled.headers["Content-Encoding"]) == (200, bomb, None)


# Names that are not ours to believe


EVIL = [
    {"Host": "evil.example"},
    {"X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-Proto": "evil", "X-Forwarded-Prefix": "/evil", "X-Original-URL": "/evil"},
    {"Forwarded": 'host="a evil.example"'},
]


@pytest.mark.parametrize("headers", EVIL, ids=lambda headers: next(iter(headers)))
def test_h09_foreign_hosts_on_pull(server: LiveServer, headers: dict[str, str]) -> None:
    answer = request(server, "GET", f"/v2/{ALIVE_NAME}/manifests/{ALIVE_TAG}", headers=headers)
    assert (answer.status, answer.body) == (200, ALIVE.manifest), answer.story
    assert "evil" not in str(answer.headers.items())


@pytest.mark.parametrize("headers", EVIL[1:], ids=lambda headers: next(iter(headers)))
def test_h09_foreign_hosts_on_push(server: LiveServer, headers: dict[str, str]) -> None:
    answer = request(server, "POST", UPLOADS, headers=headers)
    assert answer.status == 202, answer.story
    assert answer.location.startswith(UPLOADS)
    assert "evil" not in str(answer.headers.items())


@pytest.mark.parametrize("target", ["http://evil.example", "https://evil.example:1", "http://user:pass@evil.example"])
def test_h09_absolute_form(server: LiveServer, target: str) -> None:
    answer = request(server, "POST", target + UPLOADS)
    assert answer.status == 202, answer.story
    assert answer.location.startswith(UPLOADS)
    assert "evil" not in str(answer.headers.items())


def test_h09_a_line_break_in_forwarded(server: LiveServer) -> None:
    assert_refused_and_closed(server, lines("GET", "/v2/", b'Forwarded: host="a\rb: evil"'), 400)


# Ranges, negotiation


BLOB = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def ranged(server: LiveServer) -> str:
    """A blob to ask ranges of."""
    return f"/v2/http/ranged/blobs/{push_blob(server, 'http/ranged', BLOB)}"


@pytest.mark.parametrize("value", ["bytes=999999-", "bytes=-0", f"bytes={len(BLOB)}-{len(BLOB)}"])
def test_h14_ranges_outside_the_blob(server: LiveServer, ranged: str, value: str) -> None:
    answer = request(server, "GET", ranged, headers={"Range": value})
    assert_refused(server, answer, 416, "SIZE_INVALID")
    assert answer.headers["Content-Range"] == f"bytes */{len(BLOB)}"


@pytest.mark.parametrize(
    "value",
    [
        "items=1-2",
        "bytes",
        "bytes=",
        "bytes=a-b",
        "bytes=-",
        "bytes=1-2,x",
        "bytes=" + "9" * 40 + "-",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(17)),
        "bytes=" + ",".join(["0-"] * 4_000),
        "bytes=0-,0-",
        "bytes=0-60000,100-60100",
    ],
    ids=lambda value: value[:30],
)
def test_h14_ranges_that_are_ignored(server: LiveServer, ranged: str, value: str) -> None:
    answer = request(server, "GET", ranged, headers={"Range": value})
    assert (answer.status, answer.body) == (200, BLOB), answer.story
    assert_serving(server)


def test_h14_a_range_that_ends_before_it_starts(server: LiveServer, ranged: str) -> None:
    answer = request(server, "GET", ranged, headers={"Range": "bytes=5-1"})
    assert answer.status in (200, 416), answer.story
    assert answer.status == 416 or answer.body == BLOB


def test_h14_overlapping_ranges_send_no_more_than_the_blob(server: LiveServer, ranged: str) -> None:
    answer = request(server, "GET", ranged, headers={"Range": "bytes=0-99,50-149,0-99"})
    assert answer.status == 206, answer.story
    assert len(answer.body) <= 2 * len(BLOB)
    assert answer.body.count(BLOB[50:100]) >= 3


def test_h15_if_range_of_another_blob(server: LiveServer, ranged: str) -> None:
    for condition in (f'"{digest_of(b"other")}"', '"x"', "Tue, 24 Nov 2026 02:00:00 GMT", ""):
        answer = request(server, "GET", ranged, headers={"Range": "bytes=0-9", "If-Range": condition})
        assert (answer.status, answer.body) == (200, BLOB), answer.story
    held = f'"{ranged.rpartition("/")[2]}"'
    answer = request(server, "GET", ranged, headers={"Range": "bytes=0-9", "If-Range": held})
    assert (answer.status, answer.body) == (206, BLOB[:10]), answer.story


def test_h16_an_endless_accept(server: LiveServer) -> None:
    items = [f"application/x-{number};q=0.{number % 10}" for number in range(1_600)]
    accepts = [b"Accept: " + ", ".join(items)[: 22 * KIB].encode()] * 3
    garbage = b'Accept: ;;;q=,*/*;q=abc,/,a/b;q=1e9;"'
    data = lines("GET", f"/v2/{ALIVE_NAME}/manifests/{ALIVE_TAG}", *accepts, garbage, b"Connection: close")
    assert len(data) > 64 * KIB
    with Wire(server) as wire:
        answer = wire.send(data).answer()
    assert (answer.status, answer.body) == (200, ALIVE.manifest), answer.story


# Many requests, strange methods


def test_h22_ten_thousand_requests_in_a_row(server: LiveServer) -> None:
    ids = [f"row-{number}" for number in range(10_000)]
    row = b"".join(lines("HEAD", "/v2/", b"X-Request-Id: " + text.encode()) for text in ids)
    last = lines("HEAD", "/v2/", b"Connection: close")
    with flat_memory(server), Wire(server) as wire:
        sender = threading.Thread(target=wire.send, args=(row + last,))
        sender.start()
        assert_serving(server)  # others are served meanwhile
        answered = wire.rest().decode("ascii")
        sender.join()
    assert answered.count("HTTP/1.1 200 ") == len(ids) + 1
    told = [line.partition(": ")[2] for line in answered.split("\r\n") if line.startswith("X-Request-Id: row-")]
    assert told == ids


def test_h22_a_half_closed_connection(server: LiveServer) -> None:
    with Wire(server) as wire:
        wire.send(lines("GET", "/v2/"))
        wire.finish()
        assert wire.rest().split(b" ")[1:2] in ([], [b"200"])
    assert_serving(server)
    assert_no_traceback(server)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(lines("TRACE", "/v2/", b"Connection: close"), 405, id="TRACE"),
        pytest.param(lines("CONNECT", "example.com:80"), 405, id="CONNECT"),
        pytest.param(lines("CONNECT", "/v2/"), 405, id="CONNECT /v2/"),
        pytest.param(lines("FOO", "/v2/"), 400, id="FOO"),
        pytest.param(lines("PROPFIND", "/v2/", b"Connection: close"), 405, id="PROPFIND"),
        pytest.param(lines("get", "/v2/"), 400, id="get"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="PRI"),
        pytest.param(b"GET /v2/ HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, id="HTTP/2.0"),
        pytest.param(b"GET /v2/ HTTP/1.2\r\nHost: localhost\r\n\r\n", 400, id="HTTP/1.2"),
        pytest.param(b"GET /v2/ HTTP/0.9\r\nHost: localhost\r\n\r\n", 505, id="HTTP/0.9"),
    ],
)
def test_h23_strange_methods_and_versions(server: LiveServer, data: bytes, status: int) -> None:
    assert_refused_and_closed(server, data, status)


def test_h23_an_upgrade_is_declined(server: LiveServer) -> None:
    data = lines("GET", "/v2/", b"Connection: Upgrade", b"Upgrade: websocket")
    with Wire(server) as wire:
        answered = wire.send(data + lines("GET", "/v2/", b"Connection: close")).rest()
    assert answered.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("PUT", "/v2/Bad/manifests/v1", 400, "NAME_INVALID"),
        ("PATCH", "/v2/http/uploads/blobs/uploads/" + "0" * 32, 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", f"/v2/http/uploads/blobs/uploads/{'0' * 32}?digest=x", 400, "DIGEST_INVALID"),
        ("POST", "/v2/http/uploads/blobs/uploads/?digest=x", 400, "DIGEST_INVALID"),
        ("PATCH", "/v2/http/uploads/tags/list", 405, "UNSUPPORTED"),
    ],
)
def test_h24_no_invitation_before_the_checks(
    server: LiveServer, method: str, target: str, status: int, code: str
) -> None:
    fields = {"Expect": "100-continue", "Content-Length": str(10 * MIB)}
    with Wire(server) as wire:
        wire._socket.settimeout(5)  # else the server would wait for the body for 10 s
        answer = wire.send(head(method, target, {**fields, "Connection": "keep-alive"})).answer()
        assert wire.rest() == b""  # the body may never come, so nothing else can follow on this connection
    assert_refused(server, answer, status, code)
    with Wire(server) as wire:
        assert wire.send(head(method, target, fields)).rest().startswith(f"HTTP/1.1 {status} ".encode())


def test_h24_the_invitation(server: LiveServer) -> None:
    location = begun(server)
    with Wire(server) as wire:
        answer = invited(wire, location, Content_Length="4").send(b"more").answer()
    assert answer.status == 202, answer.story


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param([b"Authorization: Bearer " + b"a" * 8 * KIB], 200, id="8 KiB bearer"),
        pytest.param([b"X-%d: a" % number for number in range(100)], 200, id="100 headers"),
        pytest.param([b"X-%d: a" % number for number in range(200)], 431, id="200 headers"),
        pytest.param([b"Authorization: Bearer " + b"a" * 32 * KIB], 431, id="32 KiB bearer"),
        pytest.param([b"Cookie: " + b"a" * 64 * KIB], 431, id="64 KiB cookie"),
        pytest.param([b"a" * 64 * KIB + b": x"], 431, id="64 KiB name"),
        pytest.param([b"X-%d: " % number + b"a" * 20 * KIB for number in range(10)], 431, id="200 KiB in all"),
    ],
)
def test_h25_large_heads(server: LiveServer, fields: Sequence[bytes], status: int) -> None:
    data = lines("GET", "/v2/", *fields, b"Connection: close")
    if status != 200:
        assert_refused_and_closed(server, data, status)
        return
    with Wire(server) as wire:
        assert wire.send(data).answer().status == 200


def test_h25_a_large_head_in_drops(server: LiveServer) -> None:
    with flat_memory(server), Wire(server) as wire:
        wire.send(b"GET /v2/ HTTP/1.1\r\n")
        for number in range(20):
            wire.send(b"X-%d: " % number + b"a" * 10 * KIB + b"\r\n")
            time.sleep(0.001)  # so that the pieces arrive one by one; nothing depends on it
        answer = wire.answer()
    assert_refused(server, answer, 431, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE", "X-Method-Override": "DELETE"}),
        ("?_method=DELETE&method=DELETE", {}),
    ],
)
def test_h26_methods_are_not_overridden(server: LiveServer, ranged: str, query: str, headers: dict[str, str]) -> None:
    with nothing_stored(server):
        answer = request(server, "GET", ranged + query, headers=headers)
    assert (answer.status, answer.body) == (200, BLOB), answer.story


# Logs


def test_a_flood_of_garbage_does_not_fill_the_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = LiveServer(tmp_path_factory.mktemp("flood"), {"REGISTRY_HTTP_WORKERS": "1"}).start()
    try:
        began, count = time.monotonic(), 400
        for _ in range(count):
            with Wire(server) as wire:
                assert wire.send(b"garbage\r\n\r\n").rest().startswith(b"HTTP/1.0 400 ")
        seconds = time.monotonic() - began

        def counted() -> tuple[int, int]:
            events = [json.loads(line)["event"] for line in server.log.read_text().splitlines()]
            told = [event for event in events if "can't be parsed" in event]
            rest = [int(event.split()[0]) for event in events if event.endswith("were refused")]
            return len(told), sum(rest)

        eventually(lambda: sum(counted()) == count)
        assert counted()[0] <= 10 * (seconds + 2)
        assert "http.request.uri" not in server.log.read_text("utf-8"), "two lines for one"
    finally:
        server.stop()


def test_log_lines_are_short_and_whole(server: LiveServer) -> None:
    agent = b"User-Agent: \xff\xe2\x80\xa8\xc2\x85\xf0\x9f\x98\x80" + b"agent" * 2_000
    target = "/v2/http-log/" + "%0d%0a" * 4_000 + "?secret=hidden"
    with Wire(server) as wire:
        wire.send(lines("GET", target, agent, b"Connection: close")).rest()
    eventually(lambda: b"http-log" in server.log.read_bytes())
    written = server.log.read_text("utf-8")
    assert "hidden" not in written
    (line,) = [line for line in written.split("\n") if "http-log" in line]
    assert len(line) < 2 * KIB
    assert line.isprintable()
    assert json.loads(line)["http.request.useragent"].startswith(r"\udcff\u2028\x85\U0001f600agent")
