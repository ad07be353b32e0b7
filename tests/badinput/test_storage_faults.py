"""Rows S-01, S-02, S-03, S-05 and S-18, and rule P10: what disks do to a registry, and what its clients are told."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from storage.backend import BlobReader
from tests.support import loop_images, tools
from tests.support.images import OCI, digest_of, image
from tests.support.loop_images import MIB
from tests.support.registry import execute, opened, pull
from tests.support.registry import push as registry_push
from tests.support.server import LiveServer
from tests.support.wire import (
    Answer,
    Wire,
    assert_serving,
    chunk,
    head,
    prepare,
    push_blob,
    push_image,
    put_manifest,
    query,
    request,
    start_upload,
)

WORKERS = {"REGISTRY_HTTP_WORKERS": "2"}
DISKS = {"ext4": 160 * MIB, "xfs": 320 * MIB}
NAME = "faults/app"
IMAGE = image("fault")
PARTIAL = os.urandom(MIB)


# --- S-01: the disk is full --------------------------------------------------------------------------------------


@pytest.fixture(params=["ext4", "xfs"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveServer]:
    """A server whose blobs and database share a small disk."""
    filesystem: str = request.param
    loop_images.require(filesystem)
    options = ("-m", "0", "-N", "2048") if filesystem == "ext4" else ()
    disk = loop_images.make_image(tmp_path / "disk", filesystem, DISKS[filesystem], *options)
    with loop_images.mounted(disk, tmp_path / "server" / "data", filesystem):
        server = LiveServer(tmp_path / "server", WORKERS).start()
        try:
            prepare(server)
            yield server
            assert_whole(server)
        finally:
            server.stop()


def fill(folder: Path) -> Path:
    """Take all the space that is left, as another program would."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
        os.fsync(file.fileno())
    return ballast


def assert_whole(server: LiveServer) -> None:
    checked = server.digestry("fsck", "--deep", "--json")
    assert checked.returncode == 0, checked.stdout
    assert_serving(server)


def assert_full(answer: Answer) -> None:
    """The client may come back."""
    assert (answer.status, answer.code) == (503, "UNKNOWN"), answer.story
    assert answer.headers["Retry-After"] == "60", answer.story
    assert "no space left" in answer.errors[0]["message"], answer.story


def push(server: LiveServer, data: bytes) -> Answer:
    return request(server, "POST", f"/v2/{NAME}/blobs/uploads/?digest={digest_of(data)}", data)


def readiness(server: LiveServer) -> tuple[int, int]:
    """Of reads, and of writes."""
    return request(server, "GET", "/readyz").status, request(server, "GET", "/readyz?write=1").status


def test_s01_on_a_full_disk_pulls_and_deletes_go_on(small_disk: LiveServer) -> None:
    server = small_disk
    for number in range(30):
        push_image(server, NAME, IMAGE, f"v{number}")
    spare = push_blob(server, NAME, b"spare")
    going = request(server, "PATCH", start_upload(server, NAME), PARTIAL)
    given_up = request(server, "PATCH", start_upload(server, NAME), PARTIAL)
    ballast = fill(server.data)

    refused = [
        push(server, os.urandom(MIB)),
        push(server, b"tiny"),
        request(server, "POST", f"/v2/{NAME}/blobs/uploads/"),
        request(server, "PATCH", going.location, b"more"),
        request(server, "POST", f"/v2/{NAME}/other/blobs/uploads/?mount={spare}&from={NAME}"),
        put_manifest(server, NAME, "moved", IMAGE.manifest, OCI.manifest),
    ]
    for answer in refused:
        assert_full(answer)
    assert_serving(server)
    assert readiness(server) == (200, 503)

    deletes = [*(f"manifests/v{number}" for number in range(10)), f"blobs/{spare}"]
    for path in deletes:
        assert request(server, "DELETE", f"/v2/{NAME}/{path}").status == 202, path
        assert request(server, "HEAD", f"/v2/{NAME}/{path}").status == 404, path
    assert request(server, "DELETE", given_up.location.partition("?")[0]).status == 204
    # What was set aside for deletes is not for pushes
    assert_full(request(server, "POST", f"/v2/{NAME}/blobs/uploads/"))

    assert server.stop() == 0
    server.start()
    assert_serving(server)
    assert request(server, "DELETE", f"/v2/{NAME}/manifests/v10").status == 202
    for answer in (push(server, os.urandom(MIB)), push(server, b"tiny")):
        assert_full(answer)

    ballast.unlink()
    assert readiness(server) == (200, 200)
    data = PARTIAL + b"more"
    assert request(server, "PUT", f"{going.location}&digest={digest_of(data)}", b"more").status == 201
    assert request(server, "GET", f"/v2/{NAME}/blobs/{digest_of(data)}").body == data
    push_image(server, NAME, image("after"), "after")


