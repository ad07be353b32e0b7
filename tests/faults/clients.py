"""Clients that push as real ones do, and that go on after a lost connection as real ones do (spec page, section 8)."""

import http.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from email.message import Message

from tests.support.images import Blob, digest_of

TIMEOUT_SECONDS = 30.0
ATTEMPTS = 100
STREAMED = 128 * 1024
# More than a server buffers: a part of it has arrived when the connection is cut in it
CHUNK = 768 * 1024


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def offset(self) -> int:
        """The bytes that an upload has, by a status or a 416: `0--1` is none."""
        return int(str(self.headers["Range"]).partition("-")[2]) + 1


class LostError(Exception):
    """The connection ended before the answer."""


class Client:
    """One connection at a time, kept as long as it lasts. `lost` hears of each one that ended too early."""

    def __init__(self, host: str, lost: Callable[[], None] = lambda: None) -> None:
        self._http = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)
        self._lost = lost

    def close(self) -> None:
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        expected: Sequence[int],
        body: bytes | Iterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        told, chunked = dict(headers or {}), not isinstance(body, bytes)
        if chunked:
            told["Transfer-Encoding"] = "chunked"
        try:
            self._http.request(method, path, body, told, encode_chunked=chunked)
            response = self._http.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            self._lost()
            raise LostError(f"{method} {path}: {error!r}") from error
        assert answer.status in expected, f"{method} {path}: {answer.status} {answer.body[:300]!r}, not {expected}"
        return answer

    def again(
        self,
        method: str,
        path: str,
        expected: Sequence[int],
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`ask`, again and again until an answer comes: for requests that may be repeated."""
        return insist(lambda: self.ask(method, path, expected, body, headers))

    def start(self, name: str) -> str:
        return str(self.again("POST", f"/v2/{name}/blobs/uploads/", (202,)).headers["Location"])

    def put_manifest(self, name: str, reference: str, payload: bytes, media_type: str) -> None:
        path = f"/v2/{name}/manifests/{reference}"
        answer = self.again("PUT", path, (201,), payload, {"Content-Type": media_type})
        assert answer.headers["Docker-Content-Digest"] == digest_of(payload)


def insist(work: Callable[[], Answer]) -> Answer:
    lost = []
    for _ in range(ATTEMPTS):
        try:
            return work()
        except LostError as error:
            lost.append(str(error))
    raise AssertionError(f"{ATTEMPTS} attempts were lost: {lost}")


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), STREAMED):
        yield data[start : start + STREAMED]


# Each pushes one blob and returns once it was told that it is there.


def docker(client: Client, name: str, blob: Blob) -> None:
    """HEAD, POST, one streamed PATCH, an empty PUT; what is lost starts again from the HEAD."""

    def push() -> Answer:
        if client.ask("HEAD", f"/v2/{name}/blobs/{blob.digest}", (200, 404)).status == 404:
            location = client.ask("POST", f"/v2/{name}/blobs/uploads/", (202,)).headers["Location"]
            location = client.ask("PATCH", location, (202,), _pieces(blob.data)).headers["Location"]
            client.ask("PUT", f"{location}&digest={blob.digest}", (201,))
        return client.ask("HEAD", f"/v2/{name}/blobs/{blob.digest}", (200,))

    insist(push)


def containerd(client: Client, name: str, blob: Blob) -> None:
    """HEAD, POST, one PUT with all; what is lost starts again from the HEAD."""

    def push() -> Answer:
        if client.ask("HEAD", f"/v2/{name}/blobs/{blob.digest}", (200, 404)).status == 404:
            location = client.ask("POST", f"/v2/{name}/blobs/uploads/", (202,)).headers["Location"]
            client.ask("PUT", f"{location}&digest={blob.digest}", (201,), blob.data)
        return client.ask("HEAD", f"/v2/{name}/blobs/{blob.digest}", (200,))

    insist(push)


def oras(client: Client, name: str, blob: Blob) -> None:
    """All in the POST; again when that is lost."""
    client.again("POST", f"/v2/{name}/blobs/uploads/?digest={blob.digest}", (201,), blob.data)


class Resuming:
    """regclient: chunks that say where they belong. What is lost goes on where the status or a 416 says.

    `forwarded` tells how many bytes of the lost request's body can have reached the registry: no more may be told.
    """

    def __init__(self, forwarded: Callable[[], int]) -> None:
        self._forwarded = forwarded
        self.resumed = 0

    def __call__(self, client: Client, name: str, blob: Blob) -> None:
        location, offset, limit = client.start(name), 0, 0
        while offset < len(blob.data):
            piece = blob.data[offset : offset + CHUNK]
            headers = {"Content-Range": f"{offset}-{offset + len(piece) - 1}"}
            try:
                answer = client.ask("PATCH", location, (202, 416), piece, headers)
            except LostError:
                limit = max(limit, offset + self._forwarded())
                answer = client.again("GET", location, (204,))
            if answer.status == 202:
                limit = offset + len(piece)
                assert answer.offset == limit
            else:
                assert offset <= answer.offset <= limit, (offset, answer.offset, limit)
                self.resumed += answer.offset > offset
            offset, location = answer.offset, str(answer.headers["Location"])
        client.again("PUT", f"{location}&digest={blob.digest}", (201,))


Push = Callable[[Client, str, Blob], None]


def pulled(host: str, path: str) -> bytes:
    """What the registry itself serves, past any proxy."""
    with closing(Client(host)) as client:
        return client.ask("GET", path, (200,)).body
