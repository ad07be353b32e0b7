"""Logins that are none, or wrong, or too many, or not the right ones any more (A-10 to A-14, A-20)."""

import asyncio
import base64
import email
import threading
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.assembly import Registry
from registry.domain.access import Caller, Identity
from registry.domain.problems import Conflict, Invalid
from tests.support.access import (
    ADMIN,
    DAY,
    OPERATING,
    PASSWORD,
    add_robot,
    add_user,
    ask_token,
    basic,
    bearer,
    grant,
    operate,
    revoke,
    settle,
    token,
)
from tests.support.credentials import from_somewhere, guarded_server, post_token, through_proxy
from tests.support.registry import execute
from tests.support.server import LiveServer
from tests.support.wire import (
    ALIVE,
    ALIVE_NAME,
    ALIVE_TAG,
    Answer,
    assert_no_traceback,
    assert_refused,
    eventually,
    get_manifest,
    head,
    query,
    request,
)

Ask = Callable[[LiveServer, str, str], Answer]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with guarded_server(tmp_path_factory.mktemp("logins")) as server:
        settle()
        yield server


def try_basic(server: LiveServer, name: str, password: str, headers: dict[str, str] | None = None) -> Answer:
    return request(server, "GET", "/v2/", headers=basic(name, password) | (headers or from_somewhere()))


def try_login(server: LiveServer, name: str, password: str, headers: dict[str, str] | None = None) -> Answer:
    return ask_token(server, basic(name, password) | (headers or from_somewhere()))


def try_form(server: LiveServer, name: str, password: str, headers: dict[str, str] | None = None) -> Answer:
    form = {"grant_type": "password", "username": name, "password": password}
    return post_token(server, headers or from_somewhere(), **form)


WAYS: dict[str, Ask] = {"basic": try_basic, "login": try_login, "form": try_form}


@pytest.mark.parametrize("way", WAYS)
def test_the_right_password_is_let_in(server: LiveServer, way: str) -> None:
    assert WAYS[way](server, "alice", PASSWORD).status == 200


# --- A-10: what is no name with a password ---------------------------------------------------------------------------

GOOD = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()


def _basic(data: bytes) -> str:
    return "Basic " + base64.b64encode(data).decode()


ODD_BASIC: dict[str, str] = {
    "nothing": "Basic",
    "nothing and a space": "Basic ",
    "no colon": _basic(b"alice"),
    "only a colon": _basic(b":"),
    "empty user": _basic(f":{PASSWORD}".encode()),
    "empty password": _basic(b"alice:"),
    "bad base64": "Basic alice:" + PASSWORD,
    "no padding": "Basic " + GOOD.rstrip("="),
    "base64 with a space inside": f"Basic {GOOD[:8]} {GOOD[8:]}",
    "base64 of URLs": "Basic " + base64.urlsafe_b64encode(b"alice:\xff\xfe\xfd???>>>").decode(),
    "one character": "Basic a",
    "no UTF-8": _basic(b"alice:\xff\xfe"),
    "no UTF-8 as user": _basic(b"\xff:" + PASSWORD.encode()),
    "UTF-16": _basic(f"alice:{PASSWORD}".encode("utf-16")),
    "half a surrogate pair": _basic(b"alice:\xed\xa0\x80"),
    "raw bytes": "Basic \xff\xfe",
    "10 KiB": _basic(b"alice:" + b"x" * 10_240),
    "10 KiB of user": _basic(b"x" * 10_240 + f":{PASSWORD}".encode()),
    "colons": _basic(b"::::"),
    "other scheme": "Digest " + GOOD,
    "no scheme": GOOD,
    "negotiate": "Negotiate YII=",
    "two in one": f"Basic {GOOD}, Basic {GOOD}",
    "empty": "",
}


@pytest.mark.parametrize("target", ["/v2/", "/v2/team/app/tags/list", "/auth/token"])
@pytest.mark.parametrize("value", ODD_BASIC.values(), ids=list(ODD_BASIC))
def test_a10_what_is_no_login(server: LiveServer, value: str, target: str) -> None:
    answer = request(server, "GET", target, headers={"Authorization": value} | from_somewhere())
    assert_refused(server, answer, 401, "UNAUTHORIZED")
    challenge = answer.headers.get_all("WWW-Authenticate")
    assert challenge is not None and len(challenge) == 1
    assert challenge[0].startswith("Basic" if target == "/auth/token" else "Bearer")


