"""Uploads that go wrong, on purpose or not (table b-4), and chunks that do not fit (H-10 to H-13)."""

import asyncio
import hashlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession
from yarl import URL

from registry.clock import JumpWatch
from registry.domain.errors import BlobUploadUnknown
from registry.domain.names import Digest
from tests.support.images import digest_of
from tests.support.registry import DAY, Clock, body, keep, opened, pull, start
from tests.support.server import LiveServer
from tests.support.wire import (
    Answer,
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
    query,
    request,
    snapshot,
    start_upload,
)

LOCATION = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>[0-9a-f]{32})\?offset=(?P<offset>\d+)")
FIRST = b"first"
REST = b" and the rest"
WHOLE = FIRST + REST
UNKNOWN_ID = "0123456789abcdef" * 2
SESSION_METHODS = ["GET", "HEAD", "PATCH", "PUT", "DELETE"]


def patch(server: LiveServer, location: str, data: bytes, **headers: str) -> Answer:
    """PATCH a chunk. Headers by name: `Content_Range` is Content-Range."""
    fields = {name.replace("_", "-"): text for name, text in headers.items()}
    return request(server, "PATCH", location, data, headers=fields)


def finish(server: LiveServer, location: str, digest: str, data: bytes = b"") -> Answer:
    return request(server, "PUT", f"{location}&digest={digest}", data)


def begun(server: LiveServer, name: str, data: bytes = FIRST) -> str:
    """Open an upload that has this much, and return where it continues."""
    answer = patch(server, start_upload(server, name), data)
    assert answer.status == 202, answer.story
    return answer.location


def state(server: LiveServer, location: str) -> Answer:
    """Ask for the status of an upload that must be alive."""
    answer = request(server, "GET", location)
    assert (answer.status, answer.body) == (204, b""), answer.story
    return answer


def offset_of(answer: Answer) -> int:
    """The number of bytes that a Range header tells of: `0--1` is none."""
    first, _, last = str(answer.headers["Range"]).partition("-")
    assert first == "0", answer.story
    return int(last) + 1


def assert_holds(server: LiveServer, name: str, data: bytes, digest: str = "") -> None:
    answer = request(server, "GET", f"/v2/{name}/blobs/{digest or digest_of(data)}")
    assert (answer.status, answer.body) == (200, data), answer.story
    assert answer.headers["Content-Length"] == str(len(data))


def assert_continues(server: LiveServer, location: str, name: str) -> None:
    """The upload still stands behind FIRST, and can be finished."""
    now = state(server, location)
    assert now.headers["Range"] == f"0-{len(FIRST) - 1}"
    finished = finish(server, now.location, digest_of(WHOLE), REST)
    assert finished.status == 201, finished.story
    assert_holds(server, name, WHOLE)
    assert request(server, "DELETE", f"/v2/{name}/blobs/{digest_of(WHOLE)}").status == 202


def assert_out_of_order(server: LiveServer, answer: Answer, offset: int) -> None:
    """A 416 that tells how to go on."""
    assert_refused(server, answer, 416, "BLOB_UPLOAD_INVALID")
    assert answer.headers["Range"] == f"0-{offset - 1}"
    assert parts_of(answer.location)["offset"] == str(offset)


def parts_of(location: str) -> re.Match[str]:
    found = LOCATION.fullmatch(location)
    assert found is not None, location
    return found


def complete(server: LiveServer, location: str, data: bytes) -> None:
    """Resume as clients do: ask, go on there, and believe a 416."""
    now = state(server, location)
    for _ in range(5):
        answer = finish(server, now.location, digest_of(data), data[offset_of(now) :])
        if answer.status == 201:
            return
        assert answer.status == 416, answer.story
        now = answer
    pytest.fail(f"never finished: {now.story}")


# What the answers of an upload look like


def test_upload_answers(server: LiveServer) -> None:
    opened = request(server, "POST", "/v2/u/answers/blobs/uploads/")
    first = patch(server, opened.location, FIRST)
    second = patch(server, first.location, REST)
    assert [parts_of(answer.location)["offset"] for answer in (opened, first, second)] == ["0", "5", "18"]
    assert {parts_of(answer.location)["name"] for answer in (opened, first, second)} == {"u/answers"}
    assert [answer.headers["Range"] for answer in (opened, first, second)] == ["0-0", "0-4", "0-17"]
    assert {answer.headers["Content-Length"] for answer in (opened, first, second)} == {"0"}
    done = finish(server, second.location, digest_of(WHOLE))
    assert (done.status, done.location) == (201, f"/v2/u/answers/blobs/{digest_of(WHOLE)}")
    assert done.headers["Docker-Content-Digest"] == digest_of(WHOLE)


