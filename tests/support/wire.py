"""The registry seen from the wire: requests byte by byte, and what every refusal must look like.

No HTTP library writes the requests: each of them mends or refuses the bad input that these tests are about.
"""

import http.client
import json
import re
import socket
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from tests.support.images import ALL_MANIFESTS, OCI, Image, digest_of, image
from tests.support.server import LiveServer

TIMEOUT_SECONDS = 20.0
EVENTUALLY_SECONDS = 10.0
COUNT_ROWS = """
SELECT 'blob', count(*) FROM blob
UNION ALL SELECT 'link', count(*) FROM link
UNION ALL SELECT 'manifest', count(*) FROM manifest
UNION ALL SELECT 'tag', count(*) FROM tag
UNION ALL SELECT 'ref', count(*) FROM ref
UNION ALL SELECT 'upload', count(*) FROM upload
"""

ALIVE = image("alive")
ALIVE_NAME = "wire/alive"
ALIVE_TAG = "v1"

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_PLAIN = re.compile(r"[a-z0-9]{1,31}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_OUR_OWN = frozenset({"sha256:", "sha512:"})
_ECHO_SHORTEST = 3
_tracebacks_told: dict[Path, int] = {}


@dataclass(frozen=True)
class Answer:
    """What came back, and the request line that asked for it."""

    method: str
    target: str
    status: int
    headers: Message
    body: bytes = field(repr=False)

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The entries of the spec's error body."""
        document = self.document
        assert list(document) == ["errors"], self.story
        errors: list[dict[str, Any]] = document["errors"]
        return errors

    @property
    def code(self) -> str:
        """The code of the first entry; "" for an answer without a body."""
        return str(self.errors[0]["code"]) if self.body else ""

    @property
    def location(self) -> str:
        return str(self.headers["Location"])

    @property
    def story(self) -> str:
        """All of it, short enough to read in a failed assertion."""
        start = f"{self.method} {self.target[:200]} -> {self.status}"
        return f"{start} {self.headers.items()} {self.body[:500]!r}"


class Wire:
    """One connection, for requests that stop, stall or break midway."""

    def __init__(self, server: LiveServer) -> None:
        host, _, port = server.host.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
        self._request_line = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> Self:
        """Send; a server that has answered already may have stopped reading."""
        if not self._request_line:
            self._request_line = data.partition(b"\r\n")[0]
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)
        return self

    def answer(self) -> Answer:
        """Read one answer to the end."""
        method, _, rest = self._request_line.decode("latin-1").partition(" ")
        with closing(http.client.HTTPResponse(self._socket, method=method)) as response:
            response.begin()
            body = response.read()
            return Answer(method, rest.rpartition(" ")[0], response.status, response.headers, body)

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        received = bytearray()
        with suppress(ConnectionResetError):
            while piece := self._socket.recv(65536):
                received += piece
        return bytes(received)

    def receive(self, size: int) -> bytes:
        """Exactly so many bytes, or fewer before the connection ends."""
        received = bytearray()
        while len(received) < size and (piece := self._socket.recv(size - len(received))):
            received += piece
        return bytes(received)

    def finish(self) -> None:
        """Say that nothing more comes: FIN."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection: RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def raw(server: LiveServer, data: bytes) -> Answer:
    """Send these bytes on a connection of their own."""
    with Wire(server) as wire:
        return wire.send(data).answer()


def head(method: str, target: str | bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A request up to its body. The target goes out as it is."""
    raw_target = target if isinstance(target, bytes) else target.encode("ascii")
    lines = {"Host": "localhost", "Connection": "close", **(headers or {})}
    fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")
    return method.encode() + b" " + raw_target + b" HTTP/1.1\r\n" + fields + b"\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; the empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def request(
    server: LiveServer,
    method: str,
    target: str | bytes,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    chunked: bool = False,
) -> Answer:
    """One ordinary request on a connection of its own."""
    framing: dict[str, str] = {}
    if chunked:
        framing = {"Transfer-Encoding": "chunked"}
        body = (chunk(body) if body else b"") + chunk(b"")
    elif body or method in _BODY_METHODS:
        framing = {"Content-Length": str(len(body))}
    return raw(server, head(method, target, {**framing, **(headers or {})}) + body)


def put_manifest(
    server: LiveServer,
    name: str,
    reference: str,
    payload: bytes,
    media_type: str = OCI.manifest,
    **headers: str,
) -> Answer:
    """PUT a manifest, whatever the answer. Other headers by name: `If_Match` is If-Match."""
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    target = f"/v2/{name}/manifests/{reference}"
    return request(server, "PUT", target, payload, headers={"Content-Type": media_type, **fields})


