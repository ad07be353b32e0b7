"""Small pieces of work against a registry without HTTP, each noting what was acknowledged. For faults at every call."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry.assembly import Registry, open_registry
from registry.content.conditions import Conditions
from registry.content.leases import LEASE
from registry.content.pushing import Push
from registry.domain.errors import BlobUnknown, ManifestUnknown, NameUnknown
from registry.domain.names import Digest, Reference, RepositoryName, Tag
from registry.metadata.schema import upgrade
from storage.failure import FailureMark
from tests.support.images import OCI, descriptor, image_config, image_manifest, index_manifest
from tests.support.registry import CALLER, DAY, NAME, Clock, body, execute, pull, push, settings, start

OTHER = RepositoryName("team/other")


@dataclass
class Site:
    """A registry on a folder. `promised`: what was acknowledged, None for what was deleted."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    promised: dict[tuple[RepositoryName, str], bytes | None] = field(default_factory=dict)
    kept: dict[tuple[RepositoryName, str], bytes | None] = field(default_factory=dict)

    async def open(self) -> None:
        """As a process that was started: new memory, no mark, recovery first."""
        if not (self.folder / "registry.db").exists():
            upgrade(self.folder / "registry.db")
        self.mark = FailureMark()
        self.registry: Registry = open_registry(settings(self.folder), now=self.clock, mark=self.mark)
        await self.registry.recover()

    async def close(self) -> None:
        await self.registry.close()

    def promise(self, reference: str, content: bytes | None, name: RepositoryName = NAME) -> None:
        self.promised[name, reference] = content

    def unsure(self, *references: str) -> None:
        """A request is under way that changes these."""
        for reference in references:
            self.promised.pop((NAME, reference), None)
            self.kept.pop((NAME, reference), None)

    async def broken_promises(self) -> list[str]:
        """What is not as it was acknowledged since the last look."""
        broken = []
        for (name, reference), wanted in self.promised.items():
            found = await self._get(name, reference)
            if found != wanted:
                broken.append(f"{name} {reference}: {found!r:.60}, acknowledged {wanted!r:.60}")
        self.kept.update(self.promised)
        self.promised.clear()
        return broken

    async def all_problems(self) -> list[str]:
        """Whatever was acknowledged, and what fsck finds."""
        self.promised = {**self.kept, **self.promised}
        return [*await self.broken_promises(), *await self.fsck(deep=True)]

    async def fsck(self, *, deep: bool) -> list[str]:
        report = await self.registry.fsck.run(deep=deep, progress=lambda phase, done: None)
        return report.problems

    async def _get(self, name: RepositoryName, reference: str) -> bytes | None:
        """A digest may be a blob's or a manifest's."""
        parsed: Reference = Digest.parse(reference) if ":" in reference else Tag(reference)
        try:
            return (await self.registry.manifests.get(name, parsed)).payload
        except (ManifestUnknown, NameUnknown):
            if isinstance(parsed, Tag):
                return None
        try:
            return await pull(self.registry, parsed, name)
        except BlobUnknown:
            return None

    # --- requests, noted when they were answered ----------------------------------------------------------------

    async def push(self, content: bytes) -> Digest:
        digest = await push(self.registry, content)
        self.promise(digest, content)
        return digest

    async def put(self, payload: bytes, media_type: str, reference: Reference, *tags: Tag) -> None:
        self.unsure(*tags)
        told = Push(NAME, reference, payload, media_type, tags, Conditions())
        manifest = await self.registry.manifests.put(told, CALLER)
        for promised in (manifest.digest, *tags):
            self.promise(promised, payload)

    async def image(self, serial: int, *tags: Tag) -> bytes:
        config = image_config([f"sha256:{serial:064x}"])
        await self.push(config)
        payload = image_manifest(config, [])
        await self.put(payload, OCI.manifest, tags[0] if len(tags) == 1 else Digest.of(payload), *tags)
        return payload


Scenario = Callable[[Site, int], Awaitable[None]]


def _content(serial: int) -> bytes:
    return f"content {serial} ".encode() * 800


async def whole_blob(site: Site, serial: int) -> None:
    await site.push(_content(serial))


async def same_blob_again(site: Site, serial: int) -> None:
    await site.push(_content(serial))
    await site.push(_content(serial))