def test_upload_without_bytes(server: LiveServer) -> None:
    opened = request(server, "POST", "/v2/u/nothing/blobs/uploads/")
    assert state(server, opened.location).headers["Range"] == "0--1"
    patched = patch(server, opened.location, b"")
    assert (patched.status, patched.headers["Range"]) == (202, "0-0")
    assert state(server, patched.location).headers["Range"] == "0--1"


def test_upload_cancelled(server: LiveServer) -> None:
    location = begun(server, "u/cancelled")
    assert request(server, "DELETE", location).status == 204
    for method in SESSION_METHODS:
        answer = request(server, method, f"{location}&digest={digest_of(FIRST)}")
        assert_refused(server, answer, 404, "BLOB_UPLOAD_UNKNOWN")


# U-01, U-02: whose session


@pytest.mark.parametrize("name", ["u01/b", "u01/unknown", "u01/a/a"])
@pytest.mark.parametrize("method", SESSION_METHODS)
def test_u01_session_of_another_repository(server: LiveServer, method: str, name: str) -> None:
    push_blob(server, "u01/b", b"u01")
    location = begun(server, "u01/a")
    target = location.replace("/u01/a/", f"/{name}/") + f"&digest={digest_of(FIRST)}"
    with nothing_stored(server):
        answer = request(server, method, target, b"foreign" if method == "PATCH" else b"")
    assert_refused(server, answer, 404, "BLOB_UPLOAD_UNKNOWN")
    assert_continues(server, location, "u01/a")


UNKNOWN = (404, "BLOB_UPLOAD_UNKNOWN")
NO_NAME = (400, "NAME_INVALID")
NO_ROUTE = (404, "UNSUPPORTED")
STRANGE_IDS = {
    "unknown": (UNKNOWN_ID, [UNKNOWN]),
    "short": ("abc", [UNKNOWN]),
    "one digit": ("0", [UNKNOWN]),
    "31 digits": (UNKNOWN_ID[1:], [UNKNOWN]),
    "33 digits": (UNKNOWN_ID + "0", [UNKNOWN]),
    "10 KiB": ("a" * 10_240, [UNKNOWN]),
    "uuid": ("3f1e7c1a-2f0e-4b57-9d3f-0a6d0f7c1b2d", [UNKNOWN]),
    "no hex": ("z" * 32, [UNKNOWN]),
    "wildcard": ("%25", [UNKNOWN]),
    "sql": ("'%20OR%20'1'='1", [UNKNOWN]),
    "space": (UNKNOWN_ID + "%20", [UNKNOWN]),
    "dots": ("..", [UNKNOWN, NO_NAME]),
    "dots encoded": ("%2e%2e", [UNKNOWN, NO_NAME]),
    "staging": ("staging", [UNKNOWN]),
    "dots and slash": ("../x", [NO_ROUTE, NO_NAME]),
    "dots and slash encoded": ("..%2Fx", [UNKNOWN]),
    "nul": (UNKNOWN_ID + "%00", [UNKNOWN]),
    "line break": (UNKNOWN_ID + "%0a", [UNKNOWN]),
    "not ascii": ("%D0%B0" * 32, [UNKNOWN]),
    "full-width digits": ("%EF%BC%91" * 32, [UNKNOWN]),
}


@pytest.mark.parametrize(("upload_id", "allowed"), STRANGE_IDS.values(), ids=STRANGE_IDS.keys())
@pytest.mark.parametrize("method", SESSION_METHODS)
def test_u02_strange_ids(server: LiveServer, method: str, upload_id: str, allowed: list[tuple[int, str]]) -> None:
    push_blob(server, "u02", b"u02")
    target = f"/v2/u02/blobs/uploads/{upload_id}?offset=0&digest={digest_of(FIRST)}"
    with nothing_stored(server):
        answer = request(server, method, target, FIRST if method in {"PATCH", "PUT"} else b"")
    if method != "HEAD":
        assert (answer.status, answer.code) in allowed, answer.story
    assert answer.status in {status for status, _ in allowed}, answer.story
    assert_refused(server, answer, answer.status, answer.code)


