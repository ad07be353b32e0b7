"""The contract of a blob store. `tests/storage/test_contract.py` is its executable form.

Bytes arrive in *staging* under an upload's id, in segments; `publish` gives them a key that was never used
before and never will be again; readers know keys only from the database. What a method reports as done
survives a power cut, but for `write`, whose bytes become durable with the next `sync`.

Every method may raise StorageFull (try again later) or StorageFailed (throw this piece of work away).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from storage.digest import Digest


@dataclass(frozen=True, slots=True)
class Segment:
    """Staged bytes that one lease of an upload wrote: the lease's version, and how many bytes count."""

    version: int
    size: int


@dataclass(frozen=True, slots=True)
class Staged:
    """The bytes of an unfinished upload, in order. Whoever holds the upload's lease extends it."""

    upload_id: str
    segments: tuple[Segment, ...] = ()

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)


class StagedWriter(Protocol):
    """Appends to the last segment."""

    async def write(self, piece: bytes | bytearray) -> None:
        """Append; the bytes count only after `sync`."""
        ...

    async def sync(self) -> Staged:
        """Make all that was written durable; return the staged bytes with it."""
        ...

    async def close(self) -> None: ...


class BlobReader(Protocol):
    """An open blob. It stays readable when its key is deleted meanwhile."""

    @property
    def size(self) -> int: ...

    @property
    def content(self) -> bytes | None:
        """All bytes, when the blob is so small that opening it read them."""
        ...

    @property
    def file(self) -> BinaryIO | None:
        """The file behind it for sendfile, where there is one."""
        ...

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; raises BlobDamaged when the blob ends before, or can't be read there."""
        ...

    async def close(self) -> None: ...


class BlobStore(Protocol):
    """Bytes at keys. Keys are made by `publish`, opaque to callers, and never used twice."""

    async def stage(self, staged: Staged, length: int = 0) -> StagedWriter:
        """Open the last segment of `staged` for appending, creating it when it is new.

        Bytes beyond the segment's size are cut off. Raises StagedBytesMissing when there are fewer, StorageFull
        when there is no space for `length` bytes more.
        """
        ...

    def read_staged(self, staged: Staged) -> AsyncGenerator[bytes]:
        """The staged bytes from the start, in pieces; raises StagedBytesMissing."""
        ...

    async def publish(self, staged: Staged, digest: Digest) -> str:
        """Put the staged bytes at the key of this upload and digest, durably; return the key.

        Doing it again gives the same key. Raises StagedBytesMissing.
        """
        ...

    async def discard(self, staged: Staged) -> None:
        """Remove staged bytes; what was published stays. Gone already is fine."""
        ...

    async def open(self, key: str, *, uncached: bool = False) -> BlobReader:
        """Open for reading; raises BlobMissing, BlobDamaged.

        `uncached`: read what the disk has, not what a cache remembers of it, and leave nothing that was read there.
        """
        ...

    async def size(self, key: str) -> int:
        """The number of bytes at `key`; raises BlobMissing."""
        ...

    async def written_at(self, key: str) -> int:
        """When the bytes at `key` were written, in milliseconds since the epoch; raises BlobMissing."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the bytes at `key`. Gone already is fine."""
        ...

    def keys(self) -> AsyncIterator[Sequence[str]]:
        """All keys, in batches, in no order."""
        ...

    def uploads(self) -> AsyncIterator[Sequence[Staged]]:
        """All that is staged, in batches; the sizes are those found, not those that count."""
        ...

    async def check(self, *, write: bool) -> None:
        """Whether blobs can be read now, and with `write` also stored; raises what an upload would meet."""
        ...

    async def close(self) -> None: ...