async def chunks(site: Site, serial: int) -> None:
    content = _content(serial)
    key = await start(site.registry)
    for offset in range(0, len(content), 6000):
        state = await site.registry.uploads.append(key, body(content[offset : offset + 6000], start=offset))
        assert state.offset == min(offset + 6000, len(content))
    await site.registry.uploads.finish(key, Digest.of(content), body())
    site.promise(Digest.of(content), content)
    await site.registry.uploads.finish(key, Digest.of(content), body())


async def last_piece_with_the_put(site: Site, serial: int) -> None:
    content = _content(serial)
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(content[:5000]))
    await site.registry.uploads.finish(key, Digest.of(content), body(content[5000:]))
    site.promise(Digest.of(content), content)


async def two_segments(site: Site, serial: int) -> None:
    """The first writer's lease runs out, so what it wrote is copied when it is published."""
    content = _content(serial)
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(content[:5000]))
    await execute(
        site.registry, "UPDATE upload SET lease_owner = 'gone', lease_until = ? WHERE id = ?", site.clock.now, key.id
    )
    site.clock.advance(LEASE)
    await site.registry.uploads.finish(key, Digest.of(content), body(content[5000:]))
    site.promise(Digest.of(content), content)


async def another_algorithm(site: Site, serial: int) -> None:
    """The staged bytes are read once more."""
    content = _content(serial)
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(content))
    digest = Digest.of(content, "sha512")
    await site.registry.uploads.finish(key, digest, body())
    site.promise(digest, content)


async def cancelled_upload(site: Site, serial: int) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(_content(serial)))
    await site.registry.uploads.cancel(key)


async def expired_upload(site: Site, serial: int) -> None:
    key = await start(site.registry)
    await site.registry.uploads.append(key, body(_content(serial)))
    site.clock.advance(2 * DAY)
    await site.registry.uploads.expire()


async def mount(site: Site, serial: int) -> None:
    digest = await site.push(_content(serial))
    assert await site.registry.uploads.mount(OTHER, digest, NAME, lambda _: True)
    site.promise(digest, _content(serial), OTHER)


async def open_blob(site: Site, serial: int) -> None:
    digest = await site.push(_content(serial))
    await (await site.registry.blobs.open(NAME, digest)).close()


async def deleted_blob(site: Site, serial: int) -> None:
    digest = await site.push(_content(serial))
    site.unsure(digest)
    await site.registry.blobs.delete(NAME, digest, CALLER)
    site.promise(digest, None)


async def lost_bytes_pushed_again(site: Site, serial: int) -> None:
    """A push heals a blob whose bytes are gone."""
    digest = await site.push(_content(serial))
    ((key,),) = await execute(site.registry, "SELECT key FROM blob WHERE digest = ?", digest)
    (site.folder / "blobs" / str(key)).unlink(missing_ok=True)
    site.unsure(digest)
    await site.push(_content(serial))


async def image_by_tag(site: Site, serial: int) -> None:
    await site.image(serial, Tag("latest"))


async def image_by_digest_with_tags(site: Site, serial: int) -> None:
    await site.image(serial, Tag("v1"), Tag("v2"))


async def index(site: Site, serial: int) -> None:
    image = await site.image(serial)
    payload = index_manifest([descriptor(OCI.manifest, image)])
    await site.put(payload, OCI.index, Tag("all"), Tag("all"))


async def deleted_tag(site: Site, serial: int) -> None:
    await site.image(serial, Tag("old"))
    site.unsure("old")
    await site.registry.manifests.delete(NAME, Tag("old"), Conditions(), CALLER)
    site.promise("old", None)


async def deleted_manifest(site: Site, serial: int) -> None:
    digest = Digest.of(await site.image(serial, Tag("old")))
    site.unsure(digest, "old")
    await site.registry.manifests.delete(NAME, digest, Conditions(), CALLER)
    site.promise(digest, None)
    site.promise("old", None)


SCENARIOS: Mapping[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        whole_blob,
        same_blob_again,
        chunks,
        last_piece_with_the_put,
        two_segments,
        another_algorithm,
        cancelled_upload,
        expired_upload,
        mount,
        open_blob,
        deleted_blob,
        lost_bytes_pushed_again,
        image_by_tag,
        image_by_digest_with_tags,
        index,
        deleted_tag,
        deleted_manifest,
    )
}
