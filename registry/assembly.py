"""The only wiring: settings in, one object with every service out."""

import platform
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from registry.access.policy import Policy
from registry.clock import wall_clock
from registry.config import Settings
from registry.content.blobs import Blobs
from registry.content.catalog import Catalog
from registry.content.fsck import Fsck
from registry.content.manifests import Manifests
from registry.content.platforms import Platforms
from registry.content.readiness import Readiness
from registry.content.referrers import Referrers
from registry.content.tag_rules import movable_but
from registry.content.tags import Tags
from registry.content.uploads import UploadLimits, Uploads
from registry.metadata import instances
from registry.metadata.database import Database
from registry.metadata.instances import Instance
from registry.metadata.schema import HEAD
from storage.backend import BlobStore
from storage.crashpoints import crash_point
from storage.failure import FailureMark
from storage.filesystem import open_store

# All bodies that are being received share it (content/intake.py)
UPLOAD_MEMORY = 16 * 1024 * 1024


def random_id() -> str:
    """128 random bits in hex: nobody guesses another's upload."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Seat:
    """Who a process is: the server it belongs to, and its own name, in which it holds leases."""

    instance: Instance
    owner: str


def new_instance(new_id: Callable[[], str] = random_id) -> Instance:
    return Instance(new_id(), platform.node(), version("digestry"), HEAD)


@dataclass(frozen=True, slots=True)
class Registry:
    """Every service of one registry. HTTP, commands, background work and tests all get this."""

    settings: Settings
    instance: Instance
    database: Database
    store: BlobStore
    policy: Policy
    uploads: Uploads
    blobs: Blobs
    manifests: Manifests
    tags: Tags
    referrers: Referrers
    catalog: Catalog
    readiness: Readiness
    fsck: Fsck

    async def recover(self) -> None:
        """Take over from servers of this host that ended: once, before any worker starts."""
        await self.database.write(instances.register, self.instance)
        crash_point("recovery.registered")
        await self.database.take_reserve()
        await self.uploads.sweep_staging()

    async def close(self) -> None:
        await self.uploads.close()
        await self.manifests.close()
        await self.database.close()
        await self.store.close()


def open_registry(
    settings: Settings,
    *,
    now: Callable[[], int] = wall_clock,
    new_id: Callable[[], str] = random_id,
    mark: FailureMark | None = None,
    seat: Seat | None = None,
) -> Registry:
    """Open the stores of a registry whose schema is current. Blocks; call it in the process that serves.

    Processes that share the stores share a `mark`, made before they were forked, and have a `seat` each.
    """
    mark = mark or FailureMark()
    if seat is None:
        instance = new_instance(new_id)
        seat = Seat(instance, instance.id)
    store = open_store(settings.storage.filesystem.rootdirectory, mark)
    database = Database(settings.database.path, now, mark)
    limits = UploadLimits(settings.uploads.expiry, settings.gc.lease, UPLOAD_MEMORY)
    return Registry(
        settings=settings,
        instance=seat.instance,
        database=database,
        store=store,
        policy=Policy(
            readonly=settings.storage.maintenance.readonly.enabled,
            deletion=settings.storage.delete.enabled,
        ),
        uploads=Uploads(database, store, owner=seat.owner, limits=limits, new_id=new_id),
        blobs=Blobs(database, store),
        manifests=Manifests(
            database,
            Platforms(database, store),
            lease=settings.gc.lease,
            may_move=movable_but(settings.tags.immutable),
        ),
        tags=Tags(database),
        referrers=Referrers(database),
        catalog=Catalog(database),
        readiness=Readiness(database, store, mark, readonly=settings.storage.maintenance.readonly.enabled),
        fsck=Fsck(database, store),
    )
