"""The mark of a registry whose disk broke a promise: nobody can tell what is lost, so nothing more is written (P11)."""

import mmap

_SIZE = 512


class FailureMark:
    """Set by whoever sees the failure, seen at once by every process forked since it was made.

    It lives in shared memory: a disk that failed an fsync is no place to write it down.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)

    def set(self, reason: str) -> None:
        """Mark for good; the first reason stays."""
        if not self.reason:
            text = reason.encode()[: _SIZE - 1]
            self._memory[: len(text)] = text

    @property
    def reason(self) -> str:
        """What failed; empty while nothing did."""
        return self._memory[: self._memory.find(b"\0")].decode(errors="ignore")
