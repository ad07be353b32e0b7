"""The table of the API: which handler answers, what the caller must be allowed, how the path's end is read."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from registry.api import blobs, lists, manifests, uploads
from registry.api.call import Call, json_body
from registry.api.routing import Route
from registry.domain.access import Action
from registry.domain.errors import BlobUnknown
from registry.domain.names import Reference, known_digest, known_reference, parse_digest, parse_reference

Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Reader = Callable[[str], Reference]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`action`: what the caller must be allowed. `is_located`: the caller follows a Location of ours, which stands
    for the token's scope.
    """

    handler: Handler
    action: Action
    reference: Reader | None = None
    is_located: bool = False


async def ping(call: Call) -> web.StreamResponse:
    """end-1."""
    return json_body(b"{}")


_known_blob: Reader = partial(known_digest, unknown=BlobUnknown)

ENDPOINTS: dict[tuple[Route, str], Endpoint] = {
    (Route.PING, "GET"): Endpoint(ping, Action.CONNECT),
    (Route.PING, "HEAD"): Endpoint(ping, Action.CONNECT),
    (Route.CATALOG, "GET"): Endpoint(lists.catalog, Action.LIST),
    (Route.CATALOG, "HEAD"): Endpoint(lists.catalog, Action.LIST),
    (Route.BLOB, "GET"): Endpoint(blobs.get, Action.PULL, _known_blob),
    (Route.BLOB, "HEAD"): Endpoint(blobs.head, Action.PULL, _known_blob),
    (Route.BLOB, "DELETE"): Endpoint(blobs.delete, Action.DELETE, _known_blob),
    (Route.MANIFEST, "GET"): Endpoint(manifests.get, Action.PULL, known_reference),
    (Route.MANIFEST, "HEAD"): Endpoint(manifests.head, Action.PULL, known_reference),
    (Route.MANIFEST, "PUT"): Endpoint(manifests.put, Action.PUSH, parse_reference),
    (Route.MANIFEST, "DELETE"): Endpoint(manifests.delete, Action.DELETE, known_reference),
    (Route.UPLOADS, "POST"): Endpoint(uploads.start, Action.PUSH),
    (Route.UPLOAD, "PATCH"): Endpoint(uploads.append, Action.PUSH, is_located=True),
    (Route.UPLOAD, "PUT"): Endpoint(uploads.finish, Action.PUSH, is_located=True),
    (Route.UPLOAD, "GET"): Endpoint(uploads.status, Action.PUSH, is_located=True),
    (Route.UPLOAD, "HEAD"): Endpoint(uploads.status, Action.PUSH, is_located=True),
    (Route.UPLOAD, "DELETE"): Endpoint(uploads.cancel, Action.PUSH, is_located=True),
    (Route.TAGS, "GET"): Endpoint(lists.tags, Action.PULL),
    (Route.TAGS, "HEAD"): Endpoint(lists.tags, Action.PULL),
    (Route.REFERRERS, "GET"): Endpoint(lists.referrers, Action.PULL, parse_digest),
    (Route.REFERRERS, "HEAD"): Endpoint(lists.referrers, Action.PULL, parse_digest),
}

METHODS: dict[Route, str] = {
    route: ", ".join([*sorted(method for known, method in ENDPOINTS if known is route), "OPTIONS"]) for route in Route
}