@pytest.mark.parametrize("method", SESSION_METHODS)
def test_u02_id_in_upper_case(server: LiveServer, method: str) -> None:
    location = begun(server, "u02/upper")
    upload_id = parts_of(location)["id"]
    assert upload_id != upload_id.upper()
    target = location.replace(upload_id, upload_id.upper()) + f"&digest={digest_of(FIRST)}"
    assert_refused(server, request(server, method, target), 404, "BLOB_UPLOAD_UNKNOWN")
    assert_continues(server, location, "u02/upper")


# U-04, U-17: two requests at once; U-03 and U-05 are in tests/faults


async def send(
    session: ClientSession, method: str, location: str, data: bytes | AsyncIterator[bytes], **headers: str
) -> ClientResponse:
    fields = {name.replace("_", "-"): text for name, text in headers.items()}
    async with session.request(method, URL(location, encoded=True), data=data, headers=fields) as answer:
        await answer.read()
        return answer


async def open_upload(session: ClientSession, name: str) -> str:
    return (await send(session, "POST", f"/v2/{name}/blobs/uploads/", b"")).headers["Location"]


async def stored(session: ClientSession, name: str, digest: str) -> bytes:
    async with session.get(URL(f"/v2/{name}/blobs/{digest}", encoded=True)) as answer:
        assert answer.status == 200
        return await answer.read()


