"""Blobs: end-2 and end-10."""

from aiohttp import web

from registry.api.call import Call, empty
from registry.api.conditions import etag, is_known
from registry.domain.access import Action
from registry.domain.names import Digest
from registry.web.blob_response import send_blob
from registry.web.ranges import ByteRange, parse_range


def _headers(digest: Digest) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "ETag": etag(digest),
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000, immutable",
    }


async def head(call: Call) -> web.StreamResponse:
    """end-2, HEAD."""
    leases = call.registry.content_leases
    found = await call.registry.blobs.stat(call.repository, call.digest)
    if leases.is_due(found.left) and call.may(Action.PUSH, call.repository):
        found = await leases.renew_blob(call.repository, found)
    return empty(200, {**_headers(call.digest), "Content-Length": str(found.size)})


async def get(call: Call) -> web.StreamResponse:
    """end-2, GET: whole, one range or several."""
    reader = await call.registry.blobs.open(call.repository, call.digest)
    try:
        headers = _headers(call.digest)
        if is_known(call, call.digest):
            return empty(304, headers)
        return await send_blob(call.request, reader, headers, _ranges(call, reader.size))
    finally:
        await reader.close()


async def delete(call: Call) -> web.StreamResponse:
    """end-10."""
    await call.registry.blobs.delete(call.repository, call.digest, call.caller)
    return empty(202, {})


def _ranges(call: Call, size: int) -> list[ByteRange] | None:
    header, condition = call.header("Range"), call.header("If-Range")
    if header is None or (condition is not None and condition != etag(call.digest)):
        return None
    return parse_range(header, size)
