"""Log lines that strangers cause: a flood of them must not fill the disk."""

import logging
import time

LINES_A_SECOND = 10


class LimitedLog:
    """Passes on so many lines a second, and one that counts the rest."""

    def __init__(self, log: logging.Logger, limit: int = LINES_A_SECOND) -> None:
        self._log = log
        self._limit = limit
        self._since = time.monotonic()
        self._written = 0
        self._dropped = 0

    def info(self, message: str, fields: dict[str, object]) -> None:
        self.renew()
        if self._written < self._limit:
            self._written += 1
            self._log.info(message, extra=fields)
        else:
            self._dropped += 1

    def renew(self) -> None:
        """Tell what the last second left out; to be called now and then."""
        now = time.monotonic()
        if now - self._since < 1.0:
            return
        if self._dropped:
            self._log.info("%d more connections or requests were refused", self._dropped)
        self._since, self._written, self._dropped = now, 0, 0
