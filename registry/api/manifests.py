"""Manifests: end-3, 7 and 9."""

from collections.abc import Sequence

from aiohttp import web

from registry.api import locations
from registry.api.call import Call, empty
from registry.api.conditions import conditions, etag, is_known
from registry.content.pushing import Push
from registry.domain.access import Action
from registry.domain.errors import EncodingUnsupported, TagInvalid, UriTooLong
from registry.domain.manifest import MANIFEST_LIMIT
from registry.domain.names import Tag
from registry.web.bodies import declared_length, read_manifest

TAGS_LIMIT = 100


def _identity(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, "ETag": etag(digest)}


def _headers(digest: str, media_type: str, size: int) -> dict[str, str]:
    return {"Content-Type": media_type, "Content-Length": str(size), **_identity(digest)}


async def get(call: Call) -> web.StreamResponse:
    """end-3, GET: the stored bytes, whatever Accept says (spec page, section 7.3)."""
    found = await call.registry.manifests.get(call.repository, call.tag_or_digest)
    if is_known(call, found.digest):
        return empty(304, _identity(found.digest))
    return web.Response(body=found.payload, headers=_headers(found.digest, found.media_type, found.size))


async def head(call: Call) -> web.StreamResponse:
    """end-3, HEAD."""
    leases, reference = call.registry.content_leases, call.tag_or_digest
    found = await call.registry.manifests.head(call.repository, reference)
    if leases.is_due(found.left) and call.may(Action.PUSH, call.repository):
        found = await leases.renew_manifest(call.repository, reference, found)
    if is_known(call, found.digest):
        return empty(304, _identity(found.digest))
    return empty(200, _headers(found.digest, found.media_type, found.size))


async def put(call: Call) -> web.StreamResponse:
    """end-7a and 7b."""
    if (call.header("Content-Encoding") or "identity").lower() != "identity":
        raise EncodingUnsupported()
    tags = _tags(call)
    push = Push(
        repository=call.repository,
        reference=call.tag_or_digest,
        payload=await read_manifest(declared_length(call.request), call.body(), MANIFEST_LIMIT),
        content_type=call.header("Content-Type") or "",
        tags=tags,
        conditions=conditions(call),
    )
    manifest = await call.registry.manifests.put(push, await call.caller_now())
    headers = {"Location": locations.manifest(call, manifest.digest), **_identity(manifest.digest)}
    if manifest.subject:
        headers["OCI-Subject"] = manifest.subject.digest
    response = empty(201, headers)
    for tag in tags if "tag" in call.query else ():
        response.headers.add("OCI-Tag", tag)
    return response


async def delete(call: Call) -> web.StreamResponse:
    """end-9."""
    await call.registry.manifests.delete(call.repository, call.tag_or_digest, conditions(call), call.caller)
    return empty(202, {})


def _tags(call: Call) -> Sequence[Tag]:
    """The tags to point here: the one in the path, or those in the query beside a digest."""
    reference, wanted = call.reference, call.all("tag")
    if isinstance(reference, Tag):
        if wanted:
            raise TagInvalid("tag= goes with a digest in the path, not with a tag")
        return [reference]
    tags = [Tag.parse(text) for text in dict.fromkeys(wanted)]
    if len(tags) > TAGS_LIMIT:
        raise UriTooLong(f"at most {TAGS_LIMIT} tags in one push")
    return tags
