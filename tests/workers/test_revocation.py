"""A right that ends has ended in every worker within five seconds (A-05)."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from registry.assembly import Registry
from registry.domain.access import Caller, Identity
from tests.support.access import (
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
)
from tests.support.ci import github_rule
from tests.support.credentials import FORM, from_somewhere, guarded_server, through_proxy
from tests.support.issuer import Issuer, github_claims, running_issuer
from tests.support.server import LiveServer
from tests.support.wire import Wire, head

SECONDS = 5.0
WORKERS = 2
CONNECTIONS = 40
SCOPE = "repository:team/app:pull"
TARGET = "/v2/team/app/manifests/none"
WORKS = 404

Change = Callable[[Registry, str], Awaitable[object]]


@dataclass
class Case:
    """Somebody who may pull, what ends that, and the answer from then on. `name` is theirs, and of all around them."""

    name: str
    change: Change
    refused: int
    ways: tuple[str, ...] = ("bearer", "basic", "refresh")
    robot: bool = False
    secret: str = PASSWORD
    requests: dict[str, bytes] = field(default_factory=dict)

    @property
    def login(self) -> tuple[str, str]:
        return (f"robot${self.name}" if self.robot else self.name), self.secret


async def _disable(registry: Registry, user: str) -> None:
    await registry.access.users.set_disabled(user, OPERATING, disabled=True)


async def _delete(registry: Registry, user: str) -> None:
    await registry.access.users.delete(user, OPERATING)


async def _recreate(registry: Registry, user: str) -> None:
    """Another user of that name and with that password."""
    await _delete(registry, user)
    await add_user(registry, user, **{"team/**": "pull"})


async def _new_password(registry: Registry, user: str) -> None:
    await registry.access.users.set_password(user, "another one", OPERATING)


async def _same_password(registry: Registry, user: str) -> None:
    await registry.access.users.set_password(user, PASSWORD, OPERATING)


async def _leave_group(registry: Registry, user: str) -> None:
    await registry.access.users.remove_member("members", user, OPERATING)


async def _delete_group(registry: Registry, user: str) -> None:
    await registry.access.users.delete_group(f"{user}-group", OPERATING)


async def _take_grant(registry: Registry, user: str) -> None:
    await revoke(registry, f"user:{user}", "team/**")


async def _take_rule_grant(registry: Registry, rule: str) -> None:
    await revoke(registry, f"ci:{rule}", "team/**")


async def _delete_rule(registry: Registry, rule: str) -> None:
    await registry.access.rules.delete(rule, OPERATING)


async def _revoke_secret(registry: Registry, robot: str) -> None:
    (secret,) = await registry.access.robots.secrets_of(await registry.access.robots.get(robot))
    await registry.access.robots.revoke(robot, secret.id, OPERATING)


async def _rotate(registry: Registry, robot: str) -> None:
    await registry.access.robots.rotate(robot, DAY, 0, OPERATING)


async def _disable_robot(registry: Registry, robot: str) -> None:
    await registry.access.robots.set_disabled(robot, OPERATING, disabled=True)


async def _delete_robot(registry: Registry, robot: str) -> None:
    await registry.access.robots.delete(robot, OPERATING)


def _of_owner(change: Change) -> Change:
    return lambda registry, robot: change(registry, f"{robot}-owner")


TOKENS = ("bearer", "refresh")
USES = ("bearer", "basic")
CASES = [
    Case("grant", _take_grant, 403, USES),
    Case("password", _new_password, 401),
    Case("same-password", _same_password, 401, TOKENS),
    Case("disabled", _disable, 401),
    Case("deleted", _delete, 401),
    Case("recreated", _recreate, 401, TOKENS),
    Case("member", _leave_group, 403, USES),
    Case("group", _delete_group, 403, USES),
    Case("secret", _revoke_secret, 401, robot=True),
    Case("rotated", _rotate, 401, robot=True),
    Case("robot-disabled", _disable_robot, 401, robot=True),
    Case("robot-deleted", _delete_robot, 401, robot=True),
    Case("owner-deleted", _of_owner(_delete), 401, robot=True),
    Case("owner-recreated", _of_owner(_recreate), 401, robot=True),
    Case("owner-disabled", _of_owner(_disable), 401, robot=True),
    Case("owner-grant", _of_owner(_take_grant), 403, USES, robot=True),
    Case("rule", _delete_rule, 401, TOKENS),
    Case("rule-grant", _take_rule_grant, 403, ("bearer",)),
]
# The jobs of each rule
REPOSITORY_IDS = {"rule": "1", "rule-grant": "2"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@dataclass(frozen=True)
class Ended:
    """A server on which all that ended just now. `seconds`: how long it took until every worker refused each case."""

    server: LiveServer
    seconds: dict[str, float]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Ended]:
    """Everybody worked, and each worker had seen that."""
    with (
        guarded_server(tmp_path_factory.mktemp("revocation"), REGISTRY_HTTP_WORKERS=str(WORKERS)) as server,
        ExitStack() as stack,
    ):
        operate(server, lambda registry: _people(registry, issuer))
        settle()
        wires = [found[0] for found in connect(server, stack, 10)]
        for case in CASES:
            _log_in(server, case, issuer)
            for way, data in case.requests.items():
                assert [_ask(wire, data) for wire in wires] == [_works(way)] * WORKERS, (case.name, way)
        operate(server, _end_all)
        yield Ended(server, dict(_refusing(wires)))


async def _end_all(registry: Registry) -> None:
    for case in CASES:
        await case.change(registry, case.name)


def _refusing(wires: list[Wire]) -> Iterator[tuple[str, float]]:
    """When each case was refused by every worker in every way."""
    began = time.monotonic()
    left = {case.name: case for case in CASES}
    while left and time.monotonic() - began < 2 * SECONDS:
        for name, case in list(left.items()):
            if all(_ask(wire, data) == _refused(case, way) for way, data in case.requests.items() for wire in wires):
                del left[name]
                yield name, time.monotonic() - began


async def _people(registry: Registry, issuer: Issuer) -> None:
    access = registry.access
    await access.users.add_group("members", OPERATING)
    await grant(registry, "group:members", {"team/**": "pull"})
    for case in CASES:
        name = case.name
        if name in REPOSITORY_IDS:
            claims = {"repository_id": (REPOSITORY_IDS[name],)}
            await access.rules.add(github_rule(issuer.url, name, **claims), OPERATING)
            await grant(registry, f"ci:{name}", {"team/**": "pull"})
        elif case.robot:
            await add_user(registry, f"{name}-owner", **{"team/**": "pull"})
            owner = Caller(Identity(f"user:{name}-owner"), "test")
            case.secret = await add_robot(registry, name, DAY, owner)
            await grant(registry, f"robot:{name}", {"team/**": "pull"})
        else:
            await add_user(registry, name)
            await _grant_user(registry, name)


async def _grant_user(registry: Registry, name: str) -> None:
    users = registry.access.users
    if name == "member":
        await users.add_member("members", name, OPERATING)
    elif name == "group":
        await users.add_group("group-group", OPERATING)
        await users.add_member("group-group", name, OPERATING)
        await grant(registry, "group:group-group", {"team/**": "pull"})
    else:
        await grant(registry, f"user:{name}", {"team/**": "pull"})


def _log_in(server: LiveServer, case: Case, issuer: Issuer) -> None:
    login = case.login
    if case.name in REPOSITORY_IDS:
        login = ("job", issuer.mint(**github_claims(repository_id=REPOSITORY_IDS[case.name])))
    answer = ask_token(server, basic(*login) | from_somewhere(), SCOPE, offline_token="true")
    assert answer.status == 200, answer.story
    form = f"grant_type=refresh_token&scope={SCOPE}&refresh_token={answer.document['refresh_token']}".encode()
    requests = {
        "bearer": head("GET", TARGET, bearer(answer.document["token"]) | KEEP | from_somewhere()),
        "basic": head("GET", TARGET, basic(*login) | KEEP | ANYWHERE),
        "refresh": head("POST", "/auth/token", FORM | KEEP | {"Content-Length": str(len(form))}) + form,
    }
    case.requests = {way: requests[way] for way in case.ways}


KEEP = {"Connection": "keep-alive"}
# Each try of a wrong password comes from somewhere else, so that no limit answers in the place of a check
ANYWHERE = through_proxy("ANYWHERE")


def _works(way: str) -> int:
    return 200 if way == "refresh" else WORKS


def _refused(case: Case, way: str) -> int:
    return 401 if way == "refresh" else case.refused


def connect(server: LiveServer, stack: ExitStack, count: int) -> list[list[Wire]]:
    """So many fresh connections and more, if it takes that: those of each worker."""
    found: dict[int, list[Wire]] = {pid: [] for pid in server.workers}
    while not all(found.values()) or sum(map(len, found.values())) < count:
        wires = [stack.enter_context(Wire(server)).send(head("GET", "/livez", KEEP)) for _ in range(count)]
        for wire in wires:  # all at once, so that no worker has time to take all of them
            assert wire.answer().status == 200
        owners = _owners(server)
        for wire in wires:
            found[owners[wire._socket.getsockname()[1]]].append(wire)
    return list(found.values())


def _owners(server: LiveServer) -> dict[int, int]:
    """The worker that holds the other end, by the port of this end."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    ports = {f"socket:[{fields[9]}]": int(fields[2].rpartition(":")[2], 16) for fields in lines}
    return {
        ports[link]: pid
        for pid in server.workers
        for link in (str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir())
        if link in ports
    }