@pytest.mark.parametrize("small_disk", ["ext4"], indirect=True)
def test_s01_without_inodes_pulls_and_deletes_go_on(small_disk: LiveServer) -> None:
    server = small_disk
    push_image(server, NAME, IMAGE, "v1")
    location = start_upload(server, NAME)
    crowd = server.data / "crowd"
    crowd.mkdir()
    with suppress(OSError):
        for number in range(10_000):
            (crowd / str(number)).touch()
    assert os.statvfs(server.data).f_favail == 0

    assert_full(push(server, b"tiny"))
    assert_full(request(server, "PATCH", location, PARTIAL))
    assert_serving(server)
    assert readiness(server) == (200, 503)
    assert request(server, "DELETE", f"/v2/{NAME}/manifests/v1").status == 202

    for path in crowd.iterdir():
        path.unlink()
    assert readiness(server) == (200, 200)
    assert request(server, "PUT", f"{location}&digest={digest_of(PARTIAL)}", PARTIAL).status == 201
    push_image(server, NAME, image("after"), "after")


@pytest.mark.parametrize("small_disk", ["ext4"], indirect=True)
def test_s01_what_cannot_fit_is_refused_before_it_is_sent(small_disk: LiveServer) -> None:
    server = small_disk
    targets = [
        ("POST", f"/v2/{NAME}/blobs/uploads/?digest={digest_of(b'large')}"),
        ("PATCH", start_upload(server, NAME)),
        ("PUT", f"{start_upload(server, NAME)}&digest={digest_of(b'large')}"),
    ]
    for method, target in targets:
        fields = {"Content-Length": str(DISKS["ext4"]), "Expect": "100-continue"}
        with Wire(server) as wire:
            wire.send(head(method, target, fields))
            # http.client would pass over a 100
            assert wire._socket.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL) == b"HTTP/1.1 503"
            assert_full(wire.answer())


