"""nginx with the documented example file before a live registry: nothing is kept, hidden or believed on the way."""

import json
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest

from tests.support.images import digest_of
from tests.support.nginx import Proxy, nginx_before
from tests.support.ports import free_port
from tests.support.server import LiveServer
from tests.support.wire import Answer, assert_no_traceback, chunk, eventually, head, request

MIB = 1024 * 1024
PIECE = bytes(range(256)) * 4096
BIG = PIECE * 64
DIGEST = digest_of(BIG)
LENGTH = {"Content-Length": str(len(BIG))}
CHUNKED = {"Transfer-Encoding": "chunked"}
# What a worker of nginx may hold at most, whatever passes through it
MEMORY = 32 * MIB


@dataclass(frozen=True)
class Site:
    proxy: Proxy
    server: LiveServer


@contextmanager
def registry_behind(proxy: Proxy, folder: Path) -> Iterator[LiveServer]:
    settings = {"REGISTRY_AUTH_MODE": "open-anywhere", "REGISTRY_HTTP_WORKERS": "2"}
    server = LiveServer(folder, {**settings, **proxy.variables}).start()
    try:
        yield server
        assert_no_traceback(server)
    finally:
        assert server.stop() == 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with nginx_before(free_port(), folder / "nginx") as proxy, registry_behind(proxy, folder / "server") as server:
        yield Site(proxy, server)


@pytest.fixture(scope="module")
def big(site: Site) -> str:
    """The path of a blob that no buffer holds."""
    answer = call(site.proxy, "POST", f"/v2/nginx/big/blobs/uploads/?digest={DIGEST}", BIG)
    assert answer.status == 201, answer.story
    return f"/v2/nginx/big/blobs/{DIGEST}"


def call(
    proxy: Proxy,
    method: str,
    target: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    source: str = "127.0.0.1",
) -> Answer:
    """One request through nginx. A body in pieces is chunked, unless its length is told."""
    path = target.removeprefix(proxy.url)
    connection = HTTPSConnection(proxy.host, timeout=30, context=proxy.trusting, source_address=(source, 0))
    with closing(connection):
        chunked = (headers or {}).get("Transfer-Encoding") == "chunked"
        connection.request(method, path, body, dict(headers or {}), encode_chunked=chunked)
        answer = connection.getresponse()
        return Answer(method, path, answer.status, answer.headers, answer.read())


def secured(proxy: Proxy) -> ssl.SSLSocket:
    name, _, port = proxy.host.rpartition(":")
    plain = socket.create_connection((name, int(port)), timeout=20)
    return proxy.trusting.wrap_socket(plain, server_hostname=name)


def answer_on(sock: socket.socket) -> tuple[int, bytes]:
    with closing(HTTPResponse(sock)) as response:
        response.begin()
        return response.status, response.read()


def start(site: Site, name: str) -> str:
    """Open an upload through nginx; the address where it goes on."""
    answer = call(site.proxy, "POST", f"/v2/{name}/blobs/uploads/")
    assert answer.status == 202, answer.story
    assert answer.location.startswith(f"{site.proxy.url}/v2/{name}/blobs/uploads/")
    return answer.location


def staged(server: LiveServer) -> int:
    """Bytes of unfinished uploads on the registry's disk."""
    return sum(path.stat().st_size for path in (server.data / "blobs" / "staging").rglob("*") if path.is_file())


def logged(server: LiveServer, agent: str) -> str:
    """The client's address in the registry's log line of a request."""
    lines = [json.loads(line) for line in server.log.read_text("utf-8").splitlines() if agent in line]
    return str(lines[0]["http.request.remoteaddr"]) if lines else ""


# Content


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_a_large_blob_is_pushed_and_pulled(site: Site, framing: Mapping[str, str]) -> None:
    name = f"nginx/{'chunked' if framing is CHUNKED else 'length'}"
    sent = call(site.proxy, "PATCH", start(site, name), (PIECE for _ in range(64)), framing)
    assert (sent.status, sent.headers["Range"]) == (202, f"0-{len(BIG) - 1}"), sent.story
    finished = call(site.proxy, "PUT", f"{sent.location}&digest={DIGEST}")
    assert (finished.status, finished.location) == (201, f"{site.proxy.url}/v2/{name}/blobs/{DIGEST}")
    pulled = call(site.proxy, "GET", finished.location)
    assert (pulled.status, pulled.body == BIG) == (200, True)
    assert site.proxy.kept == []
    assert site.proxy.peak < MEMORY


