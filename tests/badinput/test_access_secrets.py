"""Passwords, secrets and tokens stay with those who have them: planted everywhere, found nowhere (A-23)."""

import base64
import json
import secrets
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from registry.metadata import snapshots
from tests.support.access import ADMIN, OPERATING, PASSWORD, ask_token, basic, bearer, grant, operate, required, settle
from tests.support.ci import github_rule
from tests.support.credentials import from_somewhere, guarded_server, post_token, through_proxy
from tests.support.issuer import Issuer, github_claims, running_issuer
from tests.support.server import LiveServer
from tests.support.wire import Answer, Wire, assert_no_traceback, eventually, head, query, raw, request

SCOPE = "repository:team/app:pull,push"
TARGET = "/v2/team/app/tags/list"
# Shows that the log would have told: what stands beside it in the same request is there
SEEN = "agent-was-here"
# Where nothing but what we wrote ourselves is in the clear
OURS = "ours"


@dataclass
class World:
    """A server, what nobody may find, and all that it said but for what it handed out."""

    server: LiveServer
    issuer: Issuer
    canaries: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, bytes]] = field(default_factory=list)

    def plant(self, label: str, secret: str = "") -> str:
        """A secret that is not to be found from now on; made here if it is not given."""
        made = secret or f"canary-{label.replace(' ', '-')}-{secrets.token_hex(8)}"
        self.canaries[label] = made
        return made

    def hear(self, answer: Answer) -> Answer:
        fields = "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
        self.told.append((f"{answer.method} {answer.target[:60]}", fields.encode() + answer.body))
        return answer

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        return self.hear(request(self.server, method, target, body, headers=from_somewhere() | headers))

    def command(self, *arguments: str, typed: str = "", hands_out: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "registry", *arguments],
            env=self.server.environment(),
            cwd=self.server.folder,
            input=typed.encode(),
            capture_output=True,
            check=False,
        )
        self.told.append((" ".join(arguments), done.stderr + (b"" if hands_out else done.stdout)))
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def assert_kept(self) -> None:
        """No canary in anything that was written or told."""
        places = [*self.told, *self._written()]
        needles = {f"{label}, {how}": text for label, secret in self.canaries.items() for how, text in _forms(secret)}
        found = [(needle, place) for needle, text in needles.items() for place, data in places if text in data]
        assert found == []

    def _written(self) -> Iterator[tuple[str, bytes]]:
        """Each file of the server: log, database, write-ahead log, copies, blobs."""
        yield "/metrics", request(self.server, "GET", "/metrics").body
        for path in self.server.folder.rglob("*"):
            if path.is_file() and OURS not in path.parts:
                yield str(path.relative_to(self.server.folder)), path.read_bytes()


def _forms(secret: str) -> Iterator[tuple[str, bytes]]:
    """As it is, and as parts of what clients send."""
    yield "plain", secret.encode()
    yield "escaped", quote(secret).encode()
    yield "JSON", json.dumps(secret)[1:-1].encode()
    for shift in range(3):  # in the middle of base64, wherever it begins
        encoded = base64.b64encode(b"\0" * shift + secret.encode())
        yield f"base64 behind {shift}", encoded[4 if shift else 0 : -4]
    if secret.count(".") == 2:
        yield "signature", secret.rpartition(".")[2].encode()
    if secret.count("_") == 3:
        yield "random part", secret.split("_")[2].encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One that logs all it can. Its administrator's password comes from a setting."""
    administrator = f"canary-administrator-{secrets.token_hex(8)}"
    folder = tmp_path_factory.mktemp("secrets")
    (folder / OURS).mkdir()
    with running_issuer() as issuer, guarded_server(folder, REGISTRY_AUTH_ADMINSECRET=administrator) as server:
        world = World(server, issuer)
        world.plant("administrator", administrator)
        world.plant("password of the tests", PASSWORD)
        operate(server, lambda registry: registry.access.rules.add(github_rule(issuer.url), OPERATING))
        operate(server, lambda registry: grant(registry, "ci:deploy", {"team/**": "pull,push"}))
        settle()
        yield world


def test_a23_the_first_start_does_not_show_a_password_that_was_given(world: World) -> None:
    assert "auth.adminsecret" in world.server.log.read_text()
    assert world.ask("GET", "/v2/", basic(ADMIN, world.canaries["administrator"])).status == 200
    world.assert_kept()


