"""Hashes that go on living between the requests of an upload.

A hash is good for exactly one state of the row: its upload, the version of the lease under which the bytes were
written, and the offset (design P1). Anything else, and the bytes are read again at the end.
"""

from storage.digest import Hasher

KEPT_LIMIT = 4096


class LiveHashes:
    """At most KEPT_LIMIT hashes; the oldest make way."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, int, Hasher]] = {}

    def keep(self, upload_id: str, version: int, offset: int, hasher: Hasher) -> None:
        self._kept.pop(upload_id, None)
        self._kept[upload_id] = (version, offset, hasher)
        if len(self._kept) > KEPT_LIMIT:
            del self._kept[next(iter(self._kept))]

    def take(self, upload_id: str, version: int, offset: int) -> Hasher | None:
        """The hash of this state, which the caller owns from now on."""
        kept = self._kept.pop(upload_id, None)
        if kept is None or kept[:2] != (version, offset):
            return None
        return kept[2]

    def forget(self, upload_id: str) -> None:
        self._kept.pop(upload_id, None)
