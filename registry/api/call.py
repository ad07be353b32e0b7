"""One request to the API, as handlers see it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from aiohttp import web
from aiohttp.web_request import BaseRequest

from registry.assembly import Registry
from registry.domain.access import Action, Caller
from registry.domain.errors import DigestInvalid
from registry.domain.names import Digest, Reference, RepositoryName, Tag, parse_digest
from registry.web.bodies import pieces

# How soon a right that has ended stops a body that is on its way
ASK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Call:
    """The parsed request. `reference` is the tag or digest in the path, where the route has one."""

    request: BaseRequest
    registry: Registry
    caller: Caller
    repository: RepositoryName
    reference: Reference | None
    upload_id: str
    query: dict[str, list[str]]

    @property
    def tag_or_digest(self) -> Reference:
        assert self.reference is not None
        return self.reference

    @property
    def digest(self) -> Digest:
        assert isinstance(self.reference, Digest)
        return self.reference

    def one(self, field: str) -> str | None:
        """The first value of a query field, None when it is absent."""
        values = self.query.get(field)
        return values[0] if values else None

    def all(self, field: str) -> Sequence[str]:
        return self.query.get(field, ())

    def header(self, name: str) -> str | None:
        return self.request.headers.get(name)

    def query_digest(self) -> Digest:
        """The `digest` of an upload: exactly one, or nobody can say which was meant (N-19)."""
        values = self.all("digest")
        if len(set(values)) != 1:
            raise DigestInvalid("the query needs exactly one digest=<algorithm>:<hex>")
        return parse_digest(values[0])

    def may(self, action: Action, repository: RepositoryName) -> bool:
        """Whether the caller may also do this; for what a request touches beside its own repository."""
        return self.registry.policy.decide(self.caller.identity, action, repository) is None

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives, as long as the caller may push; raise Unauthorized or Denied in its middle."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async for piece in pieces(self.request):
            if loop.time() - asked_at >= ASK_AGAIN_SECONDS:
                asked_at = loop.time()
                await self.caller_now()
            yield piece

    async def caller_now(self) -> Caller:
        """The caller with the rights of now, once a body has come; raise Unauthorized, or Denied."""
        identity = await self.registry.access.authenticator.again(self.caller.identity)
        refusal = self.registry.policy.decide(identity, Action.PUSH, self.repository)
        if refusal is not None:
            raise refusal
        return replace(self.caller, identity=identity)


def decide(call: Call, action: Action) -> None:
    """Raise the refusal if the caller may not."""
    reference = call.reference
    refusal = call.registry.policy.decide(
        call.caller.identity,
        action,
        call.repository or None,
        reference if isinstance(reference, Tag) else None,
        reference if isinstance(reference, Digest) else None,
    )
    if refusal is not None:
        raise refusal


def empty(status: int, headers: dict[str, str]) -> web.Response:
    """An answer without a body; 204 has no Content-Length (RFC 9110 section 8.6)."""
    return web.Response(status=status, headers=headers)


def json_body(body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": "application/json", **(headers or {})})
