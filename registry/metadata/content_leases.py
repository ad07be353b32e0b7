"""Leases on content: until when it stays although nothing needs it. They are renewed, never shortened (design P9)."""

from collections.abc import Collection
from typing import Literal, NamedTuple, TypeAlias

from sqlalchemy import Connection, Table, Update, bindparam, select, update

from registry.domain.names import Digest, RepositoryName
from registry.metadata.columns import later_of, now
from registry.metadata.models import link, manifest, repository

Kind: TypeAlias = Literal["blob", "manifest"]


class Held(NamedTuple):
    """Content of a repository that has a lease."""

    kind: Kind
    repository: RepositoryName
    digest: Digest


def _renewal(table: Table) -> Update:
    holder = select(repository.c.id).where(repository.c.name == bindparam("holder"), repository.c.deleted_at.is_(None))
    return (
        update(table)
        .where(
            table.c.repository_id == holder.scalar_subquery(),
            table.c.digest == bindparam("content"),
            table.c.deleted_at.is_(None),
        )
        .values(keep_until=later_of(table.c.keep_until, now() + bindparam("lease")))
    )


_RENEWALS: dict[Kind, Update] = {"blob": _renewal(link), "manifest": _renewal(manifest)}


def renew(connection: Connection, held: Collection[Held], lease: int) -> None:
    """Keep each of these for at least `lease` milliseconds from now, but for what is gone or hidden."""
    for kind, renewal in _RENEWALS.items():
        values = [{"holder": one.repository, "content": one.digest, "lease": lease} for one in held if one.kind == kind]
        if values:
            connection.execute(renewal, values)
