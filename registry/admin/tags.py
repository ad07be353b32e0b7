"""Tags: what they point to, what they pointed to, and the way back."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from registry.admin.answers import Listed, PageQuery, listed, told
from registry.admin.inputs import Input, RepositoryText, TagText, Time, moment
from registry.admin.operation import Call
from registry.content.history import TAGS_AT_ONCE, Wish
from registry.domain.access import Action
from registry.domain.errors import TagInvalid
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.problems import Missing

DigestText = Annotated[
    str,
    Meta(
        description="a digest, or its beginning when no other in the repository begins so",
        extra_json_schema={"pattern": "^(?:(?:sha256|sha512):)?[0-9a-f]{8,128}$"},
    ),
]


class PointedTag(Struct, frozen=True, kw_only=True):
    repository: str
    tag: str
    digest: str


class TagTimeQuery(Input, frozen=True, kw_only=True):
    """`at`: then, and not now."""

    at: Time | UnsetType = UNSET


class TagMove(Struct, frozen=True, kw_only=True):
    """`new` is null where the tag was deleted. Who it was is null for strangers, `address` and `request_id` are null
    for those without admin on the repository.
    """

    at: Time
    action: str
    old: str | None
    new: str | None
    identity: str | None
    address: str | None
    request_id: str | None


class RollbackTag(Input, frozen=True, kw_only=True):
    """Without a `digest`, or a time for all, it goes to what it pointed to before. `expected`: only if it points there
    now.
    """

    repository: RepositoryText
    tag: TagText
    digest: DigestText | UnsetType = UNSET
    expected: DigestText | UnsetType = UNSET


class Rollback(Input, frozen=True, kw_only=True):
    tags: Annotated[list[RollbackTag], Meta(min_length=1, max_length=TAGS_AT_ONCE)]
    at: Time | UnsetType = UNSET


class TagChange(Struct, frozen=True, kw_only=True):
    """`old` is null where the tag was gone. The same as `new`: there was nothing to do."""

    repository: str
    tag: str
    old: str | None
    new: str


class RolledBack(Struct, frozen=True, kw_only=True):
    tags: list[TagChange]


async def get_tag(call: Call, repository: str, tag: str, query: TagTimeQuery) -> PointedTag:
    """What a tag points to, or pointed to at a time."""
    name, wanted, at = call.repository, _tag(tag), moment("at", query.at)
    if at is None:
        digest = (await call.registry.manifests.head(name, wanted)).digest
    else:
        digest = await call.registry.history.at(name, wanted, at)
    return PointedTag(repository=repository, tag=tag, digest=str(digest))


async def get_tag_history(call: Call, repository: str, tag: str, query: PageQuery) -> Listed[TagMove]:
    """How a tag moved, newest first."""
    page = await call.registry.history.of_tag(call.repository, _tag(tag), query.page)
    found = listed(page, lambda move: told(TagMove, move))
    if call.registry.policy.decide(call.identity, Action.ADMIN, call.repository) is None:
        return found
    hidden: dict[str, None] = dict.fromkeys(
        ["address", "request_id", *([] if call.identity.is_known else ["identity"])]
    )
    return Listed([replace(move, **hidden) for move in found.items], found.next)


async def roll_back(call: Call, body: Rollback) -> RolledBack:
    """Set tags back, all of them or none. What they go back to may be in the trash."""
    at = moment("at", body.at)
    changes = await call.registry.history.roll_back([await _wish(call, tag, at) for tag in body.tags], call.caller)
    return RolledBack(tags=[told(TagChange, change) for change in changes])


async def _wish(call: Call, wanted: RollbackTag, at: int | None) -> Wish:
    repository = RepositoryName.parse(wanted.repository)

    async def digest(text: str | UnsetType) -> Digest | None:
        return None if text is UNSET else await call.registry.history.digest(repository, text, call.identity)

    return Wish(repository, Tag.parse(wanted.tag), await digest(wanted.digest), at, await digest(wanted.expected))


def _tag(text: str) -> Tag:
    """A tag in the path; raise Missing."""
    try:
        return Tag.parse(text)
    except TagInvalid as error:
        raise Missing("no tag can have this name") from error
