"""What every request carries beside HTTP's own: its id, and what the access log will say of it."""

import re
import secrets

from aiohttp import web
from aiohttp.web_request import BaseRequest

REQUEST_ID = "X-Request-Id"
SERVER = "digestry"

_ID = web.RequestKey("id", str)
# Bytes of content that were sent past aiohttp's own count
SENT = web.RequestKey("sent", int)

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(request: BaseRequest) -> str:
    """The id that a proxy gave, else a new one; the same each time for one request."""
    known: str | None = request.get(_ID)
    if known is not None:
        return known
    given = request.headers.get(REQUEST_ID, "")
    chosen = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
    request[_ID] = chosen
    return chosen


def stamp(request: BaseRequest, response: web.StreamResponse) -> None:
    """The headers that every answer has."""
    response.headers["X-Request-Id"] = request_id(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = SERVER
