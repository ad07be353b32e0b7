"""A registry whose repositories tests fill, delete and look at, without HTTP."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from registry.assembly import Registry, open_registry
from registry.config import TagsSettings
from registry.content.conditions import Conditions
from registry.content.pushing import Push
from registry.domain.access import OPERATOR
from registry.domain.names import Digest, Reference, RepositoryName, Tag
from registry.domain.paging import PageRequest
from registry.metadata.schema import upgrade
from registry.metadata.trash import Entry
from tests.support.images import OCI, descriptor, image, image_manifest, index_manifest
from tests.support.registry import CALLER, NAME, Clock, execute, pull, push, settings


@dataclass
class Shelf:
    """Manifests are known by their digests; what they consist of is remembered, to be pushed again or elsewhere."""

    registry: Registry
    clock: Clock
    _payloads: dict[Digest, tuple[str, bytes]] = field(default_factory=dict)

    async def image(self, seed: str, *tags: str, name: RepositoryName = NAME) -> Digest:
        """A small one, the same for the same seed."""
        made = image(seed, layers=1)
        for part in made.blobs:
            await push(self.registry, part.data, name)
        return await self.put(made.manifest, *tags, name=name)

    async def index(self, children: Sequence[Digest], *tags: str, name: RepositoryName = NAME) -> Digest:
        described = [descriptor(*self._payloads[child]) for child in children]
        return await self.put(index_manifest(described), *tags, media_type=OCI.index, name=name)

    async def referrer(self, subject: Digest, seed: str, *tags: str, name: RepositoryName = NAME) -> Digest:
        """Such as a signature."""
        empty = b"{}"
        await push(self.registry, empty, name)
        about = descriptor(*self._payloads[subject])
        return await self.put(image_manifest(empty, [], subject=about, annotations={"seed": seed}), *tags, name=name)

    async def put(
        self, payload: bytes, *tags: str, media_type: str = OCI.manifest, name: RepositoryName = NAME
    ) -> Digest:
        digest = Digest.of(payload)
        self._payloads[digest] = media_type, payload
        pushed = Push(name, digest, payload, media_type, [Tag(tag) for tag in tags], Conditions())
        await self.registry.manifests.put(pushed, CALLER)
        self.clock.advance(1)
        return digest

    async def point(self, digest: Digest, *tags: str, name: RepositoryName = NAME) -> None:
        """Push a manifest again that is there."""
        media_type, payload = self._payloads[digest]
        await self.put(payload, *tags, media_type=media_type, name=name)

    async def delete(self, reference: Reference | str, name: RepositoryName = NAME) -> Entry:
        """A tag, or a manifest by its digest; return the entry in the trash."""
        wanted = reference if isinstance(reference, Digest) else Tag(reference)
        await self.registry.manifests.delete(name, wanted, Conditions(), CALLER)
        self.clock.advance(1)
        return (await self.trash())[0]

    async def trash(self, name: RepositoryName | None = None) -> list[Entry]:
        """What was deleted for itself, newest first."""
        page = await self.registry.trash.list(PageRequest(), OPERATOR.rights, name)
        return list(page.entries)

    async def tags(self, name: RepositoryName = NAME) -> dict[str, str]:
        rows = await execute(
            self.registry,
            "SELECT tag.name, digest FROM tag JOIN repository ON id = repository_id"
            " WHERE repository.name = ? AND deleted_at IS NULL",
            name,
        )
        return dict(rows)

    async def live(self, name: RepositoryName = NAME) -> set[str]:
        """Manifests; each is pulled with all that it needs."""
        rows = await execute(
            self.registry,
            "SELECT digest FROM manifest JOIN repository ON id = repository_id"
            " WHERE repository.name = ? AND repository.deleted_at IS NULL AND manifest.deleted_at IS NULL",
            name,
        )
        for (digest,) in rows:
            found = json.loads((await self.registry.manifests.get(name, Digest(digest))).payload)
            for part in found.get("manifests", []):
                await self.registry.manifests.get(name, Digest(part["digest"]))
            for part in [found["config"], *found["layers"]] if "config" in found else []:
                assert len(await pull(self.registry, Digest(part["digest"]), name)) == part["size"]
        return {digest for (digest,) in rows}

    async def events(self, pattern: str = "%") -> list[tuple[str | None, ...]]:
        """Action, repository, tag, old and new digest; newest first."""
        columns = "action, repository, tag, old_digest, new_digest"
        return await execute(
            self.registry, f"SELECT {columns} FROM event WHERE action LIKE ? ORDER BY id DESC", pattern
        )

    async def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """All that is stored, but for events and leases."""
        columns = {
            "repository": "*",
            "manifest": "repository_id, digest, deleted_at",
            "ref": "*",
            "tag": "*",
            "link": "repository_id, digest, deleted_at",
            "trash": "*",
        }
        return {
            table: sorted(await execute(self.registry, f"SELECT {what} FROM {table}"), key=repr)
            for table, what in columns.items()
        }

    async def sound(self) -> None:
        report = await self.registry.fsck.run(deep=True, progress=lambda *_: None)
        assert (report.problems, report.notes) == ([], [])


@asynccontextmanager
async def shelved(folder: Path, *, immutable: tuple[str, ...] = ()) -> AsyncIterator[Shelf]:
    """One in a folder; it must be sound in the end."""
    clock = Clock()
    upgrade(folder / "registry.db")
    registry = open_registry(replace(settings(folder), tags=TagsSettings(immutable)), now=clock)
    try:
        shelf = Shelf(registry, clock)
        yield shelf
        await shelf.sound()
    finally:
        await registry.close()


@contextmanager
def statements(registry: Registry) -> Iterator[list[str]]:
    """What is asked of SQLite by writes meanwhile."""
    found: list[str] = []
    driver = registry.database._writing.connection.driver_connection
    assert driver is not None
    driver.set_trace_callback(found.append)
    yield found
    driver.set_trace_callback(None)