def asked(server: LiveServer, data: bytes, connections: int) -> list[set[int]]:
    """The answers of each worker, on so many fresh connections."""
    with ExitStack() as stack:
        return [{_ask(wire, data) for wire in wires} for wires in connect(server, stack, connections)]


def _ask(wire: Wire, data: bytes) -> int:
    somewhere = from_somewhere()["X-Forwarded-For"].encode()
    return wire.send(data.replace(b"ANYWHERE", somewhere)).answer().status


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a05_what_ended_is_refused_by_every_worker_soon_and_for_good(ended: Ended, case: Case) -> None:
    assert ended.seconds.get(case.name, 2 * SECONDS) < SECONDS
    for way, data in case.requests.items():
        connections = CONNECTIONS if way == "bearer" else 4
        assert asked(ended.server, data, connections) == [{_refused(case, way)}] * WORKERS, way


def test_a05_what_was_public_is_not(ended: Ended) -> None:
    """With a token that was made before, and without one."""
    server, scope = ended.server, "repository:public/app:pull"
    operate(server, lambda registry: grant(registry, "anonymous", {"public/**": "pull"}))
    settle()
    made = ask_token(server, from_somewhere(), scope).document
    assert made["scope"] == scope
    target = TARGET.replace("team", "public")
    requests = [head("GET", target, KEEP | credentials) for credentials in ({}, bearer(made["token"]))]
    assert [asked(server, data, 4) for data in requests] == [[{WORKS}] * WORKERS] * 2
    operate(server, lambda registry: revoke(registry, "anonymous", "public/**"))
    settle()
    assert [asked(server, data, CONNECTIONS) for data in requests] == [[{401}] * WORKERS] * 2


def test_a05_a_new_right_is_there_as_soon(ended: Ended) -> None:
    """But a token that asked for it in vain stays what it is."""
    server = ended.server
    operate(server, lambda registry: add_user(registry, "newcomer"))
    settle()
    newcomer = basic("newcomer") | KEEP
    in_vain = ask_token(server, basic("newcomer"), SCOPE).document["token"]
    requests = [head("GET", TARGET, newcomer), head("GET", TARGET, bearer(in_vain) | KEEP)]
    assert [asked(server, data, 4) for data in requests] == [[{403}] * WORKERS] * 2
    operate(server, lambda registry: grant(registry, "user:newcomer", {"team/**": "pull"}))
    settle()
    assert [asked(server, data, 4) for data in requests] == [[{WORKS}] * WORKERS, [{403}] * WORKERS]
    again = ask_token(server, basic("newcomer"), SCOPE).document["token"]
    assert asked(server, head("GET", TARGET, bearer(again) | KEEP), 4) == [{WORKS}] * WORKERS
