"""What a digest is, what it is called, and what holds it; as far as the caller may pull it.

Nobody learns of a repository that they may not pull from: neither by a name nor by the end of a page. What would be
free without something is told as it is, whoever else holds it.
"""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

from sqlalchemy import Connection

from registry.content.best_names import LOOKED_AT, best_name
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import ID_DIGITS, Page, PageRequest
from registry.domain.prefixes import DigestPrefix
from registry.domain.problems import Conflict, Invalid, Missing
from registry.metadata import digests, pointings
from registry.metadata.database import Database
from registry.metadata.digests import KINDS, Holder, Kind, Parent
from registry.metadata.pointings import Key, Pointing

__all__ = ["Digests", "HoldingManifest", "HoldingRepository", "MayPull", "PointingTag", "Summary"]

MayPull: TypeAlias = Callable[[RepositoryName], bool]
T = TypeVar("T")

NAMED = 5
ROWS = 500
# Looked at for one page at most, but for what its first entry takes: a page may be shorter than it was asked to be
LINKS_A_PAGE = 100_000
TAGS_A_PAGE = 10_000

_PLACE = re.compile(rf"([0-9]{{1,{ID_DIGITS}}})/([A-Za-z0-9_.:-]*)/([0-9]{{1,{ID_DIGITS}}})")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a digest is. `name` is None where no live repository holds it."""

    digest: Digest
    kinds: Sequence[Kind]
    media_type: str | None
    artifact_type: str | None
    platform: str | None
    size: int
    state: str
    verified_at: int | None
    name: str | None


@dataclass(frozen=True, slots=True)
class PointingTag:
    """A tag that points to the digest, or to the manifest `digest` that holds it; until now if `until` is None."""

    repository: RepositoryName
    tag: Tag
    digest: Digest
    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class HoldingManifest:
    """A manifest that names the digest. `frees`: the bytes that would be free in the end if it alone were deleted."""

    repository: RepositoryName
    digest: Digest
    media_type: str
    artifact_type: str | None
    platform: str | None
    name: str
    frees: int


@dataclass(frozen=True, slots=True)
class HoldingRepository:
    """A repository that holds the digest. `frees`: the bytes that would be free in the end if it were deleted."""

    repository: RepositoryName
    kinds: Sequence[Kind]
    frees: int


class _Place(NamedTuple):
    """Where a page starts: behind this in that repository."""

    repository_id: int = 0
    text: str = ""
    number: int = 0

    def __str__(self) -> str:
        return f"{self.repository_id}/{self.text}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> "_Place":
        """Raise Invalid."""
        matched = _PLACE.fullmatch(text)
        if matched is None and text:
            raise Invalid("`after` is the `next` of the page before")
        return cls(int(matched[1]), matched[2], int(matched[3])) if matched else cls()


class Digests:
    """The service of digests. `may_pull` says what the caller sees; None sees everything, the trash too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resolve(self, text: str, may_pull: MayPull | None, *, ever: bool = False) -> Digest:
        """The only digest that begins so; with `ever` also of what tags once pointed to.

        Raise Invalid, Missing or Conflict.
        """
        found: list[Digest] = []
        async for digest in self._beginning(DigestPrefix.parse(text), ever=ever):
            if may_pull is None or await self._first(digest, may_pull, 1, ever=ever):
                found.append(digest)
            if len(found) > NAMED:
                break
        if not found:
            raise _nothing(text, may_pull)
        if len(found) > 1:
            more = ["and more"] if len(found) > NAMED else []
            raise Conflict(f"{text} may be {', '.join([*found[:NAMED], *more])}; give more digits")
        return found[0]

    async def anything(self, text: str) -> Digest:
        """`resolve` for who sees everything: a whole digest stands for itself, also when only its bytes are left."""
        with suppress(ValueError):
            return Digest.parse(text)
        return await self.resolve(text, None)

    async def get(self, digest: Digest, may_pull: MayPull | None) -> Summary:
        """What it is; raise Missing."""
        holders = await self._first(digest, may_pull, LOOKED_AT)
        summary = await self._database.read(_summary, digest, holders, everything=may_pull is None)
        if summary is None:
            raise _nothing(digest, may_pull)
        return summary

    async def tags(
        self, digest: Digest, may_pull: MayPull | None, page: PageRequest, *, ever: bool
    ) -> Page[PointingTag]:
        """Tags that point to it, or to what holds the blob; with `ever` also those that did. A page may be short."""
        start, looked = _Place.parse(page.last), 0
        found: list[tuple[_Place, PointingTag]] = []
        async for holder in self._holders(digest, may_pull, start.repository_id - 1, ever=ever):
            last: Key | None = Key(*start[1:]) if holder.repository_id == start.repository_id else Key()
            while last is not None:
                batch = await self._database.read(
                    pointings.find, holder.repository_id, digest, last, page.limit + 1, ever=ever
                )
                last, looked = batch.last, looked + batch.looked
                found += [(_Place(holder.repository_id, *one.key), _told(holder, one)) for one in batch.found]
                if len(found) > page.limit:
                    return _cut(page, found)
                if last is not None and looked > TAGS_A_PAGE:
                    return Page([tag for _, tag in found], str(_Place(holder.repository_id, *last)))
        return _cut(page, found)

    async def manifests(self, digest: Digest, may_pull: MayPull | None, page: PageRequest) -> Page[HoldingManifest]:
        """Manifests that name it."""
        start = _Place.parse(page.last)
        found: list[tuple[_Place, tuple[Holder, Parent]]] = []
        async for holder in self._holders(digest, may_pull, start.repository_id - 1):
            if not holder.is_named:
                continue
            after = start.text if holder.repository_id == start.repository_id else ""
            parents = await self._database.read(
                digests.parents, holder.repository_id, digest, after, page.limit + 1 - len(found)
            )
            found += [(_Place(holder.repository_id, parent.digest), (holder, parent)) for parent in parents]
            if len(found) > page.limit:
                break
        cut = _cut(page, found)
        return Page([await self._database.read(_holding, *entry) for entry in cut.entries], cut.next_last)

    async def repositories(
        self, digest: Digest, may_pull: MayPull | None, page: PageRequest
    ) -> Page[HoldingRepository]:
        """Repositories that hold it. A page may be short."""
        found: list[HoldingRepository] = []
        last, looked = page.last_id() or 0, 0
        async for holder in self._holders(digest, may_pull, last):
            if len(found) == page.limit or looked > LINKS_A_PAGE:
                return Page(found, str(last))
            freed, links = await self._freed(holder.repository_id)
            found.append(HoldingRepository(holder.name, _kinds(holder), freed))
            last, looked = holder.repository_id, looked + links
        return Page(found)

    async def _beginning(self, prefix: DigestPrefix, *, ever: bool) -> AsyncIterator[Digest]:
        after = ""
        while found := await self._database.read(digests.following, prefix.ranges, after, ever=ever):
            yield found
            after = found

    async def _holders(
        self, digest: Digest, may_pull: MayPull | None, after: int, *, ever: bool = False
    ) -> AsyncIterator[Holder]:
        """Live repositories that the caller may pull from, by id."""
        while rows := await self._database.read(digests.holders, digest, after, ROWS, ever=ever):
            for holder in rows:
                if may_pull is None or may_pull(holder.name):
                    yield holder
            after = rows[-1].repository_id

    async def _first(self, digest: Digest, may_pull: MayPull | None, limit: int, *, ever: bool = False) -> list[Holder]:
        found: list[Holder] = []
        async for holder in self._holders(digest, may_pull, 0, ever=ever):
            found.append(holder)
            if len(found) == limit:
                break
        return found

    async def _freed(self, repository_id: int) -> tuple[int, int]:
        """The bytes, and how many links were looked at for them: a few at a time, so that others can read between."""
        freed, links, last = 0, 0, ""
        while (some := await self._database.read(digests.freed_by_repository, repository_id, last, ROWS)).links:
            freed, links, last = freed + some.bytes, links + some.links, some.last
        return freed, links