async def streamed(data: bytes) -> AsyncIterator[bytes]:
    """In two chunks, with the loop turning between."""
    yield data[: len(data) // 2]
    await asyncio.sleep(0)
    yield data[len(data) // 2 :]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_u04_second_writer_while_one_is_writing(server: LiveServer, method: str) -> None:
    location = start_upload(server, "u04/slow")
    with Wire(server) as writer:
        writer.send(head("PATCH", location, {"Content-Length": str(len(WHOLE))}) + FIRST)
        eventually(lambda: is_leased(server, location))
        target = f"{location}&digest={digest_of(FIRST)}" if method == "PUT" else location
        second = request(server, method, target, FIRST)
        assert second.status == 416, second.story
        assert_refused(server, second, 416, "BLOB_UPLOAD_INVALID")
        first = writer.send(REST).answer()
    assert (first.status, first.headers["Range"]) == (202, f"0-{len(WHOLE) - 1}"), first.story
    assert finish(server, first.location, digest_of(WHOLE)).status == 201
    assert_holds(server, "u04/slow", WHOLE)


def is_leased(server: LiveServer, location: str) -> bool:
    owners = query(server, "SELECT lease_owner FROM upload WHERE id = ?", parts_of(location)["id"])
    return owners != [(None,)]


async def test_u04_put_beside_a_running_patch(server: LiveServer) -> None:
    """100 rounds: the PUT finishes the empty upload, or meets all that the PATCH sent; nothing between."""
    empty = digest_of(b"")
    async with ClientSession(server.url) as session:
        for number in range(100):
            location = await open_upload(session, "u04")
            data = b"%d" % number * 1000
            calls = [
                send(session, "PATCH", location, streamed(data)),
                send(session, "PUT", f"{location}&digest={empty}", b""),
            ]
            if number % 2:
                put, patched = await asyncio.gather(*calls[::-1])
            else:
                patched, put = await asyncio.gather(*calls)
            assert (patched.status, put.status) in {(202, 416), (202, 400), (404, 201)}, number
            if put.status == 201:
                assert await stored(session, "u04", empty) == b""
            elif put.status == 416:
                target = f"{patched.headers['Location']}&digest={digest_of(data)}"
                assert (await send(session, "PUT", target, b"")).status == 201
                assert await stored(session, "u04", digest_of(data)) == data
    assert_serving(server)


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_u17_cancelled_under_a_running_patch(server: LiveServer, framing: str) -> None:
    location = start_upload(server, "u17")
    opening, rest = body_in_two(framing)
    with Wire(server) as writer:
        writer.send(head("PATCH", location, opening[0]) + opening[1])
        eventually(lambda: is_leased(server, location))
        assert request(server, "DELETE", location).status == 204
        answer = writer.send(rest).answer()
    assert_refused(server, answer, 404, "BLOB_UPLOAD_UNKNOWN")
    assert_refused(server, request(server, "GET", location), 404, "BLOB_UPLOAD_UNKNOWN")
    assert staged(server, location) == []


def body_in_two(framing: str) -> tuple[tuple[Mapping[str, str], bytes], bytes]:
    """The framing header with FIRST, then REST."""
    if framing == "chunked":
        return ({"Transfer-Encoding": "chunked"}, chunk(FIRST)), chunk(REST) + chunk(b"")
    return ({"Content-Length": str(len(WHOLE))}, FIRST), REST


async def test_u17_cancel_beside_a_patch(server: LiveServer) -> None:
    """200 rounds; a DELETE that came first or between leaves nothing to append to."""
    async with ClientSession(server.url) as session:
        for number in range(200):
            location = await open_upload(session, "u17")
            calls = [
                send(session, "PATCH", location, streamed(b"%d" % number * 1000)),
                send(session, "DELETE", location, b""),
            ]
            if number % 2:
                cancelled, patched = await asyncio.gather(*calls[::-1])
            else:
                patched, cancelled = await asyncio.gather(*calls)
            assert (cancelled.status, patched.status) in {(204, 202), (204, 404)}, number
            assert (await send(session, "GET", location, b"")).status == 404
    assert_serving(server)


def staged(server: LiveServer, location: str) -> list[str]:
    """Files in staging that belong to this upload."""
    upload_id = parts_of(location)["id"]
    return [path.name for path in (server.data / "blobs" / "staging").rglob("*") if upload_id in path.name]


# U-06 to U-09: digests


@pytest.mark.parametrize("data", [b"", REST], ids=["empty body", "last piece"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_u06_wrong_digest_ends_the_upload(server: LiveServer, algorithm: str, data: bytes) -> None:
    location = begun(server, "u06")
    assert staged(server, location) != []
    wrong = f"{algorithm}:{hashlib.new(algorithm, b'something else').hexdigest()}"
    with nothing_stored(server, but_uploads=True):
        answer = finish(server, location, wrong, data)
    assert_refused(server, answer, 400, "DIGEST_INVALID")
    for method in SESSION_METHODS:
        again = request(server, method, f"{location}&digest={digest_of(FIRST)}")
        assert_refused(server, again, 404, "BLOB_UPLOAD_UNKNOWN")
    assert staged(server, location) == []


@pytest.mark.parametrize("data", [b"", REST], ids=["empty body", "last piece"])
@pytest.mark.parametrize(
    "query",
    [
        pytest.param("", id="none"),
        pytest.param("&digest=", id="empty"),
        pytest.param("&digest=sha256:abc", id="short"),
        pytest.param(f"&digest={digest_of(FIRST).upper()}", id="upper case"),
        pytest.param("&digest=md5:" + "0" * 32, id="md5"),
        pytest.param("&digest=blake3:" + "0" * 64, id="blake3"),
        pytest.param("&digest=sha256%00:" + "0" * 64, id="nul"),
        pytest.param(f"&Digest={digest_of(FIRST)}", id="other case of the key"),
    ],
)
def test_u07_no_usable_digest(server: LiveServer, query: str, data: bytes) -> None:
    location = begun(server, "u07")
    with nothing_stored(server):
        answer = request(server, "PUT", f"{location}{query}", data)
    assert_refused(server, answer, 400, "DIGEST_INVALID")
    assert_continues(server, location, "u07")


@pytest.mark.parametrize("form", ["empty PUT", "whole in the PUT", "last piece in the PUT"])
def test_u08_lost_answer(server: LiveServer, form: str) -> None:
    data = f"u08 {form}".encode()
    sent = {"empty PUT": data, "whole in the PUT": b"", "last piece in the PUT": data[:3]}[form]
    location = begun(server, "u08", sent)
    first = finish(server, location, digest_of(data), data[len(sent) :])
    assert first.status == 201, first.story
    with nothing_stored(server):
        again = finish(server, location, digest_of(data), data[len(sent) :])
    assert (again.status, again.location) == (201, first.location), again.story
    assert again.headers["Docker-Content-Digest"] == digest_of(data)
    assert_holds(server, "u08", data)
    assert request(server, "DELETE", first.location).status == 202
    gone = finish(server, location, digest_of(data), data[len(sent) :])
    assert_refused(server, gone, 404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("body", [b"", b"other", FIRST[:-1]], ids=["empty", "other", "shorter"])
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("name", ["u09", "u09/other"])
def test_u09_no_link_without_the_bytes(server: LiveServer, name: str, chunked: bool, body: bytes) -> None:
    digest = push_blob(server, "u09", FIRST)
    with nothing_stored(server):
        answer = request(server, "POST", f"/v2/{name}/blobs/uploads/?digest={digest}", body, chunked=chunked)
    assert_refused(server, answer, 400, "DIGEST_INVALID")
    assert request(server, "HEAD", f"/v2/u09/other/blobs/{digest}").status == 404


def test_u09_no_link_by_an_empty_upload(server: LiveServer) -> None:
    digest = push_blob(server, "u09", FIRST)
    location = start_upload(server, "u09/other")
    with nothing_stored(server, but_uploads=True):
        answer = finish(server, location, digest)
    assert_refused(server, answer, 400, "DIGEST_INVALID")
    assert request(server, "HEAD", f"/v2/u09/other/blobs/{digest}").status == 404


# U-10: mounts


@pytest.fixture(scope="module")
def sources(server: LiveServer) -> str:
    """Repository `u10/source` with one blob, another deleted; returns the digest of the first."""
    held = push_blob(server, "u10/source", FIRST + b" u10")
    deleted = push_blob(server, "u10/source", REST + b" u10")
    assert request(server, "DELETE", f"/v2/u10/source/blobs/{deleted}").status == 202
    return held


@pytest.mark.parametrize(
    ("data", "source"),
    [
        pytest.param(FIRST + b" u10", "&from=u10/unknown", id="missing source"),
        pytest.param(FIRST + b" u10", "&from=wire/alive", id="source without it"),
        pytest.param(REST + b" u10", "&from=u10/source", id="deleted from its source"),
        pytest.param(REST + b" u10", "", id="deleted everywhere"),
        pytest.param(b"u10 never pushed", "&from=u10/source", id="missing blob"),
        pytest.param(b"u10 never pushed", "", id="nobody has it"),
    ],
)
def test_u10_impossible_mount_is_an_upload(server: LiveServer, sources: str, data: bytes, source: str) -> None:
    assert sources
    target = f"/v2/u10/target/blobs/uploads/?mount={digest_of(data)}{source}"
    with nothing_stored(server, but_uploads=True):
        answer = request(server, "POST", target)
        assert answer.status == 202, answer.story
        assert request(server, "HEAD", f"/v2/u10/target/blobs/{digest_of(data)}").status == 404
    assert finish(server, answer.location, digest_of(data), data).status == 201
    assert_holds(server, "u10/target", data)
    assert request(server, "DELETE", f"/v2/u10/target/blobs/{digest_of(data)}").status == 202


@pytest.mark.parametrize("source", ["&from=u10/source", "&from=u10%2Fsource", ""])
def test_u10_possible_mount(server: LiveServer, sources: str, source: str) -> None:
    name = f"u10/mounted{len(source)}"
    answer = request(server, "POST", f"/v2/{name}/blobs/uploads/?mount={sources}{source}")
    assert (answer.status, answer.location) == (201, f"/v2/{name}/blobs/{sources}"), answer.story
    assert answer.headers["Docker-Content-Digest"] == sources
    assert_holds(server, name, FIRST + b" u10")


# U-14, U-15, U-18: small, interrupted and empty


def test_u14_two_thousand_chunks_of_one_byte(server: LiveServer) -> None:
    """The table's 10,001 are a command's work."""
    data = bytes(number % 251 for number in range(2000))
    before = snapshot(server)
    location = start_upload(server, "u14")
    for number in range(len(data)):
        answer = patch(server, location, data[number : number + 1])
        assert answer.status == 202, answer.story
        location = answer.location
    assert len(staged(server, location)) == 1
    assert finish(server, location, digest_of(data)).status == 201
    assert_holds(server, "u14", data)
    after = snapshot(server)
    grown = {table: after.rows[table] - rows for table, rows in before.rows.items()}
    assert grown == {"blob": 1, "link": 1, "manifest": 0, "tag": 0, "ref": 0, "upload": 1}
    assert len(after.files - before.files) == 1


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of its own: this one gets killed."""
    server = LiveServer(tmp_path_factory.mktemp("mortal"), {"REGISTRY_HTTP_WORKERS": "2"}).start()
    try:
        prepare(server)
        yield server
        assert_sound(server)
    finally:
        server.stop()


CHUNKS = [0, 100_000, 100_001, 400_000]


@pytest.mark.parametrize("survived", range(len(CHUNKS) + 1))
def test_u15_killed_between_two_requests(mortal: LiveServer, survived: int) -> None:
    name, data = f"u15/{survived}", bytes(range(250)) * 1600
    location = start_upload(mortal, name)
    for number, (first, end) in enumerate(pairwise(CHUNKS)):
        if number == survived:
            kill_and_start(mortal)
        now = state(mortal, location)
        assert offset_of(now) == first
        answer = patch(mortal, now.location, data[first:end], Content_Range=f"{first}-{end - 1}")
        assert answer.status == 202, answer.story
        location = answer.location
    if survived == len(CHUNKS) - 1:
        kill_and_start(mortal)
    assert finish(mortal, location, digest_of(data)).status == 201
    if survived == len(CHUNKS):
        kill_and_start(mortal)
    assert finish(mortal, location, digest_of(data)).status == 201
    assert_holds(mortal, name, data)


def kill_and_start(server: LiveServer) -> None:
    server.kill()
    server.start()
    assert_serving(server)


@pytest.mark.parametrize("killed", range(len(CHUNKS)))
def test_u15_a_worker_killed_between_two_requests(mortal: LiveServer, killed: int) -> None:
    """Whichever worker answers next: it goes on where the one that died had acknowledged."""
    name, data = f"u15/worker-{killed}", bytes(range(250)) * 1600
    location = start_upload(mortal, name)
    for number, (first, end) in enumerate(pairwise(CHUNKS)):
        if number == killed:
            kill_a_worker(mortal, number)
        now = state(mortal, location)
        assert offset_of(now) == first
        answer = patch(mortal, now.location, data[first:end], Content_Range=f"{first}-{end - 1}")
        assert answer.status == 202, answer.story
        location = answer.location
    if killed == len(CHUNKS) - 1:
        kill_a_worker(mortal, killed)
    assert finish(mortal, location, digest_of(data)).status == 201
    assert_holds(mortal, name, data)


def kill_a_worker(server: LiveServer, number: int) -> None:
    """Each in its turn; the others serve on, and the parent replaces it."""
    before = sorted(server.workers)
    victim = before[number % len(before)]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(server.workers) == len(before) and victim not in server.workers)


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_u15_killed_in_a_body(mortal: LiveServer, framing: str) -> None:
    name, data = f"u15/{framing}", bytes(range(250)) * 4000
    location = begun(mortal, name, data[:1000])
    with Wire(mortal) as writer:
        if framing == "chunked":
            writer.send(head("PATCH", location, {"Transfer-Encoding": "chunked"}) + chunk(data[1000:500_000]))
        else:
            headers = {"Content-Length": str(len(data) - 1000)}
            writer.send(head("PATCH", location, headers) + data[1000:500_000])
        kill_and_start(mortal)
    assert 1000 <= offset_of(state(mortal, location)) <= 500_000
    complete(mortal, location, data)
    assert_holds(mortal, name, data)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("form", ["POST", "POST PUT", "POST PATCH PUT", "POST PATCH PATCH PUT"])
def test_u18_empty_blob(server: LiveServer, form: str, chunked: bool, algorithm: str) -> None:
    name = f"u18/{algorithm}-{form.count('P')}-{'chunked' if chunked else 'length'}"
    digest = f"{algorithm}:{hashlib.new(algorithm, b'').hexdigest()}"
    target = f"/v2/{name}/blobs/uploads/"
    if form == "POST":
        done = request(server, "POST", f"{target}?digest={digest}", chunked=chunked)
    else:
        location = start_upload(server, name)
        for _ in range(form.count("PATCH")):
            location = request(server, "PATCH", location, chunked=chunked).location
        done = request(server, "PUT", f"{location}&digest={digest}", chunked=chunked)
    assert done.status == 201, done.story
    assert_holds(server, name, b"", digest)
    headed = request(server, "HEAD", f"/v2/{name}/blobs/{digest}")
    assert (headed.status, headed.headers["Content-Length"]) == (200, "0")


# U-19: clocks that are set


@pytest.mark.parametrize("jump", [-DAY, DAY, 2 * DAY])
async def test_u19_a_clock_that_is_set_expires_nothing(tmp_path: Path, jump: int) -> None:
    wall, boot = Clock(), Clock(0)
    watch = JumpWatch(DAY, wall, boot)
    async with opened(tmp_path, wall, watch) as registry:
        key = await start(registry)
        await registry.uploads.append(key, body(FIRST))
        wall.advance(jump)
        await keep(registry)
        assert (await registry.uploads.append(key, body(b" and", start=len(FIRST)))).offset == 9
        wall.advance(-jump)
        await keep(registry)
        digest = Digest.of(WHOLE)
        await registry.uploads.finish(key, digest, body(b" the rest", start=9))
        assert await pull(registry, digest) == WHOLE


async def test_u19_what_is_idle_expires_once_the_clock_is_trusted_again(tmp_path: Path) -> None:
    wall, boot = Clock(), Clock(0)
    watch = JumpWatch(DAY, wall, boot)
    async with opened(tmp_path, wall, watch) as registry:
        key = await start(registry)
        wall.advance(2 * DAY)
        await keep(registry)
        assert (await registry.uploads.status(key)).offset == 0
        for clock in (wall, boot):
            clock.advance(DAY)
        await keep(registry)
        with pytest.raises(BlobUploadUnknown):
            await registry.uploads.status(key)


# H-10 to H-13: chunks that do not fit

ORDER = (416, "BLOB_UPLOAD_INVALID")
LENGTH = (400, "SIZE_INVALID")
MALFORMED = (400, "BLOB_UPLOAD_INVALID")
BAD_RANGES: dict[str, tuple[str, int, list[tuple[int, str]]]] = {
    "longer body": ("5-9", 10, [LENGTH]),
    "shorter body": ("5-14", 5, [LENGTH]),
    "no body": ("5-9", 0, [LENGTH]),
    "reversed": ("9-5", 5, [LENGTH, ORDER]),
    "no number": ("a-b", 5, [MALFORMED, LENGTH]),
    "open end": ("5-", 5, [MALFORMED, LENGTH]),
    "suffix": ("-5", 5, [MALFORMED, LENGTH]),
    "30 digits": ("5-" + "9" * 30, 5, [MALFORMED, LENGTH, ORDER]),
    "negative": ("-5-9", 5, [MALFORMED, LENGTH]),
    "two ranges": ("5-6,7-9", 5, [MALFORMED, LENGTH]),
    "other unit": ("items 5-9/10", 5, [MALFORMED, LENGTH]),
    "arabic digits": ("\xd9\xa5-\xd9\xa9", 5, [MALFORMED, LENGTH]),
    "markup": ("<script>", 5, [MALFORMED, LENGTH]),
}


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("bad_range", BAD_RANGES.keys())
def test_h10_h13_content_range_that_does_not_fit(
    server: LiveServer, bad_range: str, method: str, chunked: bool
) -> None:
    header, length, allowed = BAD_RANGES[bad_range]
    location = begun(server, "h10")
    target = f"{location}&digest={digest_of(WHOLE)}" if method == "PUT" else location
    body, headers = b"x" * length, {"Content-Range": header}
    with nothing_stored(server):
        answer = request(server, method, target, body, headers=headers, chunked=chunked)
    assert (answer.status, answer.code) in allowed, answer.story
    assert_refused(server, answer, answer.status, answer.code)
    assert_continues(server, location, "h10")


@pytest.mark.parametrize("header", ["5-17", "bytes 5-17", "bytes 5-17/18", "bytes 5-17/*", "5-17/18"])
def test_h10_spellings_of_a_content_range(server: LiveServer, header: str) -> None:
    location = begun(server, "h10")
    answer = patch(server, location, REST, Content_Range=header)
    assert (answer.status, answer.headers["Range"]) == (202, "0-17"), answer.story
    assert finish(server, answer.location, digest_of(WHOLE)).status == 201


@pytest.mark.parametrize("start", [0, 4, 6, 2**40], ids=["replay", "one behind", "one ahead", "far ahead"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_h11_chunk_out_of_order(server: LiveServer, method: str, start: int) -> None:
    location = begun(server, "h11")
    headers = {"Content-Range": f"{start}-{start + 4}"}
    target = f"{location}&digest={digest_of(b'wrong too')}" if method == "PUT" else location
    with nothing_stored(server):
        answer = request(server, method, target, FIRST, headers=headers)
    assert_out_of_order(server, answer, len(FIRST))
    assert_continues(server, location, "h11")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_h11_replay_to_an_old_location(server: LiveServer, method: str, chunked: bool) -> None:
    old = start_upload(server, "h11/old")
    location = patch(server, old, FIRST).location
    target = f"{old}&digest={digest_of(FIRST)}" if method == "PUT" else old
    with nothing_stored(server):
        answer = request(server, method, target, FIRST, chunked=chunked)
    assert_out_of_order(server, answer, len(FIRST))
    assert_continues(server, location, "h11/old")


def test_h11_out_of_order_on_an_empty_upload(server: LiveServer) -> None:
    location = start_upload(server, "h11/empty")
    answer = patch(server, location, FIRST, Content_Range="5-9")
    assert_out_of_order(server, answer, 0)
    complete(server, answer.location, WHOLE)
    assert_holds(server, "h11/empty", WHOLE)


@pytest.mark.parametrize(
    ("offset", "allowed"),
    [
        pytest.param("999", [ORDER], id="ahead"),
        pytest.param("4", [ORDER], id="behind"),
        pytest.param(str(2**63), [MALFORMED, ORDER], id="2^63"),
        pytest.param("9" * 30, [MALFORMED, ORDER], id="30 digits"),
        pytest.param("9" * 5000, [MALFORMED, ORDER], id="5000 digits"),
        pytest.param("abc", [MALFORMED, ORDER], id="no number"),
        pytest.param("-1", [MALFORMED, ORDER], id="negative"),
        pytest.param("0x5", [MALFORMED, ORDER], id="hex"),
        pytest.param("5.0", [MALFORMED, ORDER], id="float"),
        pytest.param("%00", [MALFORMED, ORDER], id="nul"),
        pytest.param("%D9%A5", [MALFORMED, ORDER], id="arabic digit"),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_h11_offset_that_is_not_its(
    server: LiveServer, method: str, offset: str, allowed: list[tuple[int, str]]
) -> None:
    location = begun(server, "h11/offset")
    target = location.replace("offset=5", f"offset={offset}") + f"&digest={digest_of(WHOLE)}"
    with nothing_stored(server):
        answer = request(server, method, target, b"not the rest")
    assert (answer.status, answer.code) in allowed, answer.story
    assert_refused(server, answer, answer.status, answer.code)
    assert_continues(server, location, "h11/offset")


@pytest.mark.parametrize("size", [5, 300_000, 3_000_000])
@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_h12_connection_that_ends_in_a_body(server: LiveServer, framing: str, size: int) -> None:
    """All that had been received is kept."""
    name, data = f"h12/{framing}-{size}", bytes(range(200)) * 20_000
    location = begun(server, name)
    with Wire(server) as writer:
        send_half(writer, location, framing, data, size)
        eventually(lambda: is_leased(server, location))
        time.sleep(0.3)
        writer.finish()
        eventually(lambda: not is_leased(server, location))
    assert offset_of(state(server, location)) == len(FIRST) + size
    complete(server, location, FIRST + data)
    assert_holds(server, name, FIRST + data)
    assert_no_traceback(server)


@pytest.mark.parametrize("end", [Wire.finish, Wire.reset])
@pytest.mark.parametrize("size", [5, 300_000, 3_000_000])
@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_h12_connection_that_breaks_in_a_body(
    server: LiveServer, framing: str, size: int, end: Callable[[Wire], None]
) -> None:
    """What was on its way may be lost, but nothing is invented."""
    name, data = f"h12/{end.__name__}-{framing}-{size}", bytes(range(200)) * 20_000
    location = begun(server, name)
    with Wire(server) as writer:
        send_half(writer, location, framing, data, size)
        end(writer)
    assert len(FIRST) <= offset_of(state(server, location)) <= len(FIRST) + size
    complete(server, location, FIRST + data)
    assert_holds(server, name, FIRST + data)
    assert_no_traceback(server)


def send_half(writer: Wire, location: str, framing: str, data: bytes, size: int) -> None:
    """`size` bytes of a body that was to be all of `data`."""
    if framing == "chunked":
        writer.send(head("PATCH", location, {"Transfer-Encoding": "chunked"}) + chunk(data)[: size + 8])
    else:
        writer.send(head("PATCH", location, {"Content-Length": str(len(data))}) + data[:size])
