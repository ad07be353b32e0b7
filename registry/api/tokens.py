"""The token service: GET as docker's token specification has it, POST as its OAuth2 form."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from aiohttp import web

from registry.access.token_service import Issued, TokenRequest
from registry.assembly import Registry
from registry.domain.access import ANONYMOUS
from registry.domain.errors import Denied, RequestInvalid, Unauthorized
from registry.domain.scopes import parse_scopes
from registry.domain.times import rfc3339
from registry.web.bodies import read_form
from registry.web.challenges import asked_for_password
from registry.web.requests import IDENTITY, ROUTE, client_address, peer_of, request_id

FORM_LIMIT = 64 * 1024
_NO_STORE = {"Content-Type": "application/json", "Cache-Control": "no-store"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def token_by_get(registry: Registry) -> Handler:
    """GET /auth/token?service=&scope=&offline_token=, with Basic credentials or without any."""

    async def answer(request: web.Request) -> web.StreamResponse:
        _begin(registry, request)
        wanted = _request(registry, request, request.query.getall("scope", ()), request.query)
        return await _answer(
            registry, request, registry.access.token_service.by_basic(request.headers.get("Authorization"), wanted)
        )

    return answer


def token_by_post(registry: Registry) -> Handler:
    """POST /auth/token with grant_type=password or refresh_token."""

    async def answer(request: web.Request) -> web.StreamResponse:
        _begin(registry, request)
        form = await read_form(request, FORM_LIMIT)
        wanted = _request(registry, request, form.get("scope", ()), {name: values[0] for name, values in form.items()})
        return await _answer(registry, request, _by_form(registry, form, wanted))

    return answer


def _begin(registry: Registry, request: web.Request) -> None:
    request[ROUTE] = "token"
    registry.access.limits.check_address(client_address(request))


def _by_form(registry: Registry, form: Mapping[str, Sequence[str]], wanted: TokenRequest) -> Awaitable[Issued]:
    service = registry.access.token_service
    kind = form.get("grant_type", [""])[0]
    if kind == "password" and "username" in form and "password" in form:
        return service.by_password(form["username"][0], form["password"][0], wanted)
    if kind == "refresh_token" and "refresh_token" in form:
        return service.by_refresh(form["refresh_token"][0], wanted)
    raise RequestInvalid("grant_type is password, with username and password, or refresh_token, with refresh_token")


def _request(
    registry: Registry, request: web.Request, scopes: Sequence[str], fields: Mapping[str, str]
) -> TokenRequest:
    peer = peer_of(request)
    if registry.settings.http.host.startswith("https:") and not peer.is_private:
        raise Denied(f"tokens are handed out over https only: {registry.settings.http.host}{request.path}")
    is_offline = fields.get("offline_token") == "true" or fields.get("access_type") == "offline"
    return TokenRequest(parse_scopes(scopes), is_offline, peer, request_id(request))


async def _answer(registry: Registry, request: web.Request, issuing: Awaitable[Issued]) -> web.Response:
    try:
        issued = await issuing
    except Unauthorized as error:
        # A Bearer challenge would lead back here
        raise asked_for_password(registry, error) from error
    if issued.subject != ANONYMOUS.name:
        request[IDENTITY] = issued.subject
        registry.access.limits.check_subject(issued.subject)
    body = {
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.lifetime // 1000,
        "issued_at": rfc3339(issued.issued_at),
        "scope": " ".join(map(str, issued.granted)),
    }
    if issued.refresh_token is not None:
        body["refresh_token"] = issued.refresh_token
    return web.Response(body=msgspec.json.encode(body), headers=_NO_STORE)
