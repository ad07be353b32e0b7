"""The bench's own client against a real registry: what it sends is what it says."""

import hashlib
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from bench.pulls import pull
from bench.pushes import CHUNK, REPOSITORY, Client, Source, UnexpectedAnswerError, chunked, push_at_once, source
from tests.support.images import digest_of
from tests.support.server import LiveServer

SIZE = 3 * 1024 * 1024 + 5


def _served(server: LiveServer, digest: str) -> bytes:
    with urllib.request.urlopen(f"{server.url}{REPOSITORY}/blobs/{digest}") as response:
        data: bytes = response.read()
    return data


def test_contents_differ_and_are_hashed_beforehand(tmp_path: Path) -> None:
    made = Source(tmp_path / "content", SIZE)
    first, second = made.fresh(SIZE), made.fresh(SIZE)
    assert first.digest != second.digest
    for content in (first, second, made.fresh(100)):
        data = content.path.read_bytes()[: content.shared] + content.tail
        assert content.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert content.size == len(data)
    assert first.size == SIZE


@pytest.mark.parametrize("push", [Client.push, Client.push_as_stream])
def test_push(live_server: LiveServer, push: object) -> None:
    assert callable(push)
    with source(SIZE) as made, closing(Client(live_server.host)) as client:
        content = made.fresh(SIZE)
        push(client, content)
        assert digest_of(_served(live_server, content.digest)) == content.digest
        pull(live_server.host, content)


def test_push_at_once(live_server: LiveServer) -> None:
    with source(SIZE) as made:
        contents = [made.fresh(SIZE) for _ in range(4)]
        push_at_once(live_server.host, contents)
    for content in contents:
        assert digest_of(_served(live_server, content.digest)) == content.digest


def test_a_refused_push_is_no_figure(live_server: LiveServer, tmp_path: Path) -> None:
    made = Source(tmp_path / "content", SIZE)
    content = made.fresh(SIZE)
    content.path.write_bytes(bytes(SIZE))
    with closing(Client(live_server.host)) as client, pytest.raises(UnexpectedAnswerError, match="400, not 201"):
        client.push(content)


def test_a_pull_of_nothing_is_no_figure(live_server: LiveServer, tmp_path: Path) -> None:
    with pytest.raises(UnexpectedAnswerError, match="404"):
        pull(live_server.host, Source(tmp_path / "content", SIZE).fresh(SIZE))


def test_chunked() -> None:
    piece = bytes(CHUNK) + b"rest"
    assert chunked(piece) == b"8000\r\n" + bytes(CHUNK) + b"\r\n4\r\nrest\r\n"
