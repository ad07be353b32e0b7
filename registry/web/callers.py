"""Who asks, once that is known: counted, and remembered for the log."""

from aiohttp.web_request import BaseRequest

from registry.assembly import Registry
from registry.domain.access import ANONYMOUS, Caller, Identity
from registry.web.requests import IDENTITY, client_address, peer_of, request_id


async def identified(registry: Registry, request: BaseRequest) -> Caller:
    """Whoever sent the request; raise Unauthorized, Denied, TooManyRequests or Unavailable."""
    peer = peer_of(request)
    registry.access.limits.check_address(peer.address)
    identity = await registry.access.authenticator.identify(request.headers.get("Authorization"), peer)
    return caller_of(registry, request, identity)


def caller_of(registry: Registry, request: BaseRequest, identity: Identity) -> Caller:
    """Raise TooManyRequests."""
    if identity.name != ANONYMOUS.name:
        request[IDENTITY] = identity.name
        registry.access.limits.check_subject(identity.name)
    return Caller(identity, request_id(request), client_address(request))
