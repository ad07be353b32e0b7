"""What is known of a digest: who holds it, which manifests name it, and what would be free without those."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Select, exists, false, func, select

from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.preferred_tags import Tagged
from registry.metadata.hints import among
from registry.metadata.models import blob, event, link, manifest, ref, repository, tag

Kind: TypeAlias = Literal["manifest", "blob"]
KINDS: tuple[Kind, ...] = ("manifest", "blob")
# A digest in a repository
Place: TypeAlias = tuple[int, str]


@dataclass(slots=True)
class Holder:
    """A live repository that holds a digest, or did once. `is_named`: a manifest there names it."""

    repository_id: int
    name: RepositoryName
    kinds: set[Kind] = field(default_factory=set)
    is_named: bool = False


class ManifestFacts(NamedTuple):
    media_type: str
    artifact_type: str | None
    platform: str | None
    size: int


class BlobFacts(NamedTuple):
    size: int
    state: Literal["ok", "quarantined"]
    verified_at: int | None


class Parent(NamedTuple):
    """A live manifest that names a digest."""

    digest: Digest
    media_type: str
    artifact_type: str | None
    platform: str | None


class Naming(NamedTuple):
    """What a live manifest names. `is_manifest`: it is an index, which may know the platform."""

    named: Place
    parent: Place
    is_manifest: bool
    platform: str | None


class Freed(NamedTuple):
    """Of so many links, those up to `last`: the bytes that nothing else holds."""

    bytes: int
    links: int
    last: str


def following(connection: Connection, ranges: Iterable[tuple[str, str]], after: str, *, ever: bool) -> Digest | None:
    """The next digest in these ranges, whoever holds it; with `ever` also of what tags once pointed to."""
    columns = (blob.c.digest, manifest.c.digest, *((event.c.new_digest,) if ever else ()))
    found = [
        connection.scalar(_following(column, max(start, after + "\0"), end))
        for start, end in ranges
        for column in columns
    ]
    return min((Digest(digest) for digest in found if digest is not None), default=None)


def _following(column: Column[str], start: str, end: str) -> Select[Any]:
    found = select(column).where(column >= start, column < end).order_by(column).limit(1)
    return found.where(event.c.tag.is_not(None)) if column.table is event else found


def holders(connection: Connection, digest: Digest, after: int, limit: int, *, ever: bool = False) -> list[Holder]:
    """Live repositories that hold it, by id, those after `after`; with `ever` also those where a tag pointed to it."""
    found: dict[int, Holder] = {}
    for kind, here, is_here, is_named in _held(digest, ever=ever):
        rows = (
            select(here, repository.c.name, is_named)
            .distinct()
            .join(repository, repository.c.id == here)
            .where(is_here, here > after, repository.c.deleted_at.is_(None))
            .order_by(here)
            .limit(limit)
        )
        for repository_id, name, named in connection.execute(rows):
            holder = found.setdefault(repository_id, Holder(repository_id, RepositoryName(name)))
            holder.kinds |= {kind} if kind else set()
            holder.is_named |= bool(named)
    return sorted(found.values(), key=lambda holder: holder.repository_id)[:limit]


def _held(
    digest: Digest, *, ever: bool
) -> Iterator[tuple[Kind | None, Column[int], ColumnElement[bool], ColumnElement[bool]]]:
    """How a repository can hold it: the column with its id, the condition, and whether a manifest names it there."""
    here = manifest.c.repository_id
    named = select(ref.c.parent).where(ref.c.repository_id == here, ref.c.manifest_digest == digest).exists()
    yield "manifest", here, (manifest.c.digest == digest) & manifest.c.deleted_at.is_(None), named
    here = link.c.repository_id
    named = select(ref.c.parent).where(ref.c.repository_id == here, ref.c.link_digest == digest).exists()
    yield "blob", here, (link.c.digest == digest) & link.c.deleted_at.is_(None), named
    if ever:
        yield None, event.c.repository_id, (event.c.new_digest == digest) & event.c.tag.is_not(None), false()


def manifest_facts(connection: Connection, digest: Digest, repository_id: int | None) -> ManifestFacts | None:
    """What a repository knows of its manifest; without one, any repository, live or not."""
    columns = (manifest.c.media_type, manifest.c.artifact_type, manifest.c.platform, manifest.c.size)
    found = select(*columns).where(manifest.c.digest == digest).limit(1)
    if repository_id is not None:
        found = found.where(manifest.c.repository_id == repository_id)
    row = connection.execute(found).one_or_none()
    return ManifestFacts(*row) if row else None


def blob_facts(connection: Connection, digest: Digest) -> BlobFacts | None:
    row = connection.execute(
        select(blob.c.size, blob.c.state, blob.c.verified_at).where(blob.c.digest == digest)
    ).one_or_none()
    return BlobFacts(*row) if row else None


def media_type_of_blob(connection: Connection, digest: Digest, repository_ids: Sequence[int]) -> str | None:
    """What a manifest of these repositories says that it is: a blob itself does not know."""
    said = select(ref.c.media_type).where(among(ref.c.repository_id.in_(repository_ids), ref.c.link_digest == digest))
    return connection.scalar(said.limit(1))


def parents(connection: Connection, repository_id: int, digest: Digest, after: str, limit: int) -> list[Parent]:
    """Live manifests that name it, as a blob or as a manifest, by digest, those after `after`."""
    columns = (ref.c.parent, manifest.c.media_type, manifest.c.artifact_type, manifest.c.platform)
    found: set[Any] = set()
    for named in (ref.c.link_digest, ref.c.manifest_digest):
        rows = (
            select(*columns)
            .distinct()
            .join(manifest, (manifest.c.repository_id == ref.c.repository_id) & (manifest.c.digest == ref.c.parent))
            .where(
                ref.c.repository_id == repository_id,
                named == digest,
                ref.c.parent > after,
                manifest.c.deleted_at.is_(None),
            )
            .order_by(ref.c.parent)
            .limit(limit)
        )
        found.update(Parent(Digest(row[0]), *row[1:]) for row in connection.execute(rows))
    return sorted(found, key=lambda parent: parent.digest)[:limit]


def namings(connection: Connection, places: Iterable[Place], limit: int) -> list[Naming]:
    """Live manifests that name what is at these places."""
    found: list[Naming] = []
    child, parent = manifest.alias("child"), manifest.alias("parent")
    is_parent = (parent.c.repository_id == ref.c.repository_id) & (parent.c.digest == ref.c.parent)
    is_child = (child.c.repository_id == ref.c.repository_id) & (child.c.digest == ref.c.manifest_digest)
    for named in (ref.c.manifest_digest, ref.c.link_digest):
        rows = (
            select(ref.c.repository_id, named, ref.c.parent, func.coalesce(ref.c.platform, child.c.platform))
            .join(parent, is_parent)
            .outerjoin(child, is_child)
            .where(_at(ref.c.repository_id, named, places), parent.c.deleted_at.is_(None))
            .limit(limit)
        )
        found += [
            Naming((row[0], row[1]), (row[0], row[2]), named is ref.c.manifest_digest, row[3])
            for row in connection.execute(rows)
        ]
    return found


def tagged(connection: Connection, places: Iterable[Place], limit: int) -> list[tuple[Place, Tagged]]:
    """Tags that point to these manifests."""
    rows = (
        select(tag.c.repository_id, tag.c.digest, repository.c.name, tag.c.name, tag.c.moved_at)
        .join(repository, repository.c.id == tag.c.repository_id)
        .where(_at(tag.c.repository_id, tag.c.digest, places))
        .limit(limit)
    )
    return [((row[0], row[1]), Tagged(RepositoryName(row[2]), Tag(row[3]), row[4])) for row in connection.execute(rows)]


def _at(repository_id: Column[int], digest: Column[str], places: Iterable[Place]) -> ColumnElement[bool]:
    """Each of these repositories with each of these digests: SQLite has no index for pairs."""
    return among(repository_id.in_({place[0] for place in places}), digest.in_({place[1] for place in places}))


def freed_by_manifest(connection: Connection, repository_id: int, digest: Digest) -> int:
    """The bytes of blobs that no other manifest of the repository names and no other repository holds."""
    named = select(ref.c.link_digest).where(ref.c.repository_id == repository_id, ref.c.parent == digest)
    others = (ref.c.repository_id == repository_id) & (ref.c.link_digest == blob.c.digest) & (ref.c.parent != digest)
    also_named = select(ref.c.parent).where(others).exists()
    freed = select(func.coalesce(func.sum(blob.c.size), 0)).where(
        blob.c.digest.in_(named), ~also_named, ~_held_elsewhere(repository_id)
    )
    return int(connection.execute(freed).scalar_one())


def freed_by_repository(connection: Connection, repository_id: int, after: str, limit: int) -> Freed:
    """The bytes of blobs that no other repository holds, for the next few links after `after`."""
    rows = connection.execute(
        select(blob.c.digest, blob.c.size, _held_elsewhere(repository_id))
        .join(link, link.c.digest == blob.c.digest)
        .where(link.c.repository_id == repository_id, link.c.digest > after)
        .order_by(link.c.digest)
        .limit(limit)
    ).all()
    freed = sum(size for _, size, is_held in rows if not is_held)
    return Freed(freed, len(rows), rows[-1].digest if rows else after)


def _held_elsewhere(repository_id: int) -> ColumnElement[bool]:
    other = link.alias("other")
    return exists().where(other.c.digest == blob.c.digest, other.c.repository_id != repository_id)
