"""Fixtures that every kind of test uses."""

from collections.abc import Iterator

import pytest

from tests.support.server import LiveServer


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A registry in a process of its own, fresh for each module."""
    server = LiveServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    if server.running:
        assert server.stop() == 0