def test_a_push_streams(site: Site) -> None:
    path = start(site, "nginx/streams").removeprefix(site.proxy.url)
    before, sent = staged(site.server), 8 * MIB
    with secured(site.proxy) as sock:
        sock.sendall(head("PATCH", path, {"Host": site.proxy.host, **CHUNKED}))
        sock.sendall(chunk(PIECE) * 8)
        eventually(lambda: staged(site.server) - before > sent - 2 * MIB)
        sock.sendall(chunk(b""))
        assert answer_on(sock)[0] == 202
    assert site.proxy.kept == []


def test_a_pull_waits_for_its_reader(site: Site, big: str) -> None:
    with secured(site.proxy) as sock:
        sock.sendall(head("GET", big, {"Host": site.proxy.host}))
        assert sock.recv(12) == b"HTTP/1.1 200"
        time.sleep(0.5)  # as long as nginx would need to take all of it
        while sock.recv(MIB):
            pass
    assert site.proxy.kept == []
    assert site.proxy.peak < MEMORY


def test_parts_of_a_blob(site: Site, big: str) -> None:
    part = call(site.proxy, "GET", big, headers={"Range": "bytes=1000-1009"})
    assert (part.status, part.body) == (206, BIG[1000:1010])
    assert part.headers["Content-Range"] == f"bytes 1000-1009/{len(BIG)}"
    parts = call(site.proxy, "GET", big, headers={"Range": "bytes=0-4,100-104"})
    assert (parts.status, parts.headers.get_content_type()) == (206, "multipart/byteranges")
    assert BIG[100:105] in parts.body
    known = call(site.proxy, "GET", big, headers={"If-None-Match": part.headers["ETag"]})
    assert (known.status, known.body) == (304, b"")


def test_pages_lead_back_through_it(site: Site, big: str) -> None:
    for name in ("a", "b"):
        manifest = json.dumps({"schemaVersion": 2, "manifests": [], "annotations": {"name": name}}).encode()
        fields = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        assert call(site.proxy, "PUT", f"/v2/nginx/pages/manifests/{name}", manifest, fields).status == 201
    page = call(site.proxy, "GET", "/v2/nginx/pages/tags/list?n=1")
    link = page.headers["Link"].partition(">")[0].removeprefix("<")
    assert link.startswith(site.proxy.url)
    assert call(site.proxy, "GET", link).document["tags"] == ["b"]


# Refusals


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", "/v2/nginx/refused/blobs/uploads/00000000000000000000000000000000", 404),
        ("POST", "/v2/nginx/refused/blobs/uploads/?digest=sha256:bad", 400),
        # chunked, this one is refused after 4 MiB
        ("PUT", "/v2/nginx/refused/manifests/large", 413),
    ],
)
def test_a_refusal_reaches_who_is_sending(
    site: Site, method: str, path: str, status: int, framing: Mapping[str, str]
) -> None:
    fields = {"Content-Type": "application/vnd.oci.image.manifest.v1+json", **framing}
    answer = call(site.proxy, method, path, (PIECE for _ in range(64)), fields)
    assert answer.status == status, answer.story
    assert answer.errors
    assert site.proxy.kept == []


