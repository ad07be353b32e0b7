"""Servers: what serves this database, and since when."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, update

from registry.metadata import tasks
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
    """Record this server, and clear the leases that those before it left behind (design P7).

    Call it only under the lock that says that no other server uses this database.
    """
    held = update(upload).where(upload.c.lease_owner.is_not(None))
    connection.execute(held.values(lease_owner=None, lease_until=None))
    tasks.clear_of_servers(connection)
    connection.execute(delete(instance))
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
