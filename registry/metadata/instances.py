"""Servers. A lease's owner begins with the id of its server; a host knows which of its own have ended."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from registry.metadata.columns import now
from registry.metadata.database import on_full_disk
from registry.metadata.models import instance, upload


@dataclass(frozen=True, slots=True)
class Instance:
    id: str
    host: str
    version: str
    schema: str


@on_full_disk
def register(connection: Connection, own: Instance) -> None:
    """Record this server, and clear the leases that ended ones of this host left behind (design P7).

    Call it only while no other server of this host uses this database.
    """
    ended = select(instance.c.id).where(instance.c.host == own.host)
    server = func.substr(upload.c.lease_owner, 1, len(own.id))
    connection.execute(update(upload).where(server.in_(ended)).values(lease_owner=None, lease_until=None))
    connection.execute(delete(instance).where(instance.c.host == own.host))
    connection.execute(
        insert(instance).values(
            id=own.id,
            host=own.host,
            version=own.version,
            schema=own.schema,
            started_at=now(),
            heartbeat_at=now(),
        )
    )


@on_full_disk
def beat(connection: Connection, instance_id: str) -> None:
    connection.execute(update(instance).where(instance.c.id == instance_id).values(heartbeat_at=now()))