def test_a23_right_and_wrong_passwords(world: World) -> None:
    wrong, as_name = world.plant("wrong password"), world.plant("password typed as the name")
    seen = {"User-Agent": SEEN, "Referer": f"http://localhost/?password={wrong}"}
    for name, password, status in (
        ("alice", PASSWORD, 200),
        ("alice", wrong, 401),
        (as_name, PASSWORD, 401),
        (f"robot${as_name}", wrong, 401),
        ("nobody", wrong, 401),
    ):
        credentials = basic(name, password) | seen
        assert world.ask("GET", "/v2/", credentials).status == status
        # the target is in no log beside its path, and names nobody
        answer = world.ask("GET", f"/auth/token?account={quote(name)}&password={wrong}&service=x", credentials)
        assert answer.status == status
        form = {"grant_type": "password", "username": name, "password": password}
        assert post_token(world.server, from_somewhere() | seen, **form).status == status
    world.told = [(place, data) for place, data in world.told if b'"token"' not in data]
    eventually(lambda: SEEN in world.server.log.read_text())
    failed = {details for (details,) in query(world.server, "SELECT details FROM event WHERE action = 'login.failed'")}
    assert failed == {'{"user": "alice"}', '{"user": "(unknown)"}'}
    world.assert_kept()


def test_a23_a_flood(world: World) -> None:
    wrong = world.plant("password in a flood")
    somewhere = through_proxy("192.0.2.23")
    for number in range(12):
        credentials = basic("alice", f"{wrong}-{number}") | somewhere
        assert world.hear(request(world.server, "GET", "/v2/", headers=credentials)).status in (401, 429)
    world.assert_kept()


def test_a23_tokens(world: World) -> None:
    made = ask_token(world.server, basic("alice") | from_somewhere(), SCOPE, offline_token="true").document
    access, refresh = world.plant("access token", made["token"]), world.plant("refresh token", made["refresh_token"])
    form = {"grant_type": "refresh_token", "refresh_token": refresh, "scope": SCOPE}
    renewed = post_token(world.server, from_somewhere(), **form).document
    assert renewed["refresh_token"] == refresh
    world.plant("renewed token", renewed["token"])
    start, _, signature = access.rpartition(".")
    changed = f"{start}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for text, status in ((access, 404), (changed, 401), (refresh, 401)):
        assert world.ask("GET", TARGET, bearer(text)).status == status
    for text in (access, changed, refresh):
        world.ask(
            "GET", f"{TARGET}?access_token={text}&token={text}", {"Cookie": f"token={text}", "X-Auth-Token": text}
        )
        world.ask("GET", "/v2/", {"Authorization": text})
        world.ask("GET", "/auth/token", {"Authorization": f"Bearer {text}"})
        assert world.ask("GET", "/v2/", basic("alice", text)).status == 401
        assert world.ask("GET", "/v2/", basic(text[:200], PASSWORD)).status == 401
        world.hear(post_token(world.server, from_somewhere(), grant_type="refresh_token", refresh_token=text + "x"))
    world.assert_kept()


def test_a23_jobs(world: World) -> None:
    good = world.plant("CI token", world.issuer.mint(**github_claims()))
    other = world.plant("CI token of another job", world.issuer.mint(**github_claims(repository_id="4321")))
    made = ask_token(world.server, basic("job", good) | from_somewhere(), SCOPE, offline_token="true").document
    world.plant("token of a job", made["token"])
    world.plant("refresh token of a job", made["refresh_token"])
    for text in (good, other):
        assert world.ask("GET", "/auth/token", basic("job", text)).status == 401
        assert world.ask("GET", "/v2/", basic("job", text)).status == 401
        assert world.ask("GET", "/v2/", bearer(text)).status == 401
        assert world.ask("GET", "/auth/token", basic(text[:300], "x")).status == 401
    path = world.server.folder / OURS / "token"
    path.write_text(other)
    told = world.server.digestry("ci", "test", str(path))
    assert told.returncode == 1
    world.told.append(("ci test", (told.stdout + told.stderr).encode()))
    world.assert_kept()