ODD_PAIRS: dict[str, tuple[str, str]] = {
    "wrong password": ("alice", PASSWORD + "!"),
    "no password": ("alice", ""),
    "password with a space": ("alice", PASSWORD + " "),
    "password with a line": ("alice", PASSWORD + "\n"),
    "73 bytes": ("alice", "x" * 73),
    "the right one and more than 72 bytes": ("alice", PASSWORD + "\0" * 60),
    "NUL behind the right one": ("alice", PASSWORD + "\0"),
    "NUL": ("alice", "\0"),
    "4 KiB": ("alice", "x" * 4096),
    "other letters": ("Alice", PASSWORD),
    "user with a space": ("alice ", PASSWORD),
    "user with NUL": ("alice\0", PASSWORD),
    "user with a line": ("alice\n", PASSWORD),
    "user that looks alike": ("\uff41lice", PASSWORD),
    "subject": ("user:alice", PASSWORD),
    "long user": ("x" * 300, PASSWORD),
    "user that is SQL": ("alice' --", PASSWORD),
    "nobody": ("nobody", PASSWORD),
    "group": ("group:devs", PASSWORD),
    "anonymous": ("anonymous", PASSWORD),
    "operator": ("operator", PASSWORD),
    "robot without a name": ("robot$", PASSWORD),
    "robot that is none": ("robot$nobody", PASSWORD),
    "robot that is a user": ("robot$alice", PASSWORD),
    "what looks like a token": ("alice", "eyJ" + "a" * 70 + ".b.c"),
    "what begins like a token": ("alice", "eyJhbGciOiJub25lIn0." + "e" * 60 + "."),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "password"), ODD_PAIRS.values(), ids=list(ODD_PAIRS))
def test_a10_names_and_passwords_that_are_wrong(server: LiveServer, way: str, name: str, password: str) -> None:
    assert_refused(server, WAYS[way](server, name, password), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic  "])
def test_a10_schemes_are_in_any_letters(server: LiveServer, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {GOOD}"} | from_somewhere()
    assert request(server, "GET", "/v2/", headers=headers).status == 200


@settings(max_examples=100, deadline=None)
@given(value=st.binary(max_size=120).map(lambda data: bytes(byte for byte in data if byte > 31 and byte != 127)))
def test_a10_any_bytes(server: LiveServer, value: bytes) -> None:
    for scheme in ("", "Basic ", "Bearer "):
        headers = {"Authorization": scheme + value.decode("latin-1")} | from_somewhere()
        assert request(server, "GET", "/v2/", headers=headers).status == 401


def test_a10_any_bytes_ended_in_no_traceback(server: LiveServer) -> None:
    assert_no_traceback(server)


# --- A-12, A-13: too many --------------------------------------------------------------------------------------------


def wait_for_a_fresh_minute(seconds: float) -> None:
    """Limits count by the minute of the machine's clock; so many seconds of one are needed."""
    left = 60 - time.monotonic() % 60
    if left < seconds:
        time.sleep(left + 0.1)


async def at_once(server: LiveServer, requests: list[bytes]) -> list[Answer]:
    """All of them in parallel, each on a connection of its own."""
    host, port = server.host.split(":")

    async def one(data: bytes) -> Answer:
        reader, writer = await asyncio.open_connection(host, int(port))
        with closing(writer):
            writer.write(data)
            received = await reader.read()
        method, target, _ = data.split(b"\r\n", 1)[0].decode().split(" ")
        status, _, rest = received.partition(b"\r\n")
        fields, _, body = rest.partition(b"\r\n\r\n")
        return Answer(method, target, int(status.split()[1]), email.message_from_bytes(fields), body)

    return await asyncio.gather(*map(one, requests))


class Puller:
    """Somebody else, who pulls all the time."""

    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self._headers = bearer(token(server, basic("alice") | from_somewhere(), "repository:team/app:pull"))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._pull)
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _pull(self) -> None:
        target = f"/v2/{ALIVE_NAME}/blobs/{ALIVE.blobs[0].digest}"
        while not self._end.is_set():
            began = time.monotonic()
            self.statuses[get_manifest(self._server, ALIVE_NAME, ALIVE_TAG).status] += 1
            self.statuses[request(self._server, "GET", target, headers=from_somewhere()).status] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)


def assert_told_when(answers: list[Answer]) -> None:
    for answer in answers:
        assert answer.code == "TOOMANYREQUESTS"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60, answer.story


