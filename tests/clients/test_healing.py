"""Docker Engine and a disk that rots: what `digestry verify` finds, the next `docker push` heals."""

import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.clients.test_docker import PULLED, load, push
from tests.support.images import Remote
from tests.support.rot import flip
from tests.support.server import LiveServer
from tests.support.tools import Program


def stored(server: LiveServer) -> dict[str, str]:
    """The key of each blob."""
    with closing(sqlite3.connect(server.data / "registry.db")) as connection:
        return dict(connection.execute("SELECT digest, key FROM blob"))


def head(remote: Remote, digest: str) -> int:
    request = urllib.request.Request(f"http://{remote.host}/v2/{remote.name}/blobs/{digest}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


@pytest.mark.parametrize("spoil", [lambda path: flip(path, 100), Path.unlink], ids=["flipped", "lost"])
def test_a_rotten_layer_is_found_hidden_and_healed_by_the_next_push(
    docker: Program, remote: Remote, live_server: LiveServer, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    load(docker, tmp_path, f"{remote}:v1")
    digest = push(docker, f"{remote}:v1")
    image_id = docker("image", "inspect", "--format", "{{.Id}}", f"{remote}:v1")
    layer, other = (one["digest"] for one in remote.manifest("v1").document["layers"])
    before = stored(live_server)
    spoil(live_server.data / "blobs" / before[layer])

    verified = live_server.digestry("verify")
    found = time.monotonic()
    assert head(remote, layer) == 404
    assert time.monotonic() - found < 1
    assert verified.returncode == 1, verified.stderr
    (wrong,) = [line for line in verified.stdout.splitlines() if line.startswith("WRONG: ")]
    assert layer in wrong and wrong.endswith(f"needed by {remote.name}:v1")
    assert head(remote, other) == 200

    said = docker("push", f"{remote}:v1")
    assert (said.count("Pushed"), said.count("Layer already exists")) == (1, 1)
    after = stored(live_server)
    assert {digest for digest in after if after[digest] != before[digest]} == {layer}
    docker("rmi", "--force", image_id)
    assert PULLED.findall(docker("pull", f"{remote}:v1")) == [digest]
    assert docker("image", "inspect", "--format", "{{.Id}}", f"{remote}:v1") == image_id
    assert live_server.digestry("verify").returncode == live_server.digestry("fsck", "--deep").returncode == 0