@pytest.mark.parametrize("small_disk", ["ext4"], indirect=True)
def test_s01_an_endless_stream_leaves_space_for_deletes(small_disk: LiveServer) -> None:
    server = small_disk
    location = start_upload(server, NAME)
    piece = chunk(os.urandom(MIB))
    with Wire(server) as wire:
        wire.send(head("PATCH", location, {"Transfer-Encoding": "chunked"}))
        for _ in range(DISKS["ext4"] // MIB):
            wire.send(piece)
        assert_full(wire.answer())
    free = os.statvfs(server.data)
    assert free.f_bavail * free.f_frsize > 32 * MIB
    assert request(server, "DELETE", location.partition("?")[0]).status == 204
    assert push(server, b"tiny").status == 201


# --- S-02: a failed fsync ----------------------------------------------------------------------------------------


@contextmanager
def injected(server: LiveServer, *arguments: str) -> Iterator[None]:
    """While the block runs, system calls of the workers fail as these arguments of strace say."""
    strace = tools.require("strace")["strace"]
    pids = [part for pid in server.workers for part in ("-p", str(pid))]
    command = [strace, "-f", "-o", "/dev/null", *arguments, *pids]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracing:
        assert tracing.stderr is not None
        for _ in server.workers:
            line = tracing.stderr.readline()
            assert "attached" in line, line
        try:
            yield
        finally:
            tracing.terminate()
            tracing.stderr.read()


@contextmanager
def running(folder: Path) -> Iterator[LiveServer]:
    """Two workers, and an image to pull."""
    server = LiveServer(folder, WORKERS).start()
    try:
        prepare(server)
        yield server
    finally:
        server.kill()


@pytest.fixture
def doomed_server(tmp_path: Path) -> Iterator[LiveServer]:
    with running(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("fdatasync", "blobs/staging/{upload}.1"),
        ("fsync", "blobs/staging"),
        ("fdatasync", "registry.db-wal"),
    ],
    ids=["staged bytes", "folder", "commit"],
)
def test_s02_a_failed_fsync_stops_all_writes_for_good(doomed_server: LiveServer, call: str, path: str) -> None:
    server = doomed_server
    push_image(server, NAME, IMAGE, "v1")
    location = start_upload(server, NAME)
    upload = location.partition("?")[0].rpartition("/")[2]
    where = server.data / path.format(upload=upload)
    with injected(server, "-P", str(where), "-e", f"inject={call}:error=EIO"):
        failed = request(server, "PATCH", location, PARTIAL)
    assert failed.status == 503, failed.story

    # New connections, so both workers are asked
    for number in range(8):
        refused = push(server, b"%d" % number)
        assert (refused.status, refused.code) == (503, "UNKNOWN"), refused.story
        assert refused.headers["Retry-After"] == "60", refused.story
    assert readiness(server) == (503, 503)
    assert_serving(server)
    assert server.wait() == 74

    server.start()
    assert_whole(server)
    assert push(server, b"after").status == 201
    status = request(server, "GET", location.partition("?")[0])
    assert status.status == 404 or status.location.endswith("offset=0"), status.story


# --- S-03 and S-05: bytes that can't be read, are cut short or gone ----------------------------------------------

# The large one does not fit the buffers of two sockets
SMALL, LARGE = os.urandom(1000), os.urandom(32 * MIB)


def stored(server: LiveServer, data: bytes) -> Path:
    """The file of a blob that was pushed."""
    ((key,),) = query(server, "SELECT key FROM blob WHERE digest = ?", digest_of(data))
    return server.data / "blobs" / str(key)


def get(server: LiveServer, data: bytes) -> Answer:
    return request(server, "GET", f"/v2/{NAME}/blobs/{digest_of(data)}")


def logged(server: LiveServer, data: bytes, words: str) -> bool:
    lines = server.log.read_text("utf-8").splitlines()
    return any(digest_of(data) in line and words in line for line in lines)


@pytest.mark.parametrize(
    ("data", "call"), [(SMALL, "openat"), (SMALL, "read"), (LARGE, "openat")], ids=["open", "read", "open large"]
)
def test_s03_bytes_that_cannot_be_read_are_an_error_of_ours(server: LiveServer, data: bytes, call: str) -> None:
    push_blob(server, NAME, data)
    with injected(server, "-P", str(stored(server, data)), "-e", f"inject={call}:error=EIO"):
        failed = get(server, data)
    assert (failed.status, failed.code) == (500, "UNKNOWN"), failed.story
    assert logged(server, data, "can't be read")
    assert get(server, data).body == data, "the disk has recovered, and so has the blob"


def cut_off(server: LiveServer, data: bytes, spoil: Callable[[], None]) -> bytes:
    """What comes of a blob that is spoiled after its head was sent; the connection must not end well."""
    with Wire(server) as wire:
        wire.send(head("GET", f"/v2/{NAME}/blobs/{digest_of(data)}", {"Connection": "keep-alive"}))
        received = wire._socket.recv(4096)
        spoil()
        with pytest.raises(ConnectionResetError):
            while piece := wire._socket.recv(MIB):
                received += piece
    return received.partition(b"\r\n\r\n")[2]


