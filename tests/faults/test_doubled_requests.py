"""A network that delivers requests twice changes nothing."""

from collections.abc import Iterator

import pytest

from tests.faults.doubled_requests import double, running
from tests.support.server import LiveServer

Pair = tuple[LiveServer, LiveServer]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("doubled")
    with running(folder / "plain", 1) as plain, running(folder / "doubled", 2) as doubled:
        yield plain, doubled


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the next request"])
def test_every_request_sent_twice_has_one_effect(pair: Pair, late: bool) -> None:
    doubled, problems = double(*pair, rounds=1, late=late)
    assert problems == []
    seen = {(one.request.method, one.second) for one in doubled}
    assert seen >= {("PATCH", 416), ("PUT", 201), ("PUT", 412), ("POST", 201), ("POST", 202), ("DELETE", 404)}
