"""Blobs on their way out: sendfile where the socket is plain, never more than a piece in memory."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence

from aiohttp import web
from aiohttp.web_request import BaseRequest

from registry.content.blobs import BlobReader
from registry.domain.errors import BlobUnreadable
from registry.web.ranges import ByteRange

PIECE = 1024 * 1024


async def send_blob(
    request: BaseRequest, reader: BlobReader, headers: Mapping[str, str], ranges: Sequence[ByteRange] | None
) -> web.StreamResponse:
    """Answer with the blob, or with one range or several of it. The caller closes the reader."""
    if ranges is None:
        return await _send(request, reader, 200, headers, [(b"", ByteRange(0, reader.size))], b"")
    if len(ranges) == 1:
        only = ranges[0]
        headers = {**headers, "Content-Range": _content_range(only, reader.size)}
        return await _send(request, reader, 206, headers, [(b"", only)], b"")
    boundary = secrets.token_hex(16)
    parts = [(_part_head(boundary, part, reader.size), part) for part in ranges]
    headers = {**headers, "Content-Type": f"multipart/byteranges; boundary={boundary}"}
    return await _send(request, reader, 206, headers, parts, f"\r\n--{boundary}--\r\n".encode())


async def _send(
    request: BaseRequest,
    reader: BlobReader,
    status: int,
    headers: Mapping[str, str],
    parts: Sequence[tuple[bytes, ByteRange]],
    end: bytes,
) -> web.StreamResponse:
    if reader.content is not None:
        body = b"".join(head + reader.content[part.start : part.end] for head, part in parts) + end
        return web.Response(status=status, body=body, headers=headers)
    response = web.StreamResponse(status=status, headers=headers)
    length = sum(len(head) + part.length for head, part in parts) + len(end)
    response.content_length = length
    await response.prepare(request)
    for head, part in parts:
        if head:
            await response.write(head)
        await _send_range(request, response, reader, part)
    await response.write_eof(end)
    return response


async def _send_range(request: BaseRequest, response: web.StreamResponse, reader: BlobReader, part: ByteRange) -> None:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left")
    if reader.file is not None and transport.get_extra_info("sslcontext") is None:
        sent = await asyncio.get_running_loop().sendfile(transport, reader.file, part.start, part.length)
        if sent != part.length:
            raise BlobUnreadable()
        return
    for offset in range(part.start, part.end, PIECE):
        await response.write(await reader.read(offset, min(PIECE, part.end - offset)))


def _content_range(part: ByteRange, size: int) -> str:
    return f"bytes {part.start}-{part.end - 1}/{size}"


def _part_head(boundary: str, part: ByteRange, size: int) -> bytes:
    lines = (
        f"\r\n--{boundary}",
        "Content-Type: application/octet-stream",
        f"Content-Range: {_content_range(part, size)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
