"""Cut the power right after an acknowledgement, again and again: what was acknowledged is there after the journal's
replay, byte for byte.

The disk is an image file (tests/support/loop_images.py), and the cut a copy of it at one instant: all that the
kernel had written to it by then. What was written but never synced is not there, as `test_power_cuts.py` shows.
With blobs and database on two disks both lie in one image file, so that one copy cuts both at the same instant;
copied one after the other, whichever came first would show rows or bytes that the other does not have yet.

Not shown: disks that tear sectors or reorder what they were told to flush, and names that ext4 and XFS carry along with
other syncs (`test_synced.py` counts those).
"""

import argparse
import asyncio
import copy
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from registry.assembly import Registry, open_registry
from registry.config import DatabaseSettings, FilesystemSettings, Settings, StorageSettings
from registry.content import intake
from registry.content.leases import LEASE
from registry.domain.errors import (
    BlobUnknown,
    BlobUnreadable,
    BlobUploadUnknown,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
)
from registry.domain.names import Digest, RepositoryName, Tag
from registry.metadata.schema import upgrade
from tests.crash.ledger import Content, Ledger
from tests.crash.local_pusher import Crowd, Pusher, Session
from tests.support.loop_images import Disk, DiskStore, disk_store
from tests.support.registry import Clock, body, pull

FILESYSTEMS = ("ext4", "xfs")
# On how many disks blobs and database are
LAYOUTS = {"one": 1, "two": 2}
CUTS_A_ROUND = 8
# A lone pusher leaves the disk quiet: no neighbour's sync carries what it forgot to sync
PUSHERS = (1, 4)
LATEST_CUT = 9
# Small, so that small bodies meet several of each
PIECE = 32 * 1024
CHECKPOINT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Round:
    """Some cuts in the life of one fresh registry; its text is what --replay takes."""

    filesystem: str
    layout: str
    seed: int
    number: int

    def __str__(self) -> str:
        return f"{self.filesystem}/{self.layout}/{self.seed}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Round":
        filesystem, layout, seed, number = text.split("/")
        return cls(filesystem, layout, int(seed), int(number))


@dataclass(frozen=True, slots=True)
class Cut:
    """A disk after a power cut, and what each repository had acknowledged by then."""

    disk: Disk
    after: str
    repositories: Sequence[tuple[RepositoryName, Ledger, Session | None]]
    clock: int


@dataclass
class Tally:
    cuts: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)


class Trial:
    """Runs rounds on disks of one store."""

    def __init__(self, store: DiskStore, folder: Path) -> None:
        self._store = store
        self._points = [folder / "database", folder / "blobs"]
        self.tally = Tally()

    def run(self, chosen: Round, cuts: int = CUTS_A_ROUND) -> None:
        disk = self._store.new("disk", chosen.filesystem, LAYOUTS[chosen.layout])
        with self._mounted(disk) as settings, _small_steps():
            made = asyncio.run(_push(settings, disk, random.Random(str(chosen)), cuts, self.tally.acknowledged))
        disk.remove()
        for number, cut in enumerate(made):
            with self._mounted(cut.disk) as settings:
                losses = asyncio.run(_check(settings, cut))
            cut.disk.remove()
            self.tally.cuts[f"{chosen.filesystem}/{chosen.layout}"] += 1
            where = f"{chosen}, cut {number} after {cut.after}"
            self.tally.losses += [f"{where}: {loss}" for loss in losses]

    @contextmanager
    def _mounted(self, disk: Disk) -> Iterator[Settings]:
        """Both stores in folders that are still to be made, on one disk or on two."""
        points = self._points[: disk.parts]
        with disk.mounted(points):
            yield Settings(
                storage=StorageSettings(filesystem=FilesystemSettings(rootdirectory=points[-1] / "new" / "blobs")),
                database=DatabaseSettings(url=f"sqlite:///{points[0] / 'new' / 'registry.db'}"),
            )


@contextmanager
def _small_steps() -> Iterator[None]:
    pieces, checkpoint = (intake.SMALLEST_PIECE, intake.LARGEST_PIECE), intake.CHECKPOINT_BYTES
    intake.SMALLEST_PIECE, intake.LARGEST_PIECE, intake.CHECKPOINT_BYTES = PIECE, PIECE, CHECKPOINT_BYTES
    try:
        yield
    finally:
        (intake.SMALLEST_PIECE, intake.LARGEST_PIECE), intake.CHECKPOINT_BYTES = pieces, checkpoint


