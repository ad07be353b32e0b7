"""Does the registry hold what it promised? The invariants D1 to D4 of docs/architecture.md, checked one by one.

It only reports. It may run beside a serving registry: whatever looks wrong is looked at again before it counts.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from registry.content.hashing import hash_piece
from registry.domain.errors import RegistryError
from registry.domain.manifest import parse_manifest
from registry.domain.names import Digest, Hasher
from registry.metadata import blobs, integrity
from registry.metadata.database import Database
from registry.metadata.integrity import BlobRow, ManifestRow
from storage.backend import BlobStore, Staged
from storage.errors import BlobMissing, StagedBytesMissing, StorageError


@dataclass(slots=True)
class Report:
    """`problems` break a promise; `notes` are leftovers that a sweep takes away."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Fsck:
    """The service behind `digestry fsck`."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    async def run(self, *, deep: bool, progress: Callable[[str, int], None]) -> Report:
        """Check everything; `deep` hashes every blob. `progress` gets a phase and how many were done."""
        report = Report(counts=await self._database.read(integrity.counts))
        report.problems += await self._database.read(integrity.structure)
        report.problems += [
            f"blob {digest}: its bytes are doomed" for digest in await self._database.read(integrity.doomed_blobs)
        ]
        phases = (
            ("blobs", self._blobs(deep)),
            ("manifests", self._manifests()),
            ("uploads", self._uploads()),
        )
        for name, findings in phases:
            done = 0
            async for problem in findings:
                done += 1
                progress(name, done)
                if problem is not None:
                    report.problems.append(problem)
        await self._leftovers(report)
        return report

    async def _blobs(self, deep: bool) -> AsyncIterator[str | None]:
        """D1: the bytes of each blob are there, of its size, and hash to its digest."""
        last = ""
        while rows := await self._database.read(integrity.blobs_after, last):
            for row in rows:
                yield await self._blob(row, deep)
            last = rows[-1].digest

    async def _blob(self, row: BlobRow, deep: bool) -> str | None:
        if row.verified_at is None:
            return f"blob {row.digest} has no time at which it was verified, so the scrub passes it by"
        if row.state != "ok":
            return f"blob {row.digest} is quarantined; push it again to heal it"
        problem = await self._bytes_problem(row, deep)
        if problem is None:
            return None
        now = await self._database.read(blobs.find, Digest(row.digest))
        return f"blob {row.digest}: {problem}" if now and now.key == row.key else None

    async def _bytes_problem(self, row: BlobRow, deep: bool) -> str | None:
        try:
            size = await self._store.size(row.key)
            if size != row.size:
                return f"{row.key} has {size} bytes, not {row.size}"
            if deep and await self._hash(row) != row.digest:
                return f"{row.key} holds other bytes"
        except BlobMissing:
            return f"{row.key} is missing"
        except StorageError as error:
            return f"{row.key}: {error}"
        return None

    async def _hash(self, row: BlobRow) -> Digest:
        hasher, offset = Hasher(Digest(row.digest).algorithm), 0
        reader = await self._store.open(row.key, uncached=True)
        try:
            while offset < row.size:
                offset += await hash_piece(reader, offset, hasher)
        finally:
            await reader.close()
        return hasher.digest()

    async def _manifests(self) -> AsyncIterator[str | None]:
        """D3 beyond the foreign keys: payloads are what was pushed, and refs say what they name."""
        repository_id, last = 0, ""
        while rows := await self._database.read(integrity.manifests_after, repository_id, last):
            for row in rows:
                yield await self._manifest(row)
            repository_id, last = rows[-1].repository_id, rows[-1].digest

    async def _manifest(self, row: ManifestRow) -> str | None:
        digest = Digest(row.digest)
        if not isinstance(row.payload, bytes) or Digest.of(row.payload, digest.algorithm) != digest:
            return f"manifest {digest} holds other bytes"
        try:
            manifest = parse_manifest(row.payload, row.media_type, digest)
        except RegistryError as error:
            return f"manifest {digest}: {error.message}"
        named = [(descriptor.digest, descriptor.size) for descriptor in manifest.references]
        if named != await self._database.read(integrity.refs_of, row.repository_id, row.digest):
            return f"manifest {digest}: its refs differ from what it names"
        return None

    async def _uploads(self) -> AsyncIterator[str | None]:
        """The offset that a client may continue at is backed by bytes."""
        last = ""
        while rows := await self._database.read(integrity.uploads_after, last):
            for staged in rows:
                yield await self._upload(staged)
            last = rows[-1].upload_id

    async def _upload(self, staged: Staged) -> str | None:
        try:
            async for _ in self._store.read_staged(staged):
                pass
        except StagedBytesMissing as error:
            if await self._database.read(integrity.upload_exists, staged.upload_id):
                return f"upload {staged.upload_id}: {error}"
        return None

    async def _leftovers(self, report: Report) -> None:
        """Bytes that no row knows: harmless, but they cost space."""
        async for keys in self._store.keys():
            strange = await self._database.read(integrity.unknown_keys, keys)
            report.notes += [f"{key} belongs to no blob" for key in strange]
        async for found in self._store.uploads():
            for staged in found:
                if not await self._database.read(integrity.upload_exists, staged.upload_id):
                    report.notes.append(f"staged bytes of {staged.upload_id} belong to no upload")