def test_a_refusal_does_not_wait_for_the_rest(site: Site) -> None:
    path = "/v2/nginx/refused/blobs/uploads/00000000000000000000000000000000"
    with secured(site.proxy) as sock:
        sock.sendall(head("PATCH", path, {"Host": site.proxy.host, **LENGTH}) + PIECE)
        status, body = answer_on(sock)
    assert (status, json.loads(body)["errors"][0]["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_client_that_waits_to_be_asked(site: Site) -> None:
    data = b"asked for"
    path = f"/v2/nginx/asked/blobs/uploads/?digest={digest_of(data)}"
    fields = {"Host": site.proxy.host, "Expect": "100-continue", "Content-Length": str(len(data))}
    with secured(site.proxy) as sock:
        sock.sendall(head("POST", path, fields))
        assert sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(data)
        assert answer_on(sock)[0] == 201


def test_a_token_for_many_repositories_fits(site: Site) -> None:
    fields = {"Authorization": f"Bearer {'t' * 20 * 1024}"}
    assert call(site.proxy, "GET", "/v2/", headers=fields).status == request(site.server, "GET", "/v2/").status


# What each side is told


def test_the_log_has_the_address_of_the_client(site: Site) -> None:
    claims = {"X-Forwarded-For": "198.51.100.9", "Forwarded": "for=198.51.100.9", "User-Agent": "claims"}
    assert call(site.proxy, "GET", "/v2/", headers=claims, source="127.0.0.9").status == 200
    eventually(lambda: logged(site.server, "claims") == "127.0.0.9")


def test_what_a_client_says_of_itself_is_replaced(tmp_path: Path) -> None:
    claims = {"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "http", "X-Request-Id": "chosen"}
    target = "/v2/a%2Fb//c/./tags/list?n=%31"
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        nginx_before(listening.getsockname()[1], tmp_path) as proxy,
        secured(proxy) as client,
    ):
        client.sendall(head("GET", target, {"Host": proxy.host, **claims}))
        upstream, _ = listening.accept()
        with upstream:
            line, *lines = upstream.recv(65536).decode().split("\r\n")
            upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert answer_on(client) == (200, b"")
    told = {name: value for name, _, value in (field.partition(": ") for field in lines if field)}
    assert line == f"GET {target} HTTP/1.1"
    assert told.pop("X-Request-Id") != "chosen"
    assert told == {"Host": proxy.host, "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}


def test_both_logs_name_a_request_alike_and_have_no_query(site: Site) -> None:
    answer = call(site.proxy, "GET", "/v2/nginx/logged/tags/list?access_token=canary")
    eventually(lambda: answer.headers["X-Request-Id"] in site.proxy.log)
    eventually(lambda: answer.headers["X-Request-Id"] in site.server.log.read_text("utf-8"))
    assert "/v2/nginx/logged/tags/list" in site.proxy.log
    assert "canary" not in site.proxy.log


@pytest.mark.parametrize(
    "path", ["/metrics", "/readyz?write=1", "/healthz", "/startupz", "/v2/../metrics", "/%6detrics"]
)
def test_what_is_for_machines_of_the_operator_stays_there(site: Site, path: str) -> None:
    answer = call(site.proxy, "GET", path)
    assert (answer.status, b"digestry" in answer.body) == (404, False), answer.story


# TLS, and the registry's absence


def test_uploads_are_not_squeezed_into_http2(site: Site) -> None:
    trusting = site.proxy.trusting
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    name, _, port = site.proxy.host.rpartition(":")
    with trusting.wrap_socket(socket.create_connection((name, int(port))), server_hostname=name) as sock:
        assert (sock.selected_alpn_protocol(), sock.version()) == ("http/1.1", "TLSv1.3")


def test_plain_http_is_refused(site: Site) -> None:
    name, _, port = site.proxy.host.rpartition(":")
    with socket.create_connection((name, int(port))) as sock:
        sock.sendall(head("GET", "/v2/", {"User-Agent": "unprotected"}))
        assert answer_on(sock)[0] == 400
    assert logged(site.server, "unprotected") == ""


def test_a_registry_that_comes_back_is_found_at_once(tmp_path: Path) -> None:
    with nginx_before(free_port(), tmp_path / "nginx") as proxy:
        assert call(proxy, "GET", "/v2/").status == 502
        with registry_behind(proxy, tmp_path / "server") as server:
            assert call(proxy, "GET", "/v2/").status == 200
            server.kill()
            assert call(proxy, "GET", "/v2/").status == 502
            server.start()
            assert call(proxy, "GET", "/v2/").status == 200