async def _push(settings: Settings, disk: Disk, seeded: random.Random, cuts: int, seen: Counter[str]) -> list[Cut]:
    """Push until the power was cut `cuts` times, each time as soon as a seeded acknowledgement is there."""
    made: list[Cut] = []
    pushers: list[Pusher] = []
    clock = Clock()
    due = seeded.randint(1, LATEST_CUT)

    def acknowledged(kind: str) -> None:
        nonlocal due
        seen[kind] += 1
        due -= 1
        if due == 0 and len(made) < cuts:
            known = [(pusher.name, pusher.ledger, pusher.session) for pusher in pushers]
            made.append(Cut(disk.cut(f"cut.{len(made)}"), kind, copy.deepcopy(known), clock.now))
            due = seeded.randint(1, LATEST_CUT)
        crowd.full = len(made) == cuts

    upgrade(settings.database.path)
    registry = open_registry(settings, now=clock)
    try:
        await registry.recover()
        crowd = Crowd(registry, clock, acknowledged)
        numbers = range(seeded.choice(PUSHERS))
        pushers += [Pusher(f"cuts/pusher-{number}", f"{seeded.random()}", crowd) for number in numbers]
        async with asyncio.TaskGroup() as group:
            for pusher in pushers:
                group.create_task(pusher.run())
    finally:
        await registry.close()
    return made


async def _check(settings: Settings, cut: Cut) -> list[str]:
    """What is lost or wrong on a disk whose power was cut."""
    try:
        registry = open_registry(settings, now=Clock(cut.clock + LEASE + 1))
    except Exception as error:  # noqa: BLE001 - whatever keeps a registry from starting is a loss
        return [f"does not open: {error!r}"]
    try:
        await registry.recover()
        losses = (await registry.fsck.run(deep=True, progress=lambda phase, done: None)).problems
        for name, ledger, session in cut.repositories:
            losses += [f"{name}: {loss}" for loss in await _compare(registry, name, ledger, session)]
    except Exception as error:  # noqa: BLE001 - as above
        return [f"does not serve: {error!r}"]
    else:
        return losses
    finally:
        await registry.close()


async def _compare(registry: Registry, name: RepositoryName, ledger: Ledger, session: Session | None) -> list[str]:
    paths = {*ledger.held, *ledger.gone, *ledger.in_flight}
    found = {path: await _read(registry, name, path) for path in sorted(paths)}
    losses = ledger.settle(found.get)
    for path in sorted({*ledger.held, *ledger.gone}):
        losses += ledger.check(path, found.get)
    if session is not None:
        losses += await _go_on(registry, session, ended=session.finishing and session.path in ledger.held)
    return losses


async def _read(registry: Registry, name: RepositoryName, path: str) -> Content:
    kind, _, reference = path.partition("/")
    with suppress(BlobUnknown, BlobUnreadable, ManifestUnknown, NameUnknown):
        if kind == "blobs":
            return await pull(registry, Digest(reference), name)
        found = await registry.manifests.get(name, Digest(reference) if ":" in reference else Tag(reference))
        return found.payload
    return None


async def _go_on(registry: Registry, session: Session, *, ended: bool) -> list[str]:
    """Take an upload up again where it says that it is: the digest tells whether the bytes are right."""
    try:
        offset = (await registry.uploads.status(session.key)).offset
        if session.spoiling and offset > session.acknowledged:
            return []
        if not session.acknowledged <= offset <= session.sent:
            return [f"an upload has {offset} bytes; acknowledged {session.acknowledged}, sent {session.sent}"]
        rest = body(session.content[offset:], start=offset)
        await registry.uploads.finish(session.key, Digest.of(session.content), rest)
    except BlobUploadUnknown:
        return [] if ended else [f"an upload is unknown; {session.acknowledged} bytes were acknowledged"]
    except RegistryError as error:
        return [f"an upload with {session.acknowledged} acknowledged bytes does not go on: {error.message}"]
    return []


def rounds(cuts: int, filesystems: Sequence[str], seed: int) -> Iterator[tuple[Round, int]]:
    """As many as it takes, the cells in turn; the last one may have fewer cuts."""
    cells = [(filesystem, layout) for filesystem in filesystems for layout in LAYOUTS]
    for number in count():
        for filesystem, layout in cells:
            if cuts <= 0:
                return
            yield Round(filesystem, layout, seed, number), min(cuts, CUTS_A_ROUND)
            cuts -= CUTS_A_ROUND


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=500)
    parser.add_argument("--filesystem", default=",".join(FILESYSTEMS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", type=Round.parse, help="run one round again: filesystem/layout/seed/number")
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="digestry-cuts-") as folder, disk_store(Path(folder)) as store:
        trial = Trial(store, Path(folder))
        planned = rounds(chosen.cuts, chosen.filesystem.split(","), chosen.seed)
        for one, cuts in [(chosen.replay, CUTS_A_ROUND)] if chosen.replay else planned:
            trial.run(one, cuts)
    tally = trial.tally
    for loss in tally.losses:
        print(f"LOST: {loss}")
    print(f"{tally.cuts.total()} cuts in {time.monotonic() - started:.0f} s ({told(tally.cuts)}), seed {chosen.seed}")
    print(f"acknowledged {told(tally.acknowledged)}; {len(tally.losses)} lost")
    return 1 if tally.losses else 0


def told(counter: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(counter.items()))


if __name__ == "__main__":
    sys.exit(main())