def test_a23_commands(world: World) -> None:
    password, again = world.plant("password by a command"), world.plant("another by a command")
    world.command("user", "add", "carol", typed=f"{password}\n")
    world.command("user", "password", "carol", typed=f"{again}\n")
    world.plant("robot secret", world.command("robot", "add", "build", hands_out=True))
    world.plant("rotated secret", world.command("robot", "rotate", "build", hands_out=True))
    world.command("grant", "add", "robot:build", "team/**", "pull")
    settle()
    assert world.ask("GET", "/v2/", basic("carol", again)).status == 200
    assert world.ask("GET", TARGET, basic("robot$build", world.canaries["robot secret"])).status == 404
    assert world.ask("GET", TARGET, basic("robot$build", world.canaries["rotated secret"] + "0")).status == 401
    for arguments in (
        ("config", "show"),
        ("config", "show", "--json"),
        ("config", "check"),
        ("user", "list"),
        ("robot", "list"),
        ("robot", "show", "build"),
        ("robot", "show", "build", "--json"),
        ("grant", "list"),
        ("access", "explain", "--as", "robot:build", "--on", "team/app"),
        ("audit", "list"),
        ("audit", "list", "--json"),
        ("audit", "export"),
        ("audit", "verify"),
    ):
        world.command(*arguments)
    short = world.plant("password that is too long", "canary-too-long-" + "x" * 80)
    refused = subprocess.run(
        [sys.executable, "-m", "registry", "user", "add", "dave"],
        env=world.server.environment(),
        input=f"{short}\n".encode(),
        capture_output=True,
        check=False,
    )
    assert refused.returncode != 0
    world.told.append(("user add", refused.stdout + refused.stderr))
    world.assert_kept()


def test_a23_the_administrative_api(world: World) -> None:
    password, mine = world.plant("password by the API"), world.plant("password of one's own")
    odd = world.plant("password as another field")
    administrator = basic(ADMIN, world.canaries["administrator"]) | {"Content-Type": "application/json"}

    def send(
        method: str,
        target: str,
        body: object,
        status: int,
        *,
        hands_out: bool = False,
        by: dict[str, str] | None = None,
    ) -> Answer:
        headers = from_somewhere() | administrator | (by or {})
        data = json.dumps(body).encode()
        answer = request(world.server, method, f"/api/v1/{target}", data, headers=headers)
        assert answer.status == status, answer.story
        return answer if hands_out else world.hear(answer)

    send("POST", "users", {"name": "erin", "password": password}, 201)
    send("POST", "users", {"name": "erin", "password": password}, 409)
    send("POST", "users", {"name": odd + "!", "password": password}, 400)
    send("POST", "users", {"name": "frank", "password": ["canary-in-a-list", odd]}, 400)
    send("POST", "users", {"name": "frank", "password": "x" * 80 + odd}, 400)
    send("POST", "users", {"name": "frank", "password": odd + "\n"}, 400)
    send("PUT", "users/nobody/password", {"password": odd}, 404)
    made = send("POST", "robots", {"name": "api"}, 201, hands_out=True).document
    world.plant("robot secret of the API", made["secret"])
    world.plant("rotated by the API", send("POST", "robots/api/secrets", {}, 201, hands_out=True).document["secret"])
    send("GET", "robots/api", {}, 200)
    send("GET", "audit", {}, 200)
    settle()
    erin = basic("erin", password)
    send("PUT", "me/password", {"current": mine, "new": mine}, 403, by=erin)
    send("PUT", "me/password", {"current": password, "new": mine}, 204, by=erin)
    send("GET", f"users?password={odd}", {}, 400)
    send("POST", f"users?password={odd}", {}, 400)
    world.assert_kept()


@pytest.mark.parametrize(
    "make",
    [
        lambda secret: f"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {secret}\0\r\n\r\n",
        lambda secret: f"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {secret}\r\n\r\n",
        lambda secret: f"GET /v2/ HTTP/1.1\r\nHost: x\r\n{secret}\r\n\r\n",
        lambda secret: f"GET /auth/token?password={secret} HTTP/9.9\r\nHost: x\r\n\r\n",
        lambda secret: (
            f"GET http://alice:{secret}@localhost/auth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ),
        lambda secret: f"GET http://alice:{secret}@localhost/v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        lambda secret: (
            "POST /auth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            f"{secret}\r\n"
        ),
        lambda secret: (
            f"POST /auth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(secret) + 9}\r\n\r\n"
            f"password={secret}"
        ),
        lambda secret: (
            f"POST /auth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(secret) + 1}\r\n\r\n"
            f"\xff{secret}"
        ),
    ],
    ids=range(9),
)
def test_a23_requests_that_are_none(world: World, make: Callable[[str], str]) -> None:
    """Not understood, or not what the token service takes."""
    secret = world.plant("secret in a broken request")
    answer = world.hear(raw(world.server, make(secret).encode("latin-1")))
    assert answer.status in (200, 400, 401, 505), answer.story
    world.told = [(place, data) for place, data in world.told if b'"token"' not in data]
    world.assert_kept()


