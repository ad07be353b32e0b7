"""Every kind of request of a push, cut at every kind of byte, with FIN and with RST."""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.clients import CHUNK, Client, Push, Resuming, containerd, docker, oras
from tests.faults.cut_connections import Cut, CuttingProxy, Place, Trial, places_in
from tests.faults.proxy import Request
from tests.support.images import OCI, blob, image_config, image_manifest
from tests.support.server import LiveServer
from tests.support.wire import assert_sound

ROUNDS = 30
SEED = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("cuts"), {"REGISTRY_HTTP_WORKERS": "2"}).start()
    try:
        yield server
        assert_sound(server)
    finally:
        server.stop()


class Once:
    """Cuts the first request of a method that has the place."""

    def __init__(self, method: str, cut: Cut) -> None:
        self._method, self._cut = method, cut
        self.done = False

    def __call__(self, request: Request) -> Cut | None:
        if self.done or request.method != self._method or self._cut.place not in places_in(request):
            return None
        self.done = True
        return self._cut


BODILESS = {Place.REQUEST_LINE, Place.HEADER, Place.SENT, Place.ANSWER, Place.BETWEEN}
SIZED = BODILESS | {Place.BEFORE_BODY, Place.FIRST_BYTE, Place.MIDDLE, Place.LAST_BYTE}
REQUESTS = [
    ("docker", "HEAD", BODILESS),
    ("docker", "POST", BODILESS),
    ("docker", "PATCH", set(Place)),
    ("docker", "PUT", BODILESS),
    ("containerd", "PUT", SIZED),
    ("oras", "POST", SIZED),
    ("regclient", "PATCH", SIZED),
    ("regclient", "PUT", BODILESS),
]


def _pushes(proxy: CuttingProxy) -> dict[str, Push]:
    regclient = Resuming(lambda: proxy.forwarded)
    return {"docker": docker, "containerd": containerd, "oras": oras, "regclient": regclient}


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize(("style", "method", "places"), REQUESTS, ids=[f"{one[0]}-{one[1]}" for one in REQUESTS])
def test_a_cut_blob_push_gets_through(
    server: LiveServer, style: str, method: str, places: set[Place], reset: bool
) -> None:
    for place in sorted(places):
        data = blob(f"{style} {method} {place} {reset}".encode() * 40_000)
        assert len(data.data) > CHUNK
        plan = Once(method, Cut(place, reset))
        with CuttingProxy(server.host, plan, random.Random(SEED)) as proxy, closing(Client(proxy.host)) as client:
            _pushes(proxy)[style](client, "cut/blob", data)
            assert plan.done, place
            assert proxy.cuts == {place: 1}
        with closing(Client(server.host)) as straight:
            assert straight.ask("GET", f"/v2/cut/blob/blobs/{data.digest}", (200,)).body == data.data


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_a_cut_manifest_push_gets_through(server: LiveServer, reset: bool) -> None:
    for place in sorted(SIZED):
        config = image_config([f"{place} {reset}"])
        payload = image_manifest(config, [])
        plan = Once("PUT", Cut(place, reset))
        with CuttingProxy(server.host, plan, random.Random(SEED)) as proxy, closing(Client(proxy.host)) as client:
            oras(client, "cut/manifest", blob(config))
            client.put_manifest("cut/manifest", "latest", payload, OCI.manifest)
            assert plan.done, place
        with closing(Client(server.host)) as straight:
            assert straight.ask("GET", "/v2/cut/manifest/manifests/latest", (200,)).body == payload


def test_images_pushed_through_random_cuts(tmp_path: Path) -> None:
    server = LiveServer(tmp_path, {"REGISTRY_HTTP_WORKERS": "2"}).start()
    try:
        trial = Trial(server, SEED)
        cuts = trial.run(ROUNDS)
        assert (trial.problems, server.tracebacks()) == ([], [])
        assert cuts.keys() == set(Place)
        assert trial.resumed > 0
    finally:
        server.stop()
