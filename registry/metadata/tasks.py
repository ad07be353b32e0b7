"""Periodic work: who does it now, under a lease, when it was last done, and whether somebody waits for it."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, case, null, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from registry.metadata.columns import current_time, now
from registry.metadata.database import on_full_disk
from registry.metadata.models import instance, task


class TaskState(NamedTuple):
    """A task `at` a time of the database's clock. `wanted`: somebody does not want to wait for the next time."""

    at: int
    done_at: int | None = None
    running: bool = False
    wanted: bool = False

    def is_due(self, interval: int) -> bool:
        """Whether it was not done for so long; also when it was done by a clock that was ahead."""
        return self.wanted or self.done_at is None or not 0 <= self.at - self.done_at < interval


def find(connection: Connection, name: str) -> TaskState:
    row = connection.execute(
        select(now(), task.c.done_at, task.c.lease_until > now(), task.c.wanted_at.is_not(None)).where(
            task.c.name == name
        )
    ).one_or_none()
    if row is None:
        return TaskState(current_time(connection))
    at, done_at, running, wanted = row
    return TaskState(at, done_at, bool(running), wanted)


@on_full_disk
def take(connection: Connection, name: str, owner: str, lease: int) -> int | None:
    """Lease a task that nobody else has; return when that was, or None."""
    made = upsert(task).values(name=name, owner=owner, lease_until=now() + lease)
    taken = connection.execute(
        made.on_conflict_do_update(
            index_elements=[task.c.name],
            set_={
                "owner": made.excluded.owner,
                "lease_until": made.excluded.lease_until,
                # A wish from a clock that was ahead is as old as this run
                "wanted_at": case((task.c.wanted_at > now(), now()), else_=task.c.wanted_at),
            },
            where=or_(task.c.owner.is_(None), task.c.owner == owner, task.c.lease_until <= now()),
        )
    )
    return current_time(connection) if taken.rowcount else None


@on_full_disk
def renew(connection: Connection, name: str, owner: str, lease: int) -> bool:
    """Prolong a lease; False when it was lost."""
    renewed = connection.execute(
        update(task).where(task.c.name == name, task.c.owner == owner).values(lease_until=now() + lease)
    )
    return renewed.rowcount == 1


@on_full_disk
def give_back(connection: Connection, name: str, owner: str) -> None:
    """End a lease without having done the work."""
    connection.execute(
        update(task).where(task.c.name == name, task.c.owner == owner).values(owner=None, lease_until=None)
    )


@on_full_disk
def done(connection: Connection, name: str, owner: str, began: int) -> None:
    """End the lease of a run that began then. Who asked for it later waits for the next one."""
    connection.execute(
        update(task)
        .where(task.c.name == name, task.c.owner == owner)
        .values(
            owner=None,
            lease_until=None,
            done_at=now(),
            wanted_at=case((task.c.wanted_at > began, task.c.wanted_at), else_=null()),
        )
    )


@on_full_disk
def want(connection: Connection, name: str) -> None:
    """Have a task done as soon as may be."""
    made = upsert(task).values(name=name, wanted_at=now())
    connection.execute(
        made.on_conflict_do_update(index_elements=[task.c.name], set_={"wanted_at": made.excluded.wanted_at})
    )


@on_full_disk
def clear(connection: Connection, owners: Sequence[str]) -> None:
    """Free what processes held that are gone."""
    connection.execute(update(task).where(task.c.owner.in_(owners)).values(owner=None, lease_until=None))


def clear_of_servers(connection: Connection) -> None:
    """Free what all processes of the recorded servers held; commands beside them go on."""
    processes = select(instance.c.id).where(task.c.owner.like(instance.c.id.concat(".%"))).exists()
    connection.execute(update(task).where(processes).values(owner=None, lease_until=None))
