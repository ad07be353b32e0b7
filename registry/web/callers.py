"""Who asks, once that is known: counted, and remembered for the log."""

from aiohttp.web_request import BaseRequest

from registry.assembly import Registry
from registry.domain.access import ANONYMOUS, Caller, Identity
from registry.web.requests import IDENTITY, client_address, request_id


def caller_of(registry: Registry, request: BaseRequest, identity: Identity) -> Caller:
    """Raise TooManyRequests."""
    if identity.name != ANONYMOUS.name:
        request[IDENTITY] = identity.name
        registry.access.limits.check_subject(identity.name)
    return Caller(identity, request_id(request), client_address(request))