def test_s03_a_blob_that_shrinks_while_it_is_sent_breaks_the_connection(server: LiveServer) -> None:
    push_blob(server, NAME, LARGE)
    came = cut_off(server, LARGE, lambda: os.truncate(stored(server, LARGE), 24 * MIB))
    assert LARGE.startswith(came)
    assert len(came) < len(LARGE)
    assert get(server, LARGE).status == 500
    push_blob(server, NAME, LARGE)
    assert get(server, LARGE).body == LARGE


def test_s03_an_error_of_the_disk_in_the_middle_breaks_the_connection(server: LiveServer) -> None:
    push_blob(server, NAME, LARGE)
    calls = "inject=sendfile,read,pread64,readv:error=EIO:when=3+"
    with injected(server, "-P", str(stored(server, LARGE)), "-e", calls):
        came = cut_off(server, LARGE, lambda: None)
    assert LARGE.startswith(came)
    assert len(came) < len(LARGE)
    assert get(server, LARGE).body == LARGE


@pytest.mark.parametrize("size", [1000, MIB], ids=["small", "large"])
def test_s03_a_short_file_is_an_error_once_then_unknown_until_pushed_again(server: LiveServer, size: int) -> None:
    data = os.urandom(size)
    push_blob(server, NAME, data)
    os.truncate(stored(server, data), len(data) - 1)
    found = get(server, data)
    assert (found.status, found.code) == (500, "UNKNOWN"), found.story
    assert logged(server, data, "push it again")
    assert_healed_by_a_push(server, data)


@pytest.mark.parametrize("size", [1000, MIB], ids=["small", "large"])
def test_s05_a_lost_object_is_unknown_until_pushed_again(server: LiveServer, size: int) -> None:
    data = os.urandom(size)
    push_blob(server, NAME, data)
    stored(server, data).unlink()
    found = get(server, data)
    assert (found.status, found.code) == (404, "BLOB_UNKNOWN"), found.story
    assert logged(server, data, "push it again")
    assert_healed_by_a_push(server, data)


def assert_healed_by_a_push(server: LiveServer, data: bytes) -> None:
    for method in ("GET", "HEAD"):
        assert request(server, method, f"/v2/{NAME}/blobs/{digest_of(data)}").status == 404
    assert server.digestry("fsck").returncode == 1
    push_blob(server, NAME, data)
    assert get(server, data).body == data
    assert_whole(server)


async def test_p10_a_reader_that_finds_no_file_looks_at_the_row_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between look-up and open a push heals the blob, and the old bytes go."""
    async with opened(tmp_path) as registry:
        digest = await registry_push(registry, SMALL)
        open_key = registry.store.open

        async def late(key: str) -> BlobReader:
            monkeypatch.setattr(registry.store, "open", open_key)
            await execute(registry, "UPDATE blob SET state = 'quarantined'")
            await registry_push(registry, SMALL)
            await registry.store.delete(key)
            return await open_key(key)

        monkeypatch.setattr(registry.store, "open", late)
        assert await pull(registry, digest) == SMALL
        assert await execute(registry, "SELECT state FROM blob") == [("ok",)]


# --- S-18: staging on another disk -------------------------------------------------------------------------------


def test_s18_staging_on_another_disk_is_refused_at_start(tmp_path: Path) -> None:
    loop_images.require("ext4")
    server = LiveServer(tmp_path)
    disk = loop_images.make_image(tmp_path / "disk", "ext4", 16 * MIB)
    with (
        loop_images.mounted(disk, server.data / "blobs" / "staging", "ext4"),
        pytest.raises(RuntimeError, match=r"one file system.*mount"),
    ):
        server.start()
    assert "Traceback" not in server.log.read_text("utf-8")
    server.start()
    assert server.stop() == 0