def test_a12_a_thousand_wrong_passwords_at_once(server: LiveServer) -> None:
    wait_for_a_fresh_minute(15)
    somewhere = through_proxy("192.0.2.12")
    right = try_basic(server, "alice", PASSWORD, somewhere)
    held = bearer(token(server, basic("alice") | somewhere, "repository:team/app:pull")) | somewhere
    assert right.status == 200
    tries = [head("GET", "/v2/", basic("alice", f"wrong {number}") | somewhere) for number in range(1000)]
    with Puller(server) as puller:
        answers = asyncio.run(at_once(server, tries))
    refused = [answer for answer in answers if answer.status == 429]
    wrong = sum(answer.status == 401 for answer in answers)
    assert len(refused) + wrong == 1000
    assert 10 <= wrong <= 12, "one more a worker may have begun"
    assert_told_when(refused)
    assert set(puller.statuses) == {200}, puller.statuses
    assert puller.statuses[200] > 20
    assert puller.slowest < 2.0

    # Locked is who fails, where they fail: not the user elsewhere, not others there
    for way in (try_basic, try_login, try_form):
        assert_told_when([way(server, "alice", PASSWORD, somewhere)])
        assert way(server, "alice", PASSWORD, None).status == 200
        assert way(server, ADMIN, PASSWORD, somewhere).status == 200
    assert request(server, "GET", "/v2/", headers=held).status == 200, "a token is no try"


def test_a13_one_list_of_passwords_over_many_users(server: LiveServer) -> None:
    wait_for_a_fresh_minute(20)
    somewhere = through_proxy("192.0.2.13")
    one_by_one = [try_login(server, f"user{number}", "123456", somewhere).status for number in range(102)]
    assert one_by_one == [401] * 100 + [429] * 2
    tries = [head("GET", "/v2/", basic(f"user{number}", "123456") | somewhere) for number in range(102, 1102)]
    answers = asyncio.run(at_once(server, tries))
    assert {answer.status for answer in answers} == {429}
    assert_told_when(answers)
    assert_told_when([try_basic(server, "alice", PASSWORD, somewhere)])
    assert try_basic(server, "alice", PASSWORD).status == 200

    events = query(server, "SELECT action, details FROM event WHERE address = '192.0.2.13'")
    assert Counter(events) == {
        ("login.failed", '{"user": "(unknown)"}'): 100,
        ("login.flood", "{}"): 1,
    }


