"""What there is: repositories and tags as lists and pages show them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sqlalchemy import Connection

from registry.content.catalog import pullable
from registry.domain.grants import Rights
from registry.domain.media_types import IMAGE_CONFIGS, INDEXES
from registry.domain.names import RepositoryName
from registry.domain.paging import Page, PageRequest
from registry.domain.problems import Missing
from registry.metadata import overview, repositories
from registry.metadata.columns import current_time
from registry.metadata.database import Database
from registry.metadata.overview import ChildRow, TagRow

Kind: TypeAlias = Literal["image", "index", "artifact"]

_PART = re.compile(r"[a-z0-9._/-]{0,255}")
# What builders write for children that run nowhere, such as attestations
_NO_PLATFORM = "unknown/unknown"


@dataclass(frozen=True, slots=True)
class RepositoryOverview:
    """`size`: of its blobs, each once. `more_tags`, `more_size`: there is more than was counted.

    `moved_at`: when a tag last moved; None where there are more tags than are counted.
    """

    name: str
    tags: int
    more_tags: bool
    size: int
    more_size: bool
    moved_at: int | None


@dataclass(frozen=True, slots=True)
class TagOverview:
    """`size`: of an image or artifact, that of its config and layers; of an index, of all that it names, together."""

    name: str
    digest: str
    kind: Kind
    media_type: str
    artifact_type: str | None
    platforms: Sequence[str]
    size: int
    moved_at: int
    moved_by: str


class Overview:
    """The service of lists for people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def time(self) -> int:
        """The time that ages are told by."""
        return await self._database.read(current_time)

    async def repositories(self, page: PageRequest, rights: Rights, part: str = "") -> Page[RepositoryOverview]:
        """Repositories that hold a manifest and may be pulled, by name; with `part` in it, if given."""
        part = part.lower()
        if not _PART.fullmatch(part):
            return Page([])
        found = page.cut(await self._database.read(pullable, page, rights, part))
        # one read each: nobody who waits for the thread that reads waits for a page of large ones
        rows = [await self._database.read(_repository, RepositoryName(name)) for name in found.entries]
        return Page([row for row in rows if row is not None], found.next_last)

    async def repository(self, name: RepositoryName) -> RepositoryOverview:
        """Raise Missing."""
        found = await self._database.read(_repository, name)
        if found is None:
            raise _missing()
        return found

    async def tags(self, name: RepositoryName, page: PageRequest) -> Page[TagOverview]:
        """Tags by name; raise Missing."""
        return page.cut_by(await self._database.read(_tags, name, page), lambda tag: tag.name)


def _repository(connection: Connection, name: RepositoryName) -> RepositoryOverview | None:
    repository_id = repositories.find(connection, name)
    if repository_id is None:
        return None
    counted = overview.count(connection, repository_id)
    more_tags = counted.tags > overview.COUNTED
    return RepositoryOverview(
        name=str(name),
        tags=min(counted.tags, overview.COUNTED),
        more_tags=more_tags,
        size=counted.size,
        more_size=counted.blobs > overview.COUNTED,
        moved_at=None if more_tags else counted.moved_at,
    )


def _tags(connection: Connection, name: RepositoryName, page: PageRequest) -> list[TagOverview]:
    """One more than the page when there is."""
    repository_id = repositories.find(connection, name)
    if repository_id is None:
        raise _missing()
    rows = overview.tags_after(connection, repository_id, page.last, page.limit + 1)
    children = defaultdict(list)
    for child in overview.children(connection, repository_id, {row.digest for row in rows if _kind(row) == "index"}):
        children[child.parent].append(child)
    return [_tag(row, children[row.digest]) for row in rows]


def _tag(row: TagRow, children: Sequence[ChildRow]) -> TagOverview:
    kind = _kind(row)
    own = [row.platform] if row.platform else []
    return TagOverview(
        name=row.name,
        digest=row.digest,
        kind=kind,
        media_type=row.media_type,
        artifact_type=row.artifact_type,
        platforms=_platforms(children) if kind == "index" else own,
        size=_size(children) if kind == "index" else row.content_size,
        moved_at=row.moved_at,
        moved_by=row.moved_by,
    )


def _kind(row: TagRow) -> Kind:
    if row.media_type in INDEXES:
        return "index"
    return "image" if row.artifact_type in IMAGE_CONFIGS else "artifact"


def _platforms(children: Iterable[ChildRow]) -> list[str]:
    """As the index words them, each once."""
    named = (child.platform or child.own_platform for child in children)
    return [platform for platform in dict.fromkeys(named) if platform and platform != _NO_PLATFORM]


def _size(children: Iterable[ChildRow]) -> int:
    """Layers that children share count in each of them; what an index within names is not looked at."""
    sizes = {child.digest: child.size if child.content_size is None else child.content_size for child in children}
    return sum(sizes.values())


def _missing() -> Missing:
    return Missing("there is no repository of this name; the list of repositories has all of them")
