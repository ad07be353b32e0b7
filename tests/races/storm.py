"""One process of a storm: clients on a registry of its own, over data that other processes change at the same time.

What they push is drawn from few contents, repositories and tags, so that they meet all the time.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from registry.assembly import Registry, open_registry
from registry.config import GcSettings, Settings, TrashSettings
from registry.content.conditions import Conditions
from registry.content.history import Wish
from registry.content.pushing import Push
from registry.domain.access import ANYBODY, Caller
from registry.domain.errors import ManifestBlobUnknown, RegistryError, Unavailable
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import PageRequest
from registry.domain.problems import Problem
from tests.races import judge
from tests.support.images import OCI
from tests.support.registry import body, settings

CALLER = Caller(ANYBODY, "storm")
REPOSITORIES = [RepositoryName(f"storm/{name}") for name in "abcd"]
TAGS = [Tag(f"v{number}") for number in range(12)]
CONTENTS = 150
LEASE, DOOMED, KEEP = 400, 50, 300


def storm_settings(folder: Path) -> Settings:
    """Times in milliseconds to a second: what takes weeks happens all the time."""
    return replace(
        settings(folder), gc=GcSettings(interval=50, lease=LEASE, trash=DOOMED), trash=TrashSettings(keep=KEEP)
    )


@dataclass
class Storm:
    """Actors of one process. `tally` says how often each got something done, `problems` what broke a promise."""

    folder: Path
    seed: str
    stop: Callable[[], bool]
    tally: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    async def run(self, roles: list[str]) -> None:
        registry = open_registry(storm_settings(self.folder))
        try:
            actors = [Actor(registry, self, random.Random(f"{self.seed}/{n}/{role}")) for n, role in enumerate(roles)]
            await asyncio.gather(*(actor.go(role) for actor, role in zip(actors, roles, strict=True)))
        finally:
            await registry.close()


class Actor:
    """A client, a deleter, a reader or the garbage collection."""

    def __init__(self, registry: Registry, storm: Storm, dice: random.Random) -> None:
        self._registry = registry
        self._storm = storm
        self._dice = dice
        self._last: dict[RepositoryName, object] = {}

    async def go(self, role: str) -> None:
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "writer": self._write,
            "deleter": self._delete,
            "reader": self._read,
            "collector": self._collect,
        }
        while not self._storm.stop() and not self._storm.problems:
            try:
                await acts[role]()
            except Unavailable:
                self._storm.tally["unavailable"] += 1
            except (RegistryError, Problem) as error:
                self._storm.tally[f"{role}: {type(error).__name__}"] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                self._storm.problems.append(f"{role}: {error!r}")
            await asyncio.sleep(0)

    # --- writers ---------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        name = self._dice.choice(REPOSITORIES)
        layers = [await self._bring(name) for _ in range(self._dice.randint(1, 3))]
        image = {"schemaVersion": 2, "mediaType": OCI.manifest, "config": layers[0], "layers": layers}
        for _ in range(self._dice.randint(1, 8)):
            child = await self._put(name, image, self._subject(name))
            if self._dice.random() < 0.1:
                await self._put(name, {"schemaVersion": 2, "mediaType": OCI.index, "manifests": [child]}, None)

    async def _bring(self, name: RepositoryName) -> dict[str, object]:
        """As clients do: ask, then mount, then upload."""
        data = f"content {self._dice.randrange(CONTENTS)}".encode() * 4
        digest = Digest.of(data)
        if not (await self._has(name, digest) or await self._mount(name, digest)):
            await self._registry.uploads.push(name, CALLER, digest, body(data))
            self._storm.tally["blob uploaded"] += 1
        return {"mediaType": OCI.layer, "digest": digest, "size": len(data)}

    async def _has(self, name: RepositoryName, digest: Digest) -> bool:
        leases = self._registry.content_leases
        try:
            found = await self._registry.blobs.stat(name, digest)
            if leases.is_due(found.left):
                await leases.renew_blob(name, found)
        except RegistryError:
            return False
        self._storm.tally["blob there"] += 1
        return True

    async def _mount(self, name: RepositoryName, digest: Digest) -> bool:
        source = self._dice.choice([None, *REPOSITORIES])
        mounted = await self._registry.uploads.mount(name, digest, source, lambda _: True)
        self._storm.tally["blob mounted"] += mounted
        return mounted

    async def _put(self, name: RepositoryName, payload: dict[str, object], subject: object) -> dict[str, object]:
        """A manifest that nobody has pushed before; return its descriptor."""
        made = {**payload, "annotations": {"storm": str(self._dice.getrandbits(64))}}
        data = json.dumps(made | ({"subject": subject} if subject else {})).encode()
        tags = [] if self._dice.random() < 0.3 else [self._dice.choice(TAGS)]
        push = Push(name, tags[0] if tags else Digest.of(data), data, str(payload["mediaType"]), tags, Conditions())
        try:
            await self._registry.manifests.put(push, CALLER)
        except ManifestBlobUnknown:  # its lease ran out, or somebody deleted it: the client starts again
            self._storm.tally["manifest refused"] += 1
            raise
        self._storm.tally["manifest pushed"] += 1
        descriptor = {"mediaType": payload["mediaType"], "digest": Digest.of(data), "size": len(data)}
        self._last[name] = descriptor
        return descriptor

    def _subject(self, name: RepositoryName) -> object:
        """Sometimes a manifest that was pushed here before, and may be gone."""
        return self._last.get(name) if self._dice.random() < 0.2 else None

    # --- deleters --------------------------------------------------------------------------------------------

    async def _delete(self) -> None:
        kind = self._dice.choices(
            ["manifests", "tag", "blob", "repository", "rename", "restore", "roll back", "purge"],
            [60, 10, 10, 1, 1, 12, 4, 2],
        )[0]
        acts: dict[str, Callable[[RepositoryName], Awaitable[None]]] = {
            "manifests": self._delete_manifests,
            "tag": self._delete_tag,
            "blob": self._delete_blob,
            "repository": self._delete_repository,
            "rename": self._rename,
            "restore": self._restore,
            "roll back": self._roll_back,
            "purge": self._purge,
        }
        await acts[kind](self._dice.choice(REPOSITORIES))
        self._storm.tally[kind] += 1

    async def _delete_manifests(self, name: RepositoryName) -> None:
        for digest in await self._some("manifest", name, 8):
            await self._registry.manifests.delete(name, digest, Conditions(), CALLER)
            self._storm.tally["manifest deleted"] += 1

    async def _delete_tag(self, name: RepositoryName) -> None:
        await self._registry.manifests.delete(name, self._dice.choice(TAGS), Conditions(), CALLER)

    async def _delete_blob(self, name: RepositoryName) -> None:
        for digest in await self._some("link", name, 2):
            await self._registry.blobs.delete(name, digest, CALLER)

    async def _delete_repository(self, name: RepositoryName) -> None:
        await self._registry.repositories.delete(name, CALLER)

    async def _rename(self, name: RepositoryName) -> None:
        await self._registry.repositories.rename(name, self._dice.choice(REPOSITORIES), CALLER)

    async def _roll_back(self, name: RepositoryName) -> None:
        await self._registry.history.roll_back([Wish(name, self._dice.choice(TAGS))], CALLER)

    async def _restore(self, name: RepositoryName) -> None:
        if entry := await self._entry():
            await self._registry.trash.restore(entry, CALLER)

    async def _purge(self, name: RepositoryName) -> None:
        if entry := await self._entry():
            await self._registry.trash.purge(entry, CALLER)

    async def _entry(self) -> int | None:
        page = await self._registry.trash.list(PageRequest(20), ANYBODY.rights, None)
        return self._dice.choice(page.entries).id if page.entries else None

    async def _some(self, table: str, name: RepositoryName, limit: int) -> list[Digest]:
        found = await self._registry.database.read(
            lambda connection: connection.exec_driver_sql(
                f"SELECT t.digest FROM {table} t JOIN repository r ON r.id = t.repository_id"
                " WHERE r.name = ? AND r.deleted_at IS NULL AND t.deleted_at IS NULL AND t.digest >= ? LIMIT ?",
                (name, f"sha256:{self._dice.getrandbits(32):08x}", limit),
            ).all()
        )
        return [Digest(row[0]) for row in found]

    # --- readers, and the garbage collection -----------------------------------------------------------------

    async def _read(self) -> None:
        """What can be read pulls whole, at any time."""
        path, root = self._storm.folder / "registry.db", self._storm.folder / "blobs"
        self._storm.problems += [f"dangling: {found}" for found in await asyncio.to_thread(judge.dangling, path)]
        for digest, key in await asyncio.to_thread(judge.named_files, path, 50):
            whole = (root / key).exists() and Digest.of((root / key).read_bytes()) == digest
            if not whole and judge.is_still(path, digest, key):
                self._storm.problems.append(f"the bytes of {digest} at {key} are not there")
        self._storm.tally["checked"] += 1
        await asyncio.sleep(0.2)

    async def _collect(self) -> None:
        collected = await self._registry.gc.run(lambda: True)
        await self._registry.uploads.expire()
        self._storm.tally["gc runs"] += 1
        self._storm.tally["blobs collected"] += collected.blobs
        self._storm.tally["links collected"] += collected.links
        self._storm.tally["trash expired"] += collected.expired
        await asyncio.sleep(0.05)
