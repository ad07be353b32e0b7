"""What a blob store raises.

StorageError
├── BlobMissing          no bytes at this key
├── StagedBytesMissing   staged bytes that a row counts on are gone or too short
├── StorageFull          no space, no inodes or no quota left; what was written before is whole
└── StorageFailed        the store can no longer be trusted with this piece of work (I/O error)
    ├── BlobDamaged      the disk can't give just these bytes back
    └── SyncFailed       an fsync failed: the whole store can no longer be trusted with writes
"""


class StorageError(Exception):
    """Root of the family."""


class BlobMissing(StorageError):
    """No bytes at this key."""


class StagedBytesMissing(StorageError):
    """Staged bytes that were reported durable are gone or too short."""


class StorageFull(StorageError):
    """No space left. Retry later; nothing that was reported durable is lost."""


class StorageFailed(StorageError):
    """The operation failed in a way that must never be retried into success (PostgreSQL's fsync rule)."""


class BlobDamaged(StorageFailed):
    """The disk can't give just these bytes back."""


class SyncFailed(StorageFailed):
    """An fsync failed. The kernel may have dropped any dirty page, and a second try would hide it."""
