"""A client that pushes a small image every 50 ms, whatever the server does meanwhile."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from bench.pushes import Client
from tests.support.images import OCI, image_config, image_manifest

EVERY_SECONDS = 0.05
# More than are ever busy: who is late must not make the next one late
CONNECTIONS = 16
LAYER_BYTES = 1000


class SteadyPushes:
    """Each push is a layer of its own and a manifest that takes over the tag `latest`."""

    def __init__(self, host: str) -> None:
        self._clients: SimpleQueue[Client] = SimpleQueue()
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._config = image_config([])
        for _ in range(CONNECTIONS):
            client = Client(host)
            client.push_small(self._config)
            self._clients.put(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        while not self._clients.empty():
            self._clients.get().close()

    def during(self, still: Callable[[], bool]) -> list[float]:
        """Push as long as `still` says so; the seconds from when each push was due until it was answered."""
        due, pushes = time.perf_counter(), []
        while still():
            pushes.append(self._pool.submit(self._push, due))
            due += EVERY_SECONDS
            with suppress(ValueError):  # it is late already
                time.sleep(due - time.perf_counter())
        return [push.result() for push in pushes]

    def _push(self, due: float) -> float:
        client, layer = self._clients.get(), os.urandom(LAYER_BYTES)
        try:
            client.push_small(layer)
            client.push_manifest("latest", OCI.manifest, image_manifest(self._config, [layer]))
        finally:
            self._clients.put(client)
        return time.perf_counter() - due
