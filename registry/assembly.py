"""The only wiring: settings in, one object with every service out."""

import asyncio
import platform
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from registry.access.limits import RateLimits
from registry.access.opening import Access, AccessOptions, open_access
from registry.access.policy import Policy
from registry.access.windows import Windows
from registry.clock import JumpWatch, boot_id, wall_clock
from registry.config import Settings, auth_mode
from registry.content.blobs import Blobs
from registry.content.catalog import Catalog
from registry.content.content_leases import ContentLeases
from registry.content.digests import Digests
from registry.content.fsck import Fsck
from registry.content.gc import GarbageCollection, GcLimits
from registry.content.history import History
from registry.content.manifests import Manifests
from registry.content.overview import Overview
from registry.content.platforms import Platforms
from registry.content.quarantine import Quarantine
from registry.content.readiness import Readiness
from registry.content.referrers import Referrers
from registry.content.repositories import Repositories
from registry.content.scrub import Scrub
from registry.content.tags import Tags
from registry.content.tasks import Tasks
from registry.content.trash import Trash
from registry.content.trusted_clock import TrustedClock
from registry.content.uploads import UploadLimits, Uploads
from registry.domain.access import ANYBODY, ANYBODY_ANYWHERE
from registry.domain.errors import Unavailable
from registry.metadata import instances
from registry.metadata.database import Database
from registry.metadata.instances import Instance
from registry.metadata.schema import HEAD
from registry.metadata.snapshots import NoSpaceError, scratch
from storage.backend import BlobStore
from storage.crashpoints import crash_point
from storage.failure import FailureMark
from storage.filesystem import open_store

# All bodies that are being received share it (content/intake.py)
UPLOAD_MEMORY = 16 * 1024 * 1024
# Bytes that no row knows are taken for orphans once they are so old (reliability c-9)
ORPHAN_AGE = 48 * 3_600_000


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
    access: Access
    uploads: Uploads
    blobs: Blobs
    content_leases: ContentLeases
    manifests: Manifests
    tags: Tags
    referrers: Referrers
    repositories: Repositories
    history: History
    digests: Digests
    trash: Trash
    gc: GarbageCollection
    catalog: Catalog
    overview: Overview
    readiness: Readiness
    fsck: Fsck
    tasks: Tasks
    clock: TrustedClock
    quarantine: Quarantine
    scrub: Scrub

    @property
    def service(self) -> str:
        """What this registry is called in tokens and challenges."""
        return service_name(self.settings)

    async def recover(self) -> None:
        """Take over from servers of this host that ended: once, before any worker starts."""
        await self.database.write(instances.register, self.instance)
        crash_point("recovery.registered")
        await self.database.take_reserve()
        await self.uploads.sweep_staging()

    async def close(self) -> None:
        await self.scrub.close()
        await self.uploads.close()
        await self.content_leases.close()
        await self.manifests.close()
        await self.access.close()
        await self.database.close()
        await self.store.close()


def open_registry(
    settings: Settings,
    *,
    now: Callable[[], int] = wall_clock,
    new_id: Callable[[], str] = random_id,
    mark: FailureMark | None = None,
    windows: Windows | None = None,
    seat: Seat | None = None,
    watch: JumpWatch | None = None,
) -> Registry:
    """Open the stores of a registry whose schema is current. Blocks; call it in the process that serves.

    Processes that share the stores share a `mark` and `windows`, made before they were forked, and have a `seat`
    each.
    """
    mark = mark or FailureMark()
    if seat is None:
        instance = new_instance(new_id)
        seat = Seat(instance, instance.id)
    store = open_store(settings.storage.filesystem.rootdirectory, mark)
    database = Database(settings.database.path, now, mark)
    limits = UploadLimits(settings.uploads.expiry, settings.gc.lease, UPLOAD_MEMORY, _most_uploads(settings))
    quarantine = Quarantine(database, store)
    digests = Digests(database)
    policy = Policy(
        readonly=settings.storage.maintenance.readonly.enabled,
        deletion=settings.storage.delete.enabled,
        immutable=settings.tags.immutable,
    )
    return Registry(
        settings=settings,
        instance=seat.instance,
        database=database,
        store=store,
        policy=policy,
        access=open_access(database, _access_options(settings), _rate_limits(settings, windows or Windows()), now),
        uploads=Uploads(database, store, owner=seat.owner, limits=limits, new_id=new_id),
        blobs=Blobs(database, store, quarantine),
        content_leases=ContentLeases(database, settings.gc.lease),
        manifests=Manifests(
            database,
            Platforms(database, store),
            lease=settings.gc.lease,
            decide=policy.decide,
        ),
        tags=Tags(database),
        referrers=Referrers(database),
        repositories=Repositories(database, policy.decide, some_tags_stay=bool(settings.tags.immutable)),
        history=History(database, digests, policy.decide),
        digests=digests,
        trash=Trash(database, keep=settings.trash.keep, decide=policy.decide),
        gc=GarbageCollection(
            database,
            store,
            GcLimits(trash=settings.trash.keep, doomed=settings.gc.trash, orphans=ORPHAN_AGE),
            lambda: _copied(settings.database.path, now),
        ),
        catalog=Catalog(database),
        overview=Overview(database),
        readiness=Readiness(database, store, mark, readonly=settings.storage.maintenance.readonly.enabled),
        tasks=Tasks(database, seat.owner),
        clock=TrustedClock(database, watch or JumpWatch(settings.gc.lease), boot_id()),
        fsck=Fsck(database, store),
        quarantine=quarantine,
        scrub=Scrub(database, store, quarantine, interval=settings.scrub.interval, rate=settings.scrub.rate),
    )


@asynccontextmanager
async def _copied(path: Path, now: Callable[[], int]) -> AsyncIterator[Database]:
    """A copy of the database, to be changed and thrown away."""
    copying = scratch(path)
    try:
        copy = await asyncio.to_thread(copying.__enter__)
    except NoSpaceError as error:
        raise Unavailable(str(error)) from error
    try:
        database = Database(copy, now, FailureMark())
        try:
            yield database
        finally:
            await database.close()
    finally:
        await asyncio.to_thread(copying.__exit__, None, None, None)


def service_name(settings: Settings) -> str:
    return urlsplit(settings.http.host).netloc or "digestry"


def _access_options(settings: Settings) -> AccessOptions:
    auth, host = settings.auth, settings.http.host
    mode = auth_mode(settings)
    return AccessOptions(
        opened={"open": ANYBODY, "open-anywhere": ANYBODY_ANYWHERE}.get(mode),
        htpasswd=Path(auth.htpasswd.path) if auth.htpasswd.path else None,
        everything_for_file=mode == "htpasswd",
        plain=auth.plainhttp,
        issuer=host or "digestry",
        service=service_name(settings),
        token_lifetime=auth.token.expiry,
        upload_expiry=settings.uploads.expiry,
    )


def _rate_limits(settings: Settings, windows: Windows) -> RateLimits:
    limits = settings.ratelimit
    return RateLimits(
        windows,
        failures=limits.failures,
        addressfailures=limits.addressfailures,
        address=limits.address,
        subject=limits.subject,
    )


def _most_uploads(settings: Settings) -> int | None:
    """Where nobody is asked who they are, one limit would be everybody's."""
    return None if auth_mode(settings).startswith("open") else settings.ratelimit.uploads
