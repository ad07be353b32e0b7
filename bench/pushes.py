"""Pushes whose client costs next to nothing: bytes go from a file in memory to the socket by sendfile."""

import hashlib
import http.client
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from tests.support.images import digest_of

REPOSITORY = "/v2/bench"
TIMEOUT_SECONDS = 600.0
PIECE = 1024 * 1024
# What Docker's engine sends a stream in
CHUNK = 32 * 1024
TAIL = 32
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


class UnexpectedAnswerError(Exception):
    """A registry answered a correct request with something else than it should."""


@dataclass(frozen=True)
class Content:
    """The file's first bytes, then a tail of its own."""

    path: Path
    shared: int
    tail: bytes
    digest: str

    @property
    def size(self) -> int:
        return self.shared + len(self.tail)


class Source:
    """Makes contents that no registry has seen. Only the tail is new, so the digest costs nothing to know."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._hashes: dict[int, hashlib._Hash] = {}
        pattern = os.urandom(PIECE - 1)  # no multiple of a page: no two pages are the same
        with path.open("wb") as file:
            while file.tell() < size:
                file.write(pattern)

    def fresh(self, size: int) -> Content:
        tail = os.urandom(TAIL)
        shared = size - TAIL
        digest = self._hash_of(shared).copy()
        digest.update(tail)
        return Content(self._path, shared, tail, f"sha256:{digest.hexdigest()}")

    def _hash_of(self, shared: int) -> "hashlib._Hash":
        if shared not in self._hashes:
            with self._path.open("rb") as file:
                running, left = hashlib.sha256(), shared
                while left:
                    piece = file.read(min(PIECE, left))
                    running.update(piece)
                    left -= len(piece)
            self._hashes[shared] = running
        return self._hashes[shared]


@contextmanager
def source(size: int) -> Iterator[Source]:
    """A source for contents of at most this size."""
    with tempfile.TemporaryDirectory(prefix="digestry-bench-", dir=_memory(size)) as folder:
        yield Source(Path(folder) / "content", size)


def _memory(size: int) -> Path | None:
    """A folder in memory, or None for the usual place of temporary files."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * size else None


class Client:
    """One connection to a registry; `headers` go with each request."""

    def __init__(self, host: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self._http = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)
        self._headers = headers

    def close(self) -> None:
        self._http.close()

    def push(self, content: Content) -> None:
        """Monolithic: POST, then PUT with all bytes."""
        path = f"{self._new_upload()}digest={content.digest}"
        self._begin("PUT", path, "Content-Length", str(content.size))
        with content.path.open("rb") as file:
            self._http.sock.sendfile(file, 0, content.shared)
        self._http.sock.sendall(content.tail)
        self._expect(201)

    def push_as_stream(self, content: Content) -> None:
        """As Docker does it: POST, PATCH in chunks of unknown number, PUT without a body."""
        self._begin("PATCH", self._new_upload(), "Transfer-Encoding", "chunked")
        with content.path.open("rb") as file:
            for start in range(0, content.shared, PIECE):
                self._http.sock.sendall(chunked(file.read(min(PIECE, content.shared - start))))
        self._http.sock.sendall(chunked(content.tail) + b"0\r\n\r\n")
        location = _continued(self._expect(202))
        self._begin("PUT", f"{location}digest={content.digest}", "Content-Length", "0")
        self._expect(201)

    def push_small(self, data: bytes) -> str:
        """A blob from memory; its digest."""
        digest = digest_of(data)
        self._begin("PUT", f"{self._new_upload()}digest={digest}", "Content-Length", str(len(data)))
        self._http.sock.sendall(data)
        self._expect(201)
        return digest

    def push_manifest(self, tag: str, media_type: str, payload: bytes) -> None:
        headers = {"Content-Type": media_type, **self._headers}
        self._http.request("PUT", f"{REPOSITORY}/manifests/{tag}", payload, headers)
        self._expect(201)

    def _new_upload(self) -> str:
        self._begin("POST", f"{REPOSITORY}/blobs/uploads/", "Content-Length", "0")
        return _continued(self._expect(202))

    def _begin(self, method: str, path: str, header: str, value: str) -> None:
        self._http.putrequest(method, path, skip_accept_encoding=True)
        for name, text in {header: value, "Content-Type": "application/octet-stream", **self._headers}.items():
            self._http.putheader(name, text)
        self._http.endheaders()

    def _expect(self, status: int) -> str:
        """The answer's Location."""
        response = self._http.getresponse()
        body = response.read()
        if response.status != status:
            raise UnexpectedAnswerError(f"{response.status}, not {status}: {body[:300]!r}")
        return response.headers["Location"] or ""


def push_at_once(host: str, contents: list[Content], headers: Mapping[str, str] = NO_HEADERS) -> None:
    """Push each content over a connection of its own, all at the same time."""

    def push(content: Content) -> None:
        with closing(Client(host, headers)) as client:
            client.push(content)

    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(push, contents))


def chunked(piece: bytes) -> bytes:
    """A piece in HTTP chunks of the size that Docker sends."""
    chunks = (piece[start : start + CHUNK] for start in range(0, len(piece), CHUNK))
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


def _continued(location: str) -> str:
    """The path of an upload, ready for one more parameter."""
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}&" if parts.query else f"{parts.path}?"
