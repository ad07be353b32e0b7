"""Digests: what they are, and which tags, manifests and repositories hold them; as far as the caller may pull those."""

from typing import Literal

from msgspec import Struct

from registry.admin.answers import Listed, PageQuery, listed, told
from registry.admin.inputs import Time
from registry.admin.operation import Call
from registry.content.digests import MayPull
from registry.domain.access import Action
from registry.domain.names import Digest, RepositoryName

Kind = Literal["manifest", "blob"]


class DigestSummary(Struct, frozen=True, kw_only=True):
    """`name`: its best tag, or that of what holds it. A quarantined blob has wrong bytes, and can't be pulled."""

    digest: str
    kinds: list[Kind]
    media_type: str | None
    artifact_type: str | None
    platform: str | None
    size: int
    state: Literal["ok", "quarantined"]
    verified_at: Time | None
    name: str | None


class DigestTag(Struct, frozen=True, kw_only=True):
    """`digest`: what the tag points to, or pointed to until `until`. That is null for now."""

    repository: str
    tag: str
    digest: str
    since: Time
    until: Time | None


class DigestManifest(Struct, frozen=True, kw_only=True):
    """`frees`: bytes that would be free in the end if this manifest alone were deleted."""

    repository: str
    digest: str
    media_type: str
    artifact_type: str | None
    platform: str | None
    name: str
    frees: int


class DigestRepository(Struct, frozen=True, kw_only=True):
    """`frees`: bytes that would be free in the end if the repository were deleted."""

    repository: str
    kinds: list[Kind]
    frees: int


class DigestTagsQuery(PageQuery, frozen=True, kw_only=True):
    """`ever`: also what pointed there before."""

    ever: bool = False


async def get_digest(call: Call, digest: str) -> DigestSummary:
    """What a digest is. Here and below: all of it, or 8 hex digits and more that begin no other one you may pull."""
    found = await _resolved(call, digest)
    return told(DigestSummary, await call.registry.digests.get(found, _may_pull(call)))


async def list_digest_tags(call: Call, digest: str, query: DigestTagsQuery) -> Listed[DigestTag]:
    """Tags that point to a manifest; of a blob, to what holds it. A page may be short, or empty, before the end."""
    found = await _resolved(call, digest, ever=query.ever)
    page = await call.registry.digests.tags(found, _may_pull(call), query.page, ever=query.ever)
    return listed(page, lambda one: told(DigestTag, one))


async def list_digest_manifests(call: Call, digest: str, query: PageQuery) -> Listed[DigestManifest]:
    """Manifests that name a digest, as a layer, a config or a part of an index."""
    page = await call.registry.digests.manifests(await _resolved(call, digest), _may_pull(call), query.page)
    return listed(page, lambda one: told(DigestManifest, one))


async def list_digest_repositories(call: Call, digest: str, query: PageQuery) -> Listed[DigestRepository]:
    """Repositories that hold a digest. A page may be short before the end."""
    page = await call.registry.digests.repositories(await _resolved(call, digest), _may_pull(call), query.page)
    return listed(page, lambda one: told(DigestRepository, one))


async def _resolved(call: Call, text: str, *, ever: bool = False) -> Digest:
    return await call.registry.digests.resolve(text, _may_pull(call), ever=ever)


def _may_pull(call: Call) -> MayPull:
    def may_pull(name: RepositoryName) -> bool:
        return call.registry.policy.decide(call.identity, Action.PULL, name) is None

    return may_pull
