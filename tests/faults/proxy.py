"""A proxy between a client and a registry that takes each request whole before it passes on what it wants to."""

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Self

TIMEOUT_SECONDS = 30.0
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """A request as it came. `spans`: where in the body's bytes the content is, between any chunk headers."""

    head: bytes
    body: bytes
    spans: tuple[tuple[int, int], ...]

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    @property
    def is_chunked(self) -> bool:
        return _is_chunked(self.head)

    def headed(self, name: bytes) -> bool:
        """Whether it has this header; the name in lower case."""
        return b"\r\n" + name + b":" in self.head.lower()

    def content_in(self, length: int) -> int:
        """How many bytes of content the first `length` bytes of the request carry."""
        length -= len(self.head)
        return sum(max(0, min(end, length) - start) for start, end in self.spans)


class Upstream:
    """A connection to the registry."""

    def __init__(self, host: str) -> None:
        address, _, port = host.rpartition(":")
        self.socket = socket.create_connection((address, int(port)), timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: Request) -> bytes:
        """Send a request whole; the answer, byte for byte."""
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read all
            self.socket.sendall(request.raw)
        return self.answer(request)

    def answer(self, request: Request) -> bytes:
        head = _head(self._file)
        status = int(head.split(b" ", 2)[1])
        if request.method == "HEAD" or status in (204, 304):
            return head
        return head + _exactly(self._file, _length(head))

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class Proxy:
    """Listens on a port of its own; `serve` says what happens with each request."""

    def __init__(self, host: str) -> None:
        self.upstream_host = host
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def serve(self, request: Request, upstream: Upstream, client: socket.socket) -> bool:
        """Handle one request; False when the connection has ended."""
        client.sendall(upstream.ask(request))
        return True

    def _accept(self) -> None:
        """One connection after another: a harness has one client."""
        with suppress(OSError):  # the end: nobody listens any more
            while True:
                client, _ = self._listening.accept()
                with client, Upstream(self.upstream_host) as upstream:
                    client.settimeout(TIMEOUT_SECONDS)
                    self._converse(client, upstream)

    def _converse(self, client: socket.socket, upstream: Upstream) -> None:
        with client.makefile("rb") as incoming, suppress(EOFError, ConnectionError):
            while self.serve(read_request(incoming), upstream, client):
                pass


def read_request(incoming: BinaryIO) -> Request:
    """The next request; raise EOFError when there is none."""
    head = _head(incoming)
    if not _is_chunked(head):
        length = _length(head)
        return Request(head, _exactly(incoming, length), ((0, length),) if length else ())
    body, spans = bytearray(), []
    for piece, is_content in _chunks(incoming):
        if is_content:
            spans.append((len(body), len(body) + len(piece)))
        body += piece
    return Request(head, bytes(body), tuple(spans))


def end(connection: socket.socket, *, reset: bool) -> None:
    """Close with FIN, or break with RST."""
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    else:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _chunks(incoming: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    while True:
        header = incoming.readline()
        yield header, False
        size = int(header, 16)
        if size:
            yield _exactly(incoming, size), True
        yield _exactly(incoming, 2), False
        if not size:
            return


def _head(incoming: BinaryIO) -> bytes:
    lines = bytearray()
    while line := incoming.readline():
        lines += line
        if line == b"\r\n":
            return bytes(lines)
    raise EOFError


def _exactly(incoming: BinaryIO, size: int) -> bytes:
    data = incoming.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


def _is_chunked(head: bytes) -> bool:
    return re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head) is not None
