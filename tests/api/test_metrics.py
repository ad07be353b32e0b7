"""/metrics: what a scrape says after known requests, over all workers, and after some of them died."""

import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pytest_aiohttp import AiohttpClient

from registry.app import make_app
from registry.assembly import Registry
from registry.content.uploads import EXPIRY_BATCH
from registry.domain.errors import DigestInvalid
from registry.domain.names import Digest
from tests.support.images import image
from tests.support.registry import CALLER, DAY, NAME, Clock, body, execute, keep, opened, pull, push, start
from tests.support.rot import flip, stored_file
from tests.support.server import LiveServer
from tests.support.wire import (
    Answer,
    Wire,
    eventually,
    get_manifest,
    head,
    put_manifest,
    raw,
    request,
    start_upload,
)

IMAGE = image("metrics")
Samples = Mapping[str, float]


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveServer]:
    """With as many workers as the test says; 2 if it does not."""
    workers = getattr(request, "param", 2)
    server = LiveServer(tmp_path, {"REGISTRY_HTTP_WORKERS": str(workers), "RUNTIME_DIRECTORY": str(tmp_path)})
    server.start()
    yield server
    if server.running:
        assert server.stop() == 0


def samples(text: str) -> Samples:
    """Each sample under its name and labels, as in the text."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("digestry_")
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(sample.labels[name] for name in sorted(sample.labels))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def scrape(server: LiveServer) -> Samples:
    answer = request(server, "GET", "/metrics")
    assert answer.status == 200, answer.story
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return samples(answer.body.decode())


def requests(found: Samples) -> dict[str, float]:
    """How many by method, route and status."""
    prefix = "digestry_http_requests_total"
    return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}


def has_started(server: LiveServer, count: int) -> bool:
    """Whether so many processes were started; a dying one may take the question along."""
    with suppress(ConnectionError):
        return scrape(server)["digestry_worker_starts_total"] == count
    return False


def push_all(server: LiveServer) -> Iterator[Answer]:
    """An image in every way that counts differently, and what goes wrong on the way."""
    first, *others = IMAGE.blobs
    location = start_upload(server, "team/app")
    appended = request(server, "PATCH", location, first.data)
    yield appended
    yield request(server, "PUT", f"{appended.location}&digest={first.digest}")
    for part in others:
        yield request(server, "POST", f"/v2/team/app/blobs/uploads/?digest={part.digest}", part.data)
    yield request(server, "POST", f"/v2/other/app/blobs/uploads/?digest={first.digest}", first.data)
    yield request(server, "POST", f"/v2/team/app/blobs/uploads/?digest={first.digest}", b"something else")
    yield request(server, "DELETE", start_upload(server, "team/app").partition("?")[0])
    yield put_manifest(server, "team/app", "v1", IMAGE.manifest, IMAGE.media_type)
    yield put_manifest(server, "team/app", "v2", b"{}", IMAGE.media_type)


def pull_all(server: LiveServer) -> Iterator[Answer]:
    for _ in range(5):
        yield get_manifest(server, "team/app", "v1")
    for part in IMAGE.blobs:
        yield request(server, "GET", f"/v2/team/app/blobs/{part.digest}")
    yield request(server, "HEAD", "/v2/team/app/manifests/none")
    yield request(server, "GET", "/v2/")
    yield request(server, "GET", "/v2/_catalog")
    yield request(server, "GET", "/nothing")
    yield request(server, "GET", "/v2/nothing")
    yield request(server, "PROPFIND", "/v2/")
    yield raw(server, b"GET /v2/ HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n")


def exercise(server: LiveServer) -> list[Answer]:
    for path in ("/livez", "/readyz"):
        request(server, "GET", path)
    return [*push_all(server), *pull_all(server)]


BLOBS = len(IMAGE.blobs)
EXPECTED = {
    "{DELETE,upload,204}": 1,
    "{GET,blob,200}": BLOBS,
    "{GET,catalog,200}": 1,
    "{GET,manifest,200}": 5,
    "{GET,other,404}": 2,
    "{GET,ping,200}": 1,
    "{HEAD,manifest,404}": 1,
    "{PATCH,upload,202}": 1,
    "{POST,uploads,201}": BLOBS,
    "{POST,uploads,202}": 2,
    "{POST,uploads,400}": 1,
    "{PUT,manifest,201}": 1,
    "{PUT,manifest,400}": 1,
    "{PUT,upload,201}": 1,
    "{other,other,400}": 1,
    "{other,ping,405}": 1,
}


@pytest.mark.parametrize("server", [1, 2], indirect=True)
def test_known_requests_are_counted_exactly(server: LiveServer) -> None:
    answers = exercise(server)
    eventually(lambda: sum(requests(scrape(server)).values()) >= sum(EXPECTED.values()))
    found = scrape(server)
    assert requests(found) == EXPECTED
    assert found["digestry_http_request_duration_seconds_count{GET,manifest}"] == 5
    assert found["digestry_http_request_duration_seconds_bucket{+Inf,GET,manifest}"] == 5
    assert found["digestry_http_sent_bytes_total"] == sum(len(answer.body) for answer in answers)
    received = sum(len(part.data) for part in IMAGE.blobs) + len(IMAGE.blobs[0].data) + len(IMAGE.manifest)
    assert found["digestry_http_received_bytes_total"] == received + len(b"something else" + b"{}")
    assert found["digestry_http_requests_in_flight"] == 0
    assert {event: found[f"digestry_uploads_total{{{event}}}"] for event in ("started", "finished", "expired")} == {
        "started": BLOBS + 3,
        "finished": BLOBS + 1,
        "expired": 0,
    }
    assert found["digestry_uploads_total{cancelled}"] == found["digestry_uploads_total{failed}"] == 1
    assert found["digestry_blobs_stored_total"] == BLOBS
    assert found["digestry_manifests_pushed_total"] == 1
    assert found["digestry_database_writes_total"] >= found["digestry_database_commit_duration_seconds_count"] > 0
    assert found["digestry_worker_starts_total"] == len(server.workers) + 1  # the keeper
    assert found["digestry_worker_deaths_total"] == 0
    assert "/nothing" in server.log.read_text()
    assert "/metrics" not in server.log.read_text()


def test_what_dead_workers_counted_stays(server: LiveServer) -> None:
    exercise(server)
    eventually(lambda: requests(scrape(server)) == EXPECTED)
    for deaths, worker in enumerate(server.workers, start=1):
        os.kill(worker, signal.SIGKILL)
        eventually(partial(has_started, server, 3 + deaths))
        found = scrape(server)
        assert requests(found) == EXPECTED
        assert found["digestry_worker_deaths_total"] == deaths
    exercise(server)
    eventually(lambda: sum(requests(scrape(server)).values()) >= 2 * sum(EXPECTED.values()))
    assert sum(requests(scrape(server)).values()) == 2 * sum(EXPECTED.values())


def test_a_request_of_a_dead_worker_is_not_in_flight(server: LiveServer) -> None:
    location = start_upload(server, "team/app")
    with Wire(server) as wire:
        wire.send(head("PATCH", location, {"Content-Length": "10"}) + b"half")
        eventually(lambda: scrape(server)["digestry_http_requests_in_flight"] == 1)
        for worker in server.workers:
            os.kill(worker, signal.SIGKILL)
        eventually(partial(has_started, server, 5))
        eventually(lambda: scrape(server)["digestry_http_requests_in_flight"] == 0)


def test_files_of_the_server_come_and_go(server: LiveServer, tmp_path: Path) -> None:
    server.kill()
    (left,) = tmp_path.glob("digestry-runtime-*")
    assert list(left.iterdir())
    server.start()
    (folder,) = tmp_path.glob("digestry-runtime-*")
    assert folder != left
    assert server.stop() == 0
    assert list(tmp_path.glob("digestry-runtime-*")) == []


def test_workers_that_come_and_go_leave_no_files(server: LiveServer, tmp_path: Path) -> None:
    (folder,) = tmp_path.glob("digestry-runtime-*")
    before = {path.name for path in folder.iterdir()}
    for generation in range(2, 5):
        os.kill(server.pid, signal.SIGHUP)
        eventually(partial(has_started, server, 3 * generation))
        eventually(lambda: (len(server.workers), len(server.keepers)) == (2, 1))
    assert len({path.name for path in folder.iterdir()} - before) <= 3 * 4  # three more worked while these drained


# --- in one process: without a shared folder ---------------------------------------------------------------------

Client = TestClient[web.Request, Any]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def registry(tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    async with opened(tmp_path, clock) as registry:
        yield registry


@pytest.fixture
async def client(registry: Registry, aiohttp_client: AiohttpClient) -> Client:
    return await aiohttp_client(make_app(registry))


async def ask(client: Client) -> Samples:
    async with client.get("/metrics") as answer:
        assert answer.status == 200
        return samples(await answer.text())


async def test_only_unfinished_uploads_expire(registry: Registry, client: Client, clock: Clock) -> None:
    before = await ask(client)
    await push(registry, b"finished")
    for _ in range(EXPIRY_BATCH + 1):
        await start(registry)
    clock.advance(DAY + 1)
    await keep(registry)
    after = await ask(client)
    assert after["digestry_uploads_total{expired}"] - before["digestry_uploads_total{expired}"] == EXPIRY_BATCH + 1
    for task in ("expiry", "snapshot"):
        assert after[f"digestry_background_success_timestamp_seconds{{{task}}}"] > 0


async def test_an_upload_fails_once(registry: Registry, client: Client) -> None:
    before = await ask(client)
    with pytest.raises(DigestInvalid):
        await registry.uploads.push(NAME, CALLER, Digest.of(b"one", "sha256"), body(b"another"))
    after = await ask(client)
    assert after["digestry_uploads_total{failed}"] - before["digestry_uploads_total{failed}"] == 1


async def test_what_is_found_wrong_is_counted_and_what_is_hidden_now_is_looked_up(
    registry: Registry, client: Client, clock: Clock
) -> None:
    before = await ask(client)
    assert before["digestry_blobs_quarantined"] == 0
    lost, flipped, sound = [await push(registry, b"%d" % number) for number in range(3)]
    (await stored_file(registry, lost)).unlink()
    flip(await stored_file(registry, flipped), 0)
    clock.advance(31 * DAY)
    while await registry.scrub.some(60):
        pass
    after = await ask(client)
    counted = {
        "digestry_blobs_verified_total": 3,
        "digestry_blobs_verified_bytes_total": 3,
        "digestry_blobs_found_wrong_total{missing}": 1,
        "digestry_blobs_found_wrong_total{corrupt}": 1,
        "digestry_blobs_found_wrong_total{unreadable}": 0,
    }
    assert {name: after[name] - before[name] for name in counted} == counted
    assert after["digestry_blobs_quarantined"] == 2
    await push(registry, b"0")
    assert (await ask(client))["digestry_blobs_quarantined"] == 1
    assert await pull(registry, sound) == b"2"


async def test_a_scrape_goes_on_when_the_database_fails(registry: Registry, client: Client) -> None:
    await execute(registry, "ALTER TABLE blob RENAME COLUMN state TO lost")
    found = await ask(client)
    assert "digestry_blobs_quarantined" not in found
    assert "digestry_store_failed" in found


async def test_the_state_is_looked_up_at_each_scrape(registry: Registry, client: Client) -> None:
    found = await ask(client)
    assert found[f"digestry_build_info{{{version('digestry')}}}"] == 1
    assert found["digestry_store_failed"] == 0
    assert found["digestry_free_bytes{blobs}"] > 0
    assert found["digestry_free_bytes{database}"] > 0
    registry.readiness._mark.set("the disk")
    assert (await ask(client))["digestry_store_failed"] == 1
