"""A client without HTTP: it calls a registry's services, so that a power cut can follow an answer at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from registry.assembly import Registry
from registry.content.conditions import Conditions
from registry.content.intake import Body
from registry.content.leases import LEASE
from registry.content.pushing import Push
from registry.domain.access import ANYBODY
from registry.domain.errors import BlobUploadUnknown, SizeInvalid
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.uploads import UploadKey
from tests.crash.ledger import Content, Ledger, blob_path, manifest_path
from tests.support.images import OCI, image_config, image_manifest
from tests.support.registry import CALLER, Clock, body

LARGEST_BLOB = 384 * 1024
TAGS = ("latest", "stable", "v1")
SHARED_BLOBS = tuple(f"shared {number}".encode() * 1000 for number in range(20))


@dataclass
class Session:
    """An open upload: `acknowledged` bytes surely are there, `sent` bytes may be.

    `spoiling`: a body is on its way that will be taken back. `finishing`: the upload may have ended.
    """

    key: UploadKey
    content: bytes
    acknowledged: int = 0
    sent: int = 0
    spoiling: bool = False
    finishing: bool = False

    @property
    def path(self) -> str:
        return blob_path(self.content)


@dataclass
class Crowd:
    """What the pushers of one registry have in common. `acknowledged` is told of each answer, before anything else."""

    registry: Registry
    clock: Clock
    acknowledged: Callable[[str], None]
    mountable: list[tuple[RepositoryName, bytes]] = field(default_factory=list)
    full: bool = False


class Pusher:
    """Pushes, moves and deletes at random in a repository of its own, one step at a time."""

    def __init__(self, name: str, seed: str, crowd: Crowd) -> None:
        self.name = RepositoryName(name)
        self.ledger = Ledger()
        self.session: Session | None = None
        self._crowd = crowd
        self._registry = crowd.registry
        self._random = random.Random(seed)
        self._needed: set[str] = set()

    async def run(self) -> None:
        steps = (
            (self._push_whole, 5),
            (self._upload, 3),
            (self._mount, 3),
            (self._push_manifest, 6),
            (self._move_tag, 3),
            (self._delete_tag, 2),
            (self._delete_manifest, 2),
            (self._delete_blob, 2),
        )
        while not self._crowd.full:
            (step,) = self._random.choices([step for step, _ in steps], [weight for _, weight in steps])
            await step()

    async def _change(self, kind: str, change: Mapping[str, Content], call: Awaitable[object]) -> None:
        self.ledger.in_flight = change
        if await call is False:
            raise AssertionError(f"{kind}: refused")
        self.ledger.acknowledge()
        self._crowd.acknowledged(kind)

    # --- blobs --------------------------------------------------------------------------------------------------

    def _content(self) -> bytes:
        choice = self._random.random()
        if choice < 0.1:
            return self._random.choice(SHARED_BLOBS)
        if choice < 0.13:
            return b""
        return self._random.randbytes(int(LARGEST_BLOB ** self._random.random()))

    def _pieces(self, content: bytes) -> list[bytes]:
        size = self._random.choice((1024, 16 * 1024, 100_000)) if len(content) > 1024 else len(content) or 1
        return [content[start : start + size] for start in range(0, len(content), size)]

    async def _push_whole(self) -> None:
        content = self._content()
        push = self._registry.uploads.push(self.name, CALLER, Digest.of(content), body(*self._pieces(content)))
        await self._change("monolithic", {blob_path(content): content}, push)
        self._crowd.mountable.append((self.name, content))

    async def _mount(self) -> None:
        others = [(name, content) for name, content in self._crowd.mountable if name != self.name]
        if others:
            source, content = self._random.choice(others)
            mount = self._registry.uploads.mount(self.name, Digest.of(content), source, lambda _: True)
            await self._change("mount", {blob_path(content): content}, mount)

    async def _delete_blob(self) -> None:
        """Nobody else may need it: neither a manifest nor a mount."""
        lent = {blob_path(content) for name, content in self._crowd.mountable if name == self.name}
        free = [path for path in self.ledger.paths("blobs") if path not in self._needed | lent]
        if free:
            path = self._random.choice(free)
            delete = self._registry.blobs.delete(self.name, Digest(path.removeprefix("blobs/")), CALLER)
            await self._change("delete blob", {path: None}, delete)

    # --- uploads ------------------------------------------------------------------------------------------------

    async def _upload(self) -> None:
        content = self._content()
        state = await self._registry.uploads.start(self.name, CALLER, "sha256")
        self.session = session = Session(UploadKey(state.id, self.name, ANYBODY.name), content)
        self._crowd.acknowledged("POST")
        patched = self._random.choice((len(content), len(content) * 3 // 4))
        while session.acknowledged < patched:
            end = self._random.randint(session.acknowledged + 1, patched)
            (step,) = self._random.choices((self._append, self._overrun_lease), (3, 1))
            await step(session, end)
            if self._random.random() < 0.2:
                await self._fall_short(session)
        await self._finish(session)

    async def _append(self, session: Session, end: int) -> None:
        start = session.acknowledged
        session.sent = max(session.sent, end)
        await self._registry.uploads.append(session.key, body(*self._pieces(session.content[start:end]), start=start))
        session.acknowledged = end
        self._crowd.acknowledged("PATCH")

    async def _fall_short(self, session: Session) -> None:
        """A body ends before its declared length: the upload is set back, and its file has bytes too many."""
        junk = self._random.randbytes(self._random.choice((100, 200_000)))
        session.spoiling = True
        with suppress(SizeInvalid):
            await self._registry.uploads.append(session.key, body(junk[:-50], junk[-50:], length=len(junk) + 1))
            raise AssertionError("a body that is too short was taken")
        session.spoiling = False

    async def _overrun_lease(self, session: Session, end: int) -> None:
        """A writer stalls until its lease has run out, another goes on: the upload gets a segment more."""
        start = session.acknowledged
        writing, resume = asyncio.Event(), asyncio.Event()

        async def stalling() -> AsyncIterator[bytes]:
            yield session.content[start:]
            writing.set()
            await resume.wait()

        stalled = asyncio.create_task(self._registry.uploads.append(session.key, Body(stalling(), start)))
        await writing.wait()
        self._crowd.clock.advance(LEASE + 1)
        await self._append(session, end)
        resume.set()
        with suppress(BlobUploadUnknown):
            await stalled
            raise AssertionError("a writer without its lease got through")

    async def _finish(self, session: Session) -> None:
        rest = session.content[session.acknowledged :]
        session.sent, session.finishing = len(session.content), True
        put = self._registry.uploads.finish(session.key, Digest.of(session.content), body(*self._pieces(rest)))
        self.ledger.in_flight = {session.path: session.content}
        await put
        self.ledger.acknowledge()
        self.session = None
        self._crowd.acknowledged("PUT")

    # --- manifests ----------------------------------------------------------------------------------------------

    async def _push_manifest(self) -> None:
        config = image_config([Digest.of(self._random.randbytes(32))])
        push = self._registry.uploads.push(self.name, CALLER, Digest.of(config), body(config))
        await self._change("monolithic", {blob_path(config): config}, push)
        known = self.ledger.paths("blobs")
        layers = [self.ledger.held[path] for path in self._random.sample(known, min(3, len(known)))]
        self._needed |= {blob_path(part) for part in (config, *layers)}
        await self._put("manifest", image_manifest(config, layers), self._random.choice((*TAGS, None)))

    async def _move_tag(self) -> None:
        if known := self.ledger.paths("manifests"):
            payload = self.ledger.held[self._random.choice(known)]
            await self._put("tag", payload, self._random.choice(TAGS))

    async def _put(self, kind: str, payload: bytes, tag: str | None) -> None:
        reference = Tag(tag) if tag else Digest.of(payload)
        push = Push(self.name, reference, payload, OCI.manifest, [Tag(tag)] if tag else [], Conditions())
        change = {manifest_path(payload): payload} | ({f"manifests/{tag}": payload} if tag else {})
        await self._change(kind, change, self._registry.manifests.put(push, CALLER))

    async def _delete_tag(self) -> None:
        if known := self.ledger.paths("tags"):
            path = self._random.choice(known)
            await self._delete("delete tag", Tag(path.removeprefix("manifests/")), {path: None})

    async def _delete_manifest(self) -> None:
        if known := self.ledger.paths("manifests"):
            path = self._random.choice(known)
            payload = self.ledger.held[path]
            tagged = {tag: None for tag in self.ledger.paths("tags") if self.ledger.held[tag] == payload}
            await self._delete("delete manifest", Digest.of(payload), {path: None, **tagged})

    async def _delete(self, kind: str, reference: Tag | Digest, change: Mapping[str, Content]) -> None:
        await self._change(kind, change, self._registry.manifests.delete(self.name, reference, Conditions(), CALLER))
