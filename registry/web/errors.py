"""Refusals as responses: one body for all, the spec's (distribution spec, "Error Codes")."""

import msgspec
from aiohttp import web

from registry.domain.errors import RegistryError


def error_response(error: RegistryError) -> web.Response:
    """The answer that tells this refusal; it has no identity of its own, so it may be sent anywhere."""
    body = msgspec.json.encode({"errors": error.entries()}, enc_hook=str)  # digests are a str of their own
    return web.Response(status=error.status, body=body, headers={**error.headers, "Content-Type": "application/json"})