def _nothing(text: str, may_pull: MayPull | None) -> Missing:
    return Missing(f"there is nothing under {text}{'' if may_pull is None else ' that you may pull'}")


def _summary(connection: Connection, digest: Digest, holders: Sequence[Holder], *, everything: bool) -> Summary | None:
    """What these repositories know of it; `everything`: and all others, live or not."""
    having = {kind: holder.repository_id for holder in reversed(holders) for kind in holder.kinds}
    manifest, blob = None, None
    if everything or "manifest" in having:
        manifest = digests.manifest_facts(connection, digest, having.get("manifest"))
    if everything or "blob" in having:
        blob = digests.blob_facts(connection, digest)
    facts = manifest or blob
    if facts is None:
        return None
    places = [(holder.repository_id, holder.name) for holder in holders]
    said = digests.media_type_of_blob(connection, digest, [repository_id for repository_id, _ in places])
    return Summary(
        digest=digest,
        kinds=[kind for kind, is_it in zip(KINDS, (manifest, blob), strict=True) if is_it],
        media_type=manifest.media_type if manifest else said,
        artifact_type=manifest.artifact_type if manifest else None,
        platform=manifest.platform if manifest else None,
        size=facts.size,
        state=blob.state if blob else "ok",
        verified_at=blob.verified_at if blob else None,
        name=best_name(connection, digest, places) if places else None,
    )


def _holding(connection: Connection, holder: Holder, parent: Parent) -> HoldingManifest:
    return HoldingManifest(
        repository=holder.name,
        digest=parent.digest,
        media_type=parent.media_type,
        artifact_type=parent.artifact_type,
        platform=parent.platform,
        name=best_name(connection, parent.digest, [(holder.repository_id, holder.name)]),
        frees=digests.freed_by_manifest(connection, holder.repository_id, parent.digest),
    )


def _told(holder: Holder, one: Pointing) -> PointingTag:
    return PointingTag(holder.name, Tag(one.key.tag), one.digest, one.since, one.until)


def _kinds(holder: Holder) -> list[Kind]:
    return [kind for kind in KINDS if kind in holder.kinds]


def _cut(page: PageRequest, found: Sequence[tuple[_Place, T]]) -> Page[T]:
    cut = page.cut_by(found, lambda entry: str(entry[0]))
    return Page([entry for _, entry in cut.entries], cut.next_last)