def test_a13_robots_and_jobs_are_counted_too(server: LiveServer) -> None:
    wait_for_a_fresh_minute(5)
    job = "eyJhbGciOiJFUzI1NiJ9." + "e" * 60 + ".c"
    for address, name, secret in (("192.0.2.14", "robot$nobody", "rbt_x"), ("192.0.2.15", "job", job)):
        statuses = [try_login(server, name, secret, through_proxy(address)).status for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2


# --- A-14: robots ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Robots:
    """A robot that works, and another one."""

    server: LiveServer
    secret: str
    other: str


@pytest.fixture(scope="module")
def robots(server: LiveServer) -> Robots:
    async def make(registry: Registry) -> tuple[str, str]:
        return await add_robot(registry, "build"), await add_robot(registry, "other")

    found = Robots(server, *operate(server, make))
    settle()
    return found


def _with_digits(body: str) -> str:
    return f"{body}_{zlib.crc32(body.encode()):08x}"


def _changed(secret: str) -> str:
    """Another secret of the same id, whole by its check digits."""
    body = secret.rpartition("_")[0]
    return _with_digits(body[:-1] + ("a" if body[-1] != "a" else "b"))


WRONG_SECRETS: dict[str, Callable[[Robots], str]] = {
    "wrong check digits": lambda robots: robots.secret[:-1] + ("0" if robots.secret[-1] != "0" else "1"),
    "no check digits": lambda robots: robots.secret.rpartition("_")[0],
    "check digits in capitals": lambda robots: robots.secret.rpartition("_")[0] + "_ABCDEF01",
    "another secret of that id": lambda robots: _changed(robots.secret),
    "another robot's": lambda robots: robots.other,
    "a refresh token's prefix": lambda robots: _with_digits(robots.secret.rpartition("_")[0].replace("rbt", "rft")),
    "unknown id": lambda _: _with_digits("rbt_abcdefghijkl_" + "x" * 43),
    "only the id": lambda robots: "_".join(robots.secret.split("_")[:2]),
    "one part more": lambda robots: _with_digits(robots.secret),
    "a line behind it": lambda robots: robots.secret + "\n",
    "other letters": lambda robots: robots.secret.swapcase(),
    "letters beyond ASCII": lambda robots: robots.secret + "é",
    "hash": lambda robots: str(query(robots.server, "SELECT hash FROM robot_secret LIMIT 1")[0][0]),
    "password of a user": lambda _: PASSWORD,
    "empty": lambda _: "",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", WRONG_SECRETS.values(), ids=list(WRONG_SECRETS))
def test_a14_wrong_secrets(robots: Robots, way: str, make: Callable[[Robots], str]) -> None:
    assert WAYS[way](robots.server, "robot$build", robots.secret).status == 200
    assert_refused(robots.server, WAYS[way](robots.server, "robot$build", make(robots)), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("name", ["build", "robot$Build", "robot$other", "robot:build", "robot$build ", "alice"])
def test_a14_a_secret_is_for_its_robot(robots: Robots, name: str) -> None:
    assert_refused(robots.server, try_basic(robots.server, name, robots.secret), 401, "UNAUTHORIZED")


async def _expire(registry: Registry, robot: str) -> None:
    # by the clock, which nobody can wait for
    await execute(
        registry,
        "UPDATE robot_secret SET expires_at = created_at WHERE robot_id = (SELECT id FROM robot WHERE name = ?)",
        robot,
    )
    await execute(registry, "UPDATE access_state SET revision = revision + 1")


async def _revoke(registry: Registry, robot: str) -> None:
    (secret,) = await registry.access.robots.secrets_of(await registry.access.robots.get(robot))
    await registry.access.robots.revoke(robot, secret.id, OPERATING)


async def _recreate_creator(registry: Registry, robot: str) -> None:
    """The next user of that name is another one."""
    await registry.access.users.delete(f"{robot}-owner", OPERATING)
    await add_user(registry, f"{robot}-owner", **{"team/**": "pull"})


ENDS: dict[str, Callable[[Registry, str], Awaitable[object]]] = {
    "expired": _expire,
    "revoked": _revoke,
    "rotated": lambda registry, robot: registry.access.robots.rotate(robot, DAY, 0, OPERATING),
    "disabled": lambda registry, robot: registry.access.robots.set_disabled(robot, OPERATING, disabled=True),
    "deleted": lambda registry, robot: registry.access.robots.delete(robot, OPERATING),
    "creator deleted": lambda registry, robot: registry.access.users.delete(f"{robot}-owner", OPERATING),
    "creator disabled": lambda registry, robot: registry.access.users.set_disabled(
        f"{robot}-owner", OPERATING, disabled=True
    ),
    "creator deleted and made again": _recreate_creator,
}


@dataclass(frozen=True)
class Ended:
    """A robot's secret that was good, with a token that came from it, until one of these ended it."""

    name: str
    secret: str
    token: str


@pytest.fixture(scope="module")
def ended(server: LiveServer) -> dict[str, Ended]:
    async def make(registry: Registry) -> dict[str, str]:
        secrets = {}
        for end in ENDS:
            robot = end.replace(" ", "-")
            await add_user(registry, f"{robot}-owner", **{"team/**": "pull"})
            secrets[end] = await add_robot(registry, robot, DAY, Caller(Identity(f"user:{robot}-owner"), "test"))
        return secrets

    async def end_all(registry: Registry) -> None:
        for end, act in ENDS.items():
            await act(registry, end.replace(" ", "-"))

    found = {}
    for end, secret in operate(server, make).items():
        name = f"robot${end.replace(' ', '-')}"
        found[end] = Ended(name, secret, token(server, basic(name, secret) | from_somewhere()))
        assert try_basic(server, name, secret).status == 200
    operate(server, end_all)
    settle()
    return found


@pytest.mark.parametrize("end", ENDS)
def test_a14_secrets_that_are_good_no_more(server: LiveServer, ended: dict[str, Ended], end: str) -> None:
    robot = ended[end]
    for way in WAYS.values():
        assert_refused(server, way(server, robot.name, robot.secret), 401, "UNAUTHORIZED")
    assert request(server, "GET", "/v2/", headers=bearer(robot.token) | from_somewhere()).status == 401


def test_a14_a_secret_ends_with_its_time(server: LiveServer) -> None:
    secret = operate(server, lambda registry: add_robot(registry, "short", 2500))
    settle()
    assert try_basic(server, "robot$short", secret).status == 200
    eventually(lambda: try_basic(server, "robot$short", secret).status == 401)


def test_a14_both_secrets_work_while_they_overlap(server: LiveServer) -> None:
    first = operate(server, lambda registry: add_robot(registry, "rotating"))
    second = operate(server, lambda registry: registry.access.robots.rotate("rotating", DAY, DAY, OPERATING)).secret
    settle()
    assert [try_basic(server, "robot$rotating", secret).status for secret in (first, second)] == [200, 200]


# --- A-20: no loop of privileges, and always an administrator --------------------------------------------------------

LAST: dict[str, Callable[[Registry], Awaitable[object]]] = {
    "grant removed": lambda registry: revoke(registry, f"user:{ADMIN}", "**"),
    "user disabled": lambda registry: registry.access.users.set_disabled(ADMIN, OPERATING, disabled=True),
    "user deleted": lambda registry: registry.access.users.delete(ADMIN, OPERATING),
}


@pytest.mark.parametrize("remove", LAST.values(), ids=list(LAST))
def test_a20_the_last_administrator_stays(server: LiveServer, remove: Callable[[Registry], Awaitable[object]]) -> None:
    with pytest.raises(Conflict, match="nobody would be left"):
        operate(server, remove)
    settle()
    assert try_basic(server, ADMIN, PASSWORD).status == 200


async def _administrators(registry: Registry) -> None:
    """A second one, by a group, takes the first one's place."""
    await add_user(registry, "second")
    await registry.access.users.add_group("chiefs", OPERATING)
    await grant(registry, "group:chiefs", {"**": "admin"})
    with pytest.raises(Conflict):  # a group without members administers nothing
        await revoke(registry, f"user:{ADMIN}", "**")
    await registry.access.users.add_member("chiefs", "second", OPERATING)
    await revoke(registry, f"user:{ADMIN}", "**")


LAST_BY_GROUP: dict[str, Callable[[Registry], Awaitable[object]]] = {
    "member removed": lambda registry: registry.access.users.remove_member("chiefs", "second", OPERATING),
    "group deleted": lambda registry: registry.access.users.delete_group("chiefs", OPERATING),
    "grant of the group removed": lambda registry: revoke(registry, "group:chiefs", "**"),
    "member disabled": lambda registry: registry.access.users.set_disabled("second", OPERATING, disabled=True),
    "member deleted": lambda registry: registry.access.users.delete("second", OPERATING),
}


def test_a20_the_last_administrator_may_be_one_by_a_group(server: LiveServer) -> None:
    operate(server, _administrators)
    try:
        for remove in LAST_BY_GROUP.values():
            with pytest.raises(Conflict, match="nobody would be left"):
                operate(server, remove)
    finally:
        operate(server, lambda registry: grant(registry, f"user:{ADMIN}", {"**": "admin"}))
    operate(server, LAST_BY_GROUP["group deleted"])


@pytest.mark.parametrize("subject", ["robot:build", "ci:deploy", "authenticated", "anonymous"])
@pytest.mark.parametrize("pattern", ["**", "team/**", "team/app"])
def test_a20_what_is_no_person_is_granted_no_admin(robots: Robots, subject: str, pattern: str) -> None:
    with pytest.raises(Invalid):
        operate(robots.server, lambda registry: grant(registry, subject, {pattern: "pull,admin"}))


def test_a20_not_even_beside_what_it_has(robots: Robots) -> None:
    operate(robots.server, lambda registry: grant(registry, "robot:build", {"team/*": "pull"}))
    with pytest.raises(Invalid):
        operate(robots.server, lambda registry: grant(registry, "robot:build", {"team/*": "admin"}))


def test_a20_a_robot_of_an_administrator_administers_nothing(server: LiveServer) -> None:
    """Whatever it asks for: its token is not for the API, and the API takes no robot."""

    async def make(registry: Registry) -> str:
        secret = await add_robot(registry, "chief", by=Caller(Identity(f"user:{ADMIN}"), "test"))
        await grant(registry, "robot:chief", {"**": "pull,push,overwrite,delete"})
        return secret

    secret = operate(server, make)
    settle()
    credentials = basic("robot$chief", secret)
    made = bearer(token(server, credentials | from_somewhere(), "registry:api:*", "repository:team/app:*,admin"))
    before = query(server, "SELECT count(*) FROM user_account"), query(server, "SELECT count(*) FROM access_grant")
    for headers in (credentials, made):
        for target in ("users", "groups", "robots", "grants"):
            answer = request(server, "POST", f"/api/v1/{target}", b"{}", headers=headers | from_somewhere())
            assert answer.status in (401, 403, 404), answer.story
    after = query(server, "SELECT count(*) FROM user_account"), query(server, "SELECT count(*) FROM access_grant")
    assert after == before
