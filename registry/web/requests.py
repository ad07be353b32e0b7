"""What every request carries beside HTTP's own: its id, who sent it, and what the access log will say of it."""

import re
import secrets

from aiohttp import web
from aiohttp.web_request import BaseRequest

from registry.addresses import is_loopback
from registry.domain.access import Peer
from registry.web.proxies import UNIX, TrustedProxies

REQUEST_ID = "X-Request-Id"
SERVER = "digestry"

_ID = web.RequestKey("id", str)
# What the target is, in a word
ROUTE = web.RequestKey("route", str)
# Who asked, as far as they have shown
IDENTITY = web.RequestKey("identity", str)
# There was no request, only bytes that were none
UNPARSED = web.RequestKey("unparsed", bool)
PROXIES = web.RequestKey("proxies", TrustedProxies)

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "Via")
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


def client_address(request: BaseRequest) -> str:
    """Who sent the request, as far as `http.trustedproxies` lets us believe: for logs and limits, for nothing else."""
    peer = request.remote or UNIX
    proxies = request.get(PROXIES)
    return proxies.client(peer, request.headers.getall("X-Forwarded-For", ())) if proxies else peer


def peer_of(request: BaseRequest) -> Peer:
    """Who sent the request, and whether the way was private: TLS, or this machine, or a proxy that says so."""
    return Peer(client_address(request), _is_private(request))


def _is_private(request: BaseRequest) -> bool:
    transport = request.transport
    if transport is not None and transport.get_extra_info("sslcontext") is not None:
        return True
    peer, proxies = request.remote or UNIX, request.get(PROXIES)
    forwarded = request.headers.getall("X-Forwarded-Proto", ())
    if forwarded and proxies is not None and proxies.trusts(peer):
        return forwarded[-1].rpartition(",")[2].strip().lower() == "https"
    # A proxy on this machine that nobody told us to trust may have taken it in the clear
    is_forwarded = any(name in request.headers for name in _FORWARDED)
    return not is_forwarded and (peer == UNIX or is_loopback(peer))


def stamp(request: BaseRequest, response: web.StreamResponse) -> None:
    """The headers that every answer has."""
    response.headers["X-Request-Id"] = request_id(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = SERVER
