"""Blobs whose bytes were found wrong, and the wish to have a blob looked at."""

from msgspec import Struct

from registry.admin.answers import Listed, PageQuery, listed, told
from registry.admin.inputs import Time
from registry.admin.operation import Call
from registry.content.quarantine import Quarantined


class QuarantinedBlob(Struct, frozen=True, kw_only=True):
    """`found_at` is null while it waits to be looked at again. `tags`: some that need it, as repository:tag."""

    digest: str
    size: int
    found_at: Time | None
    tags: list[str]
    more_tags: bool


class VerificationRequest(Struct, frozen=True, kw_only=True):
    digest: str


async def list_quarantine(call: Call, query: PageQuery) -> Listed[QuarantinedBlob]:
    """Blobs that are hidden until they are pushed again, by digest."""
    return listed(await call.registry.quarantine.list(query.page), _told)


async def verify_digest(call: Call, digest: str) -> VerificationRequest:
    """Have a blob's stored bytes hashed next, in the background."""
    found = await call.registry.digests.resolve(digest, None)
    await call.registry.scrub.put_first(found, call.caller)
    return VerificationRequest(digest=str(found))


def _told(blob: Quarantined) -> QuarantinedBlob:
    return told(QuarantinedBlob, blob, tags=list(blob.affected.tags), more_tags=blob.affected.and_more)
