"""A server per module that can show a normal pull, and that `fsck` finds sound when the module is through."""

from collections.abc import Iterator

import pytest

from tests.support.server import LiveServer
from tests.support.wire import assert_sound, prepare


@pytest.fixture(scope="module")
def server(live_server: LiveServer) -> Iterator[LiveServer]:
    prepare(live_server)
    yield live_server
    assert_sound(live_server)


@pytest.fixture(scope="module")
def immutable_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One whose tags `v*` never move."""
    server = LiveServer(tmp_path_factory.mktemp("immutable"), {"REGISTRY_TAGS_IMMUTABLE": '["v*"]'}).start()
    try:
        prepare(server)
        yield server
        assert_sound(server)
    finally:
        server.stop()