def test_a23_requests_that_are_cut_off(world: World) -> None:
    secret = world.plant("secret in a torn request")
    body = f"grant_type=password&username={secret}&password={secret}".encode()
    whole = head("POST", "/auth/token", {"Content-Length": "999", **basic("alice", secret)}) + body
    for cut in (len(whole) // 2, len(whole)):
        with Wire(world.server) as wire:
            wire.send(whole[:cut])
            wire.reset()
    time.sleep(0.1)
    world.assert_kept()


def test_a23_copies_of_the_database(world: World) -> None:
    """The daily one, and SQLite's own backup, with all that was stored before it."""
    copy = snapshots.take_daily(world.server.data / "registry.db", time.time_ns() // 1_000_000)
    assert copy.stat().st_size > 0
    assert list((world.server.data / "snapshots").glob("*.db"))
    world.assert_kept()


def test_a23_hashes_and_keys_are_what_is_stored(world: World) -> None:
    """The check above would find something: what it searches has the rows."""
    passwords = [row[0] for row in query(world.server, "SELECT password FROM user_account")]
    assert len(passwords) >= 4
    assert all(password.startswith("$2b$10$") for password in passwords)
    hashes = query(world.server, "SELECT hash FROM robot_secret UNION ALL SELECT hash FROM refresh_token")
    assert len(hashes) >= 6
    assert all(len(row[0]) == 64 for row in hashes)
    files = dict(world._written())
    stored = files["data/registry.db"] + files["data/registry.db-wal"]
    assert all(password.encode() in stored for password in passwords)
    assert sum(SEEN.encode() in data for data in files.values()) == 1, "the log"


def test_a23_failures_inside(world: World) -> None:
    """A traceback is logged, but not the values of its statement. From here on the server is broken."""
    wrong = world.plant("password while the database is broken")
    with closing(sqlite3.connect(world.server.data / "registry.db")) as database:
        for table in ("event", "refresh_token", "user_account"):
            database.execute(
                f"CREATE TRIGGER broken_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
    before = len(world.server.tracebacks())
    assert world.ask("GET", "/v2/", basic("alice", wrong)).status >= 401
    assert world.ask("GET", "/auth/token", basic("alice", wrong)).status >= 401
    offline = world.ask("GET", "/auth/token?offline_token=true", basic("alice"))
    assert offline.status >= 500, offline.story
    administrator = basic(ADMIN, world.canaries["administrator"]) | {"Content-Type": "application/json"}
    body = json.dumps({"name": "grace", "password": wrong}).encode()
    assert world.ask("POST", "/api/v1/users", administrator, body).status >= 500
    eventually(lambda: len(world.server.tracebacks()) > before)
    try:
        world.assert_kept()
    finally:
        with closing(sqlite3.connect(world.server.data / "registry.db")) as database:
            for table in ("event", "refresh_token", "user_account"):
                database.execute(f"DROP TRIGGER broken_{table}")
        world.server.log.write_text("")  # the tracebacks were wanted
        assert_no_traceback(world.server)


def test_a23_a_password_that_was_made_up_is_shown_once(tmp_path: Path) -> None:
    """To whoever starts the registry, and to nobody later."""
    server = LiveServer(tmp_path, required(REGISTRY_AUTH_ADMINSECRET="")).start()
    try:
        lines = server.log.read_text().splitlines()
        shown = [line.strip() for line in lines if line.startswith("    ") and line.strip()]
        assert len(shown) == 1
        (password,) = shown
        assert len(password) >= 24
        assert request(server, "GET", "/v2/", headers=basic(ADMIN, password)).status == 200
        assert server.stop() == 0
        server.start()
        assert request(server, "GET", "/v2/", headers=basic(ADMIN, password)).status == 200
        assert server.log.read_text().count(password) == 1
        stored = [path for path in server.data.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
        assert stored == []
    finally:
        server.stop()
