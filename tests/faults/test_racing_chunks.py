"""Two writers of one upload, in two workers."""

from collections.abc import Iterator

import pytest

from tests.faults.racing_chunks import FORMS, WORKERS, race
from tests.support.server import LiveServer
from tests.support.wire import assert_sound


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("races"), WORKERS).start()
    try:
        yield server
        assert_sound(server)
    finally:
        server.stop()


async def test_u03_two_hundred_races(server: LiveServer) -> None:
    winners = await race(server, 200)
    assert winners.total() == 200
    assert {form.partition(":")[0] for form in winners} == set(FORMS)