def push_blob(server: LiveServer, name: str, data: bytes) -> str:
    """Push a blob and return its digest."""
    digest = digest_of(data)
    answer = request(server, "POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
    assert answer.status == 201, answer.story
    return digest


def push_manifest(
    server: LiveServer, name: str, payload: bytes, tag: str | None = None, media_type: str = OCI.manifest
) -> str:
    """Push a manifest whose parts are there, under a tag or its digest, and return its digest."""
    digest = digest_of(payload)
    answer = put_manifest(server, name, tag or digest, payload, media_type)
    assert answer.status == 201, answer.story
    return digest


def push_image(server: LiveServer, name: str, content: Image, tag: str = ALIVE_TAG) -> str:
    """Push an image with all its parts and return its digest."""
    for part in content.blobs:
        push_blob(server, name, part.data)
    return push_manifest(server, name, content.manifest, tag, content.media_type)


def get_manifest(server: LiveServer, name: str, reference: str) -> Answer:
    """GET a manifest, whatever the answer."""
    return request(server, "GET", f"/v2/{name}/manifests/{reference}", headers={"Accept": ALL_MANIFESTS})


def start_upload(server: LiveServer, name: str) -> str:
    """Open an upload and return its Location."""
    answer = request(server, "POST", f"/v2/{name}/blobs/uploads/")
    assert answer.status == 202, answer.story
    return answer.location


def tags(server: LiveServer, name: str) -> list[str]:
    """All tags of a repository that fit one page."""
    answer = request(server, "GET", f"/v2/{name}/tags/list")
    assert answer.status == 200, answer.story
    listed: list[str] = answer.document["tags"]
    return listed


@dataclass(frozen=True)
class Snapshot:
    """What the registry holds: rows by table, and the files under the blob store outside staging."""

    rows: Mapping[str, int]
    files: frozenset[str]

    @property
    def without_uploads(self) -> "Snapshot":
        return Snapshot({table: rows for table, rows in self.rows.items() if table != "upload"}, self.files)


def query(server: LiveServer, statement: str, *values: str) -> list[Any]:
    """Look without touching: SQLite itself opens the database, in this process and read-only."""
    database = f"file:{server.data / 'registry.db'}?mode=ro"
    with closing(sqlite3.connect(database, uri=True, timeout=10)) as connection:
        return connection.execute(statement, values).fetchall()


def snapshot(server: LiveServer) -> Snapshot:
    """What the registry holds now."""
    root = server.data / "blobs"
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return Snapshot(
        dict(query(server, COUNT_ROWS)), frozenset(str(path) for path in paths if path.parts[0] != "staging")
    )


@contextmanager
def nothing_stored(server: LiveServer, *, but_uploads: bool = False) -> Iterator[None]:
    """What happens inside leaves no row and no file; `but_uploads` where a session rightly stays."""
    before = snapshot(server)
    yield
    after = snapshot(server)
    if but_uploads:
        before, after = before.without_uploads, after.without_uploads
    assert after == before, (before.rows, after.rows, after.files ^ before.files)


def prepare(server: LiveServer) -> None:
    """Push the image that `assert_serving` pulls."""
    push_image(server, ALIVE_NAME, ALIVE, ALIVE_TAG)


def assert_serving(server: LiveServer) -> None:
    """A normal pull works: the manifest by tag, then each of its blobs."""
    manifest = get_manifest(server, ALIVE_NAME, ALIVE_TAG)
    assert (manifest.status, manifest.body) == (200, ALIVE.manifest), manifest.story
    for part in ALIVE.blobs:
        blob = request(server, "GET", f"/v2/{ALIVE_NAME}/blobs/{part.digest}")
        assert (blob.status, blob.body) == (200, part.data), blob.story


def assert_refused(server: LiveServer, answer: Answer, status: int, code: str) -> None:
    """The assertions that hold for every bad input: the error's shape, no echo, no harm done."""
    assert_no_traceback(server)
    assert answer.status == status, answer.story
    if answer.method == "HEAD":
        assert answer.body == b"", answer.story
    else:
        _assert_error_body(answer, code)
    assert_serving(server)


def assert_no_traceback(server: LiveServer) -> None:
    """Nothing new ended in a traceback: each of them fails one test, not all that follow."""
    found = server.tracebacks()
    known, _tracebacks_told[server.log] = _tracebacks_told.get(server.log, 0), len(found)
    assert found[known:] == [], found[known]


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what happens in the server soon after something on the wire."""
    deadline = time.monotonic() + EVENTUALLY_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {EVENTUALLY_SECONDS} s"
        time.sleep(0.01)


def assert_sound(server: LiveServer) -> None:
    """At the end: the database and the bytes agree, and nothing ended in a traceback."""
    checked = server.digestry("fsck", "--deep", "--json")
    assert checked.returncode == 0, checked
    json.loads(checked.stdout)
    assert not server.tracebacks(), server.tracebacks()[:3]


def _assert_error_body(answer: Answer, code: str) -> None:
    assert answer.headers.get_content_type() == "application/json", answer.story
    assert answer.errors, answer.story
    for entry in answer.errors:
        assert entry["code"] == code, answer.story
        assert isinstance(entry["message"], str), answer.story
        assert entry["message"], answer.story
        assert entry.keys() <= {"code", "message", "detail"}, answer.story
    assert b"<script" not in answer.body, answer.story
    assert [part for part in _odd_parts(answer.target) if part in answer.body.decode()] == [], answer.story


def _odd_parts(target: str) -> set[str]:
    """Parts of a target that no message has a reason to repeat: not plain words, not whole digests."""
    parts = re.split(r"[/?&=]", target)
    return {
        part
        for part in (*parts, *map(unquote, parts))
        if len(part) >= _ECHO_SHORTEST and not _PLAIN.fullmatch(part) and part not in _OUR_OWN
    }
