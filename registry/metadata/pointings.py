"""Which tags of a repository point to a digest, or to manifests that hold it: now, or ever."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, literal, null, select, tuple_

from registry.domain.names import Digest, Tag
from registry.metadata.database import batches
from registry.metadata.hints import among
from registry.metadata.models import event, ref, tag

# So many manifests may hold a blob for their tags to be looked up; of more, tags are looked through
FEW = 1000
WALKED = 500


class Key(NamedTuple):
    """Where a pointing stands in the order of a repository's."""

    tag: str = ""
    event_id: int = 0


class Pointing(NamedTuple):
    """A tag that points, or pointed, to a manifest; `until` is None for now."""

    key: Key
    digest: Digest
    since: int
    until: int | None


class Pointings(NamedTuple):
    """Those up to `last`; None at the end. So many were `looked` at for them."""

    found: Sequence[Pointing]
    looked: int
    last: Key | None


def find(
    connection: Connection, repository_id: int, digest: Digest, after: Key, limit: int, *, ever: bool
) -> Pointings:
    """The next few after a key: of the manifest itself, and of all that hold the blob, themselves or through others."""
    above = _holding(connection, repository_id, digest, FEW + 1)
    if len(above) <= FEW:
        rows = _rows(connection, _few(repository_id, [digest, *above], after, ever=ever).limit(limit))
        return Pointings(rows, len(rows), rows[-1].key if len(rows) == limit else None)
    rows = _rows(connection, _all(repository_id, after, ever=ever).limit(WALKED))
    wanted = {digest, *_hold(connection, repository_id, digest, {row.digest for row in rows})}
    found = [row for row in rows if row.digest in wanted]
    return Pointings(found, len(rows), rows[-1].key if len(rows) == WALKED else None)


def _holding(connection: Connection, repository_id: int, digest: Digest, limit: int) -> list[str]:
    """Manifests that hold a blob, from the blob upwards."""
    here = ref.c.repository_id == repository_id
    holding = select(ref.c.parent).where(here, ref.c.link_digest == digest).cte("holding", recursive=True)
    holding = holding.union(select(ref.c.parent).join(holding, ref.c.manifest_digest == holding.c.parent).where(here))
    return list(connection.scalars(select(holding.c.parent).limit(limit)))


def _hold(connection: Connection, repository_id: int, digest: Digest, manifests: Iterable[str]) -> set[str]:
    """Those of the manifests that hold a blob, from the manifests downwards."""
    found: set[str] = set()
    above: dict[str, set[str]] = {}
    for some in batches(manifests):
        these = among(ref.c.repository_id == repository_id, ref.c.parent.in_(some))
        named = select(ref.c.parent, ref.c.manifest_digest).where(these)
        found.update(parent for parent, _ in connection.execute(named.where(ref.c.link_digest == digest)))
        for parent, child in connection.execute(named.where(ref.c.kind == "child")):
            if child is not None:
                above.setdefault(child, set()).add(parent)
    deeper = _hold(connection, repository_id, digest, above) if above else set()
    return found.union(*(above[child] for child in deeper))


def _few(repository_id: int, digests: Sequence[str], after: Key, *, ever: bool) -> Select[Any]:
    if ever:
        return _past(among(event.c.repository_id == repository_id, event.c.new_digest.in_(digests)), after)
    return _present(among(tag.c.repository_id == repository_id, tag.c.digest.in_(digests)), after)


def _all(repository_id: int, after: Key, *, ever: bool) -> Select[Any]:
    if ever:
        return _past((event.c.repository_id == repository_id) & event.c.new_digest.is_not(None), after)
    return _present(tag.c.repository_id == repository_id, after)


def _present(wanted: ColumnElement[bool], after: Key) -> Select[Any]:
    columns = (tag.c.name, literal(0), tag.c.digest, tag.c.moved_at, null())
    return select(*columns).where(wanted, tag.c.name > after.tag).order_by(tag.c.name)


def _past(wanted: ColumnElement[bool], after: Key) -> Select[Any]:
    later = event.alias("later")
    until = (
        select(later.c.at)
        .where(later.c.repository_id == event.c.repository_id, later.c.tag == event.c.tag, later.c.id > event.c.id)
        # what became of the tag's entry in the trash is no move of the tag
        .where(later.c.action != "trash.purge")
        .order_by(later.c.id)
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(event.c.tag, event.c.id, event.c.new_digest, event.c.at, until)
        .where(wanted, event.c.tag.is_not(None), tuple_(event.c.tag, event.c.id) > tuple_(after.tag, after.event_id))
        .order_by(event.c.tag, event.c.id)
    )


def _rows(connection: Connection, found: Select[Any]) -> list[Pointing]:
    return [
        Pointing(Key(Tag(name), event_id), Digest(digest), since, until)
        for name, event_id, digest, since, until in connection.execute(found)
    ]
