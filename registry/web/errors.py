"""Refusals as responses: one body for all, the spec's (distribution spec, "Error Codes")."""

import socket
import struct

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from registry.domain.errors import RegistryError


def error_response(error: RegistryError) -> web.Response:
    """The answer that tells this refusal; it has no identity of its own, so it may be sent anywhere."""
    body = msgspec.json.encode({"errors": error.entries()}, enc_hook=str)  # digests are a str of their own
    return web.Response(status=error.status, body=body, headers={**error.headers, "Content-Type": "application/json"})


def break_off(request: BaseRequest) -> None:
    """End an answer that has begun so that nobody takes it for a whole one: by RST, since FIN ends good ones too."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
