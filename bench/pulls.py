"""Pulls whose client costs next to nothing: the bytes of a blob never leave the kernel."""

import socket
from collections.abc import Mapping

from bench.pushes import NO_HEADERS, PIECE, REPOSITORY, TIMEOUT_SECONDS, Content, UnexpectedAnswerError

END_OF_HEAD = b"\r\n\r\n"


def pull(host: str, content: Content, headers: Mapping[str, str] = NO_HEADERS) -> None:
    """Receive a blob to its end."""
    address, port = host.split(":")
    with socket.create_connection((address, int(port)), TIMEOUT_SECONDS) as connection:
        fields = "".join(f"{name}: {value}\r\n" for name, value in {"Host": host, **headers}.items())
        connection.sendall(f"GET {REPOSITORY}/blobs/{content.digest} HTTP/1.1\r\n{fields}\r\n".encode())
        received = b""
        while END_OF_HEAD not in received:
            received += _some(connection.recv(PIECE), received)
        head, _, body = received.partition(END_OF_HEAD)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise UnexpectedAnswerError(f"GET blob: {head!r}")
        _discard(connection, content.size - len(body))


def _discard(connection: socket.socket, left: int) -> None:
    buffer = bytearray(PIECE)
    while left:
        # Linux drops the bytes instead of copying them
        count = connection.recv_into(buffer, min(PIECE, left), socket.MSG_TRUNC)
        if not count:
            raise UnexpectedAnswerError(f"GET blob: {left} bytes did not come")
        left -= count


def _some(received: bytes, before: bytes) -> bytes:
    if not received:
        raise UnexpectedAnswerError(f"GET blob: the connection ended after {before!r}")
    return received
