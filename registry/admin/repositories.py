"""Repositories and their tags."""

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from registry.admin.answers import Listed, PageQuery, listed, told
from registry.admin.inputs import Input, RepositoryText, Time
from registry.admin.operation import Call
from registry.admin.trash import TrashEntry, shown
from registry.content.overview import Kind
from registry.domain.names import RepositoryName


class Repository(Struct, frozen=True, kw_only=True):
    """`size`: bytes of its blobs, each once. At most 1,000 tags and blobs are counted: `more_tags`, `more_size` say
    that there are more. Then `moved_at`, when a tag last moved, is null.
    """

    name: str
    tags: int
    more_tags: bool
    size: int
    more_size: bool
    moved_at: Time | None


class Tag(Struct, frozen=True, kw_only=True):
    """`size`: bytes of config and layers; of an index, those of all its platforms together. `moved_by`: null for
    strangers.
    """

    name: str
    digest: str
    kind: Kind
    media_type: str
    artifact_type: str | None
    platforms: Annotated[list[str], Meta(examples=[["linux/amd64", "linux/arm64"]])]
    size: int
    moved_at: Time
    moved_by: str | None


class NewRepositoryName(Input, frozen=True, kw_only=True):
    name: RepositoryText


async def list_repositories(call: Call, query: PageQuery) -> Listed[Repository]:
    """Repositories that you may pull, by name."""
    page = await call.registry.overview.repositories(query.page, call.identity.rights)
    return listed(page, lambda repository: told(Repository, repository))


async def get_repository(call: Call, repository: str) -> Repository:
    """A repository."""
    return told(Repository, await call.registry.overview.repository(call.repository))


async def delete_repository(call: Call, repository: str) -> TrashEntry:
    """Delete a repository with all that is in it. Its entry in the trash brings it back."""
    return shown(call, await call.registry.repositories.delete(call.repository, call.caller))


async def rename_repository(call: Call, repository: str, body: NewRepositoryName) -> None:
    """Give a repository another name; whoever pulls or pushes needs to know it. Takes pull here, and push there."""
    await call.registry.repositories.rename(call.repository, RepositoryName.parse(body.name), call.caller)


async def list_tags(call: Call, repository: str, query: PageQuery) -> Listed[Tag]:
    """Tags of a repository, by name."""
    page = await call.registry.overview.tags(call.repository, query.page)
    found = listed(page, lambda tag: told(Tag, tag))
    if call.identity.is_known:
        return found
    return Listed([replace(tag, moved_by=None) for tag in found.items], found.next)
