"""The trash."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from registry.admin.answers import Listed, PageQuery, listed, told
from registry.admin.inputs import Input, RepositoryText, Time
from registry.admin.needs import entry_id as parse_id
from registry.admin.operation import Call
from registry.content.trash import Entry
from registry.domain.names import NAME_LIMIT, RepositoryName
from registry.domain.times import rfc3339


class TrashEntry(Struct, frozen=True, kw_only=True):
    """`digest`: of the manifest, or what the tag pointed to. After `restorable_until` it goes for good."""

    id: int
    kind: Literal["repository", "manifest", "tag"]
    repository: str
    tag: str | None
    digest: str | None
    deleted_at: Time
    deleted_by: str
    restorable_until: Time


class TrashEntryDetail(TrashEntry, frozen=True, kw_only=True):
    """`taken_along`: tags and referrers that were deleted with it; at most 1,000, then `more` says so."""

    taken_along: list[TrashEntry]
    more: bool


class TrashQuery(PageQuery, frozen=True, kw_only=True):
    repository: RepositoryText | UnsetType = UNSET


class Restoration(Input, frozen=True, kw_only=True):
    """`name`: another one to come back under, of a repository or of a tag."""

    name: Annotated[str, Meta(max_length=NAME_LIMIT)] | UnsetType = UNSET


class KeptTag(Struct, frozen=True, kw_only=True):
    """A tag that stayed at the digest `kept`. What it would have come back to is there again, without the tag."""

    tag: str
    kept: str
    restored: str


class RestoredContent(Struct, frozen=True, kw_only=True):
    """How many manifests and tags came back; `conflicts` are the tags that did not, because newer ones are there."""

    repository: str
    manifests: int
    tags: int
    conflicts: list[KeptTag]


async def list_trash(call: Call, query: TrashQuery) -> Listed[TrashEntry]:
    """What you may restore, newest first. What was taken along is not listed, but told by its entry."""
    repository = None if query.repository is UNSET else RepositoryName.parse(query.repository)
    page = await call.registry.trash.list(query.page, call.identity.rights, repository)
    return listed(page, lambda entry: shown(call, entry))


async def get_trash_entry(call: Call, entry_id: str) -> TrashEntryDetail:
    """What was deleted, and what went along."""
    entry = await call.registry.trash.get(parse_id(entry_id))
    along = await call.registry.trash.taken_along(entry.id)
    return told(
        TrashEntryDetail,
        entry,
        restorable_until=_until(call, entry),
        taken_along=[shown(call, one) for one in along.entries],
        more=along.next_last is not None,
    )


async def restore_trash_entry(call: Call, entry_id: str, body: Restoration) -> RestoredContent:
    """Bring it back with what went along. Tags that are there by now stay, and are told as conflicts."""
    name = None if body.name is UNSET else body.name
    restored = await call.registry.trash.restore(parse_id(entry_id), call.caller, name)
    return told(RestoredContent, restored, conflicts=[told(KeptTag, kept) for kept in restored.conflicts])


async def purge_trash_entry(call: Call, entry_id: str) -> None:
    """Give it up before its time: it can't be restored any more."""
    await call.registry.trash.purge(parse_id(entry_id), call.caller)


def shown(call: Call, entry: Entry) -> TrashEntry:
    return told(TrashEntry, entry, restorable_until=_until(call, entry))


def _until(call: Call, entry: Entry) -> str:
    return rfc3339(entry.deleted_at + call.registry.trash.keep)
