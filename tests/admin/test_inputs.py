"""What is refused before anything is done, and how it is told."""

import asyncio
import json
import logging
from typing import Any
from urllib.parse import quote

import pytest

from registry.admin.inputs import BODY_LIMIT
from registry.admin.operations import OPERATIONS
from tests.admin.world import World, filled
from tests.support.access import basic

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = b'{"name":"ann","password":"correct horse"'
HUGE = USER + b',"about":"' + b"x" * BODY_LIMIT + b'"}'


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.body], ids=lambda operation: operation.name)
async def test_only_known_fields_are_taken(world: World, operation: Any) -> None:
    """CVE-2019-16097: who could set one more field was an administrator."""
    things = await world.things()
    before = await world.changes()
    body = {**(filled(operation.name, things) or {}), "is_admin": True}
    answer = await world.call(operation.method, operation.path.format(**things), body)
    assert (answer.status, answer.problem()["detail"]) == (400, "Object contains unknown field `is_admin`")
    assert await world.changes() == before


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 400, "JSON object"),
        (b"{", 400, "JSON object"),
        (b"[]", 400, "JSON object"),
        (b"\xff", 400, "JSON object"),
        (USER + b',"name":"eve"}', 400, "each key once"),
        (USER.replace(b"ann", b"\\u0000") + b"}", 400, "no NUL"),
        (USER.replace(b"ann", b"\\ud800") + b"}", 400, "JSON object"),
        (USER.replace(b'"ann"', b"[" * 40 + b"]" * 40) + b"}", 400, "nested"),
        (b'{"name":"ann"}', 400, "`password`"),
        (USER.replace(b'"ann"', b"1") + b"}", 400, "`$.name`"),
        (USER.replace(b'"ann"', b"null") + b"}", 400, "`$.name`"),
        (USER.replace(b"ann", b"a/b") + b"}", 400, "a name has"),
        (USER.replace(b"ann", b"ann\\n") + b"}", 400, "a name has"),
        (USER.replace(b"correct horse", "ä".encode() * 40) + b"}", 400, "72 bytes"),
        (USER.replace(b"correct horse", b"short") + b"}", 400, "at least 8"),
        (HUGE, 413, "64 KiB"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else str(value),
)
async def test_bodies(world: World, body: bytes, status: int, told: str) -> None:
    answer = await world.call("POST", "users", body)
    assert (answer.status, told in answer.problem()["detail"]) == (status, True), answer
    assert "horse" not in answer.body.decode()


async def test_a_body_that_does_not_say_how_long_it_is_ends_as_well(world: World) -> None:
    endless = f"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{_head()}\r\n".encode()
    endless += (b"%x\r\n" % BODY_LIMIT + b" " * BODY_LIMIT + b"\r\n") * 2
    assert (await _raw(world, endless)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream"])
async def test_bodies_are_json_and_say_so(world: World, kind: str) -> None:
    """A form of a strange page could have those types without asking."""
    headers = {"Content-Type": kind, **basic("admin")}
    answer = await world.send("POST", "/api/v1/groups", b'{"name":"g"}', headers=headers)
    assert (answer.status, answer.problem()["title"]) == (415, "Unsupported Media Type")


@pytest.mark.parametrize(
    "query",
    [
        "users?limit=0",
        "users?limit=1001",
        "users?limit=x",
        "users?limit=",
        "users?limit=1&limit=2",
        "users?name=ann",
        "users/admin?limit=1",
        "me?x",
        "grants?after=x",
        "grants?after=-1",
        "grants?after=9223372036854775808",
        "grants?subject=ann",
        "audit?since=yesterday",
        "audit?until=2026-08-01",
        "audit?after=9999999999999999999",
        "access/explain?as=admin",
        "access/explain?on=a",
        "access/explain?as=admin&on=A",
        "access/explain?as=group:devs&on=a",
        "access/explain?as=x:y&on=a",
        "openapi.json?x=1",
    ],
)
async def test_queries(world: World, query: str) -> None:
    assert (await world.call("GET", query)).problem()["status"] == 400


@pytest.mark.parametrize(
    "path",
    ["", "user", "users/", "users//password", "users/a/b", "grants/x", "grants/-1", "grants/" + "9" * 30, "v1"]
    + [f"users/{quote(name, safe='')}" for name in ("a/b", "..", "ä", "\0", "\n", "%FF")]
    + ["users/%FF", "users/%ED%A0%80"],
)
async def test_there_is_nothing_at_other_paths(world: World, path: str) -> None:
    assert (await world.call("GET", path)).problem()["status"] == 404


@pytest.mark.parametrize("target", ["/api/", "/api/v2/users", "/api/v1"])
async def test_nothing_else_is_under_api(world: World, target: str) -> None:
    assert (await world.send("GET", target, who="admin")).problem()["status"] == 404


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/api/v1/users/\xff", b"400"),
        (b"/api/v1/users?after=\xff", b"400"),
        (b"/api/v1/users?after=%FF", b"200"),
        (b"/api/v1/users?after=%ED%A0%80", b"200"),
    ],
)
async def test_bytes_that_are_no_text(world: World, target: bytes, status: bytes) -> None:
    answer = await _raw(world, b"GET " + target + f" HTTP/1.1\r\nHost: x\r\n{_head()}\r\n".encode())
    assert answer.split(b" ")[1] == status


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "users", "GET, HEAD, POST"),
        ("OPTIONS", "users/ann", "DELETE, GET, HEAD, PATCH"),
        ("GET", "users/ann/password", "PUT"),
        ("POST", "me", "GET, HEAD"),
    ],
)
async def test_other_methods_say_which_there_are(world: World, method: str, path: str, allow: str) -> None:
    answer = await world.call(method, path)
    assert (answer.problem()["status"], answer.headers["Allow"]) == (405, allow)


async def test_head_is_get_without_the_body(world: World) -> None:
    got, told = await world.call("GET", "me"), await world.call("HEAD", "me")
    assert (told.status, told.body) == (200, b"")
    assert told.headers["Content-Length"] == str(len(got.body))


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_pages_of_strangers_can_neither_write_nor_read(world: World, headers: dict[str, str]) -> None:
    answer = await world.send("POST", "/api/v1/groups", {"name": "theirs"}, who="admin", headers=headers)
    assert answer.problem()["status"] == 403
    assert (await world.call("GET", "groups/theirs")).status == 404
    assert (await world.send("GET", "/api/v1/me", who="admin", headers=headers)).problem()["status"] == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "users", {"name": "ann", "password": "correct horse"}), ("POST", "robots", {"name": "r"})],
)
async def test_no_secret_goes_over_plain_http(world: World, method: str, path: str, body: dict[str, str]) -> None:
    token = await world.token(basic("admin"), "registry:api:*")
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "203.0.113.9"}
    answer = await world.send(method, f"/api/v1/{path}", body, headers=headers)
    assert (answer.status, "plain HTTP" in answer.problem()["detail"]) == (403, True)
    assert (await world.send("GET", "/api/v1/me", headers=headers)).status == 200


async def test_a_failure_of_ours_tells_nothing_but_where_to_look(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*arguments: Any) -> None:
        raise RuntimeError("secret of ours")

    monkeypatch.setattr(world.registry.access.users, "list_groups", fail)
    with caplog.at_level(logging.CRITICAL):
        answer = await world.call("GET", "groups")
    assert (answer.status, "secret" in json.dumps(answer.problem())) == (500, False)


def _head() -> str:
    return (
        f"Authorization: {basic('admin')['Authorization']}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )


async def _raw(world: World, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer
