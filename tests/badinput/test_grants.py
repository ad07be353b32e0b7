"""Repositories that are somebody else's, told from none: uploads, mounts, tags, tokens (reliability b-1, b-3 to b-5).

Two workers serve, so that what one of them remembers helps nobody at the other.
"""

import json
import select
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from threading import Barrier

import pytest

from registry.api.routes import ENDPOINTS
from registry.api.routing import Route
from registry.assembly import Registry
from registry.config import Settings
from registry.domain.access import Caller, Identity
from registry.domain.names import Digest, RepositoryName
from tests.support.access import (
    OPERATING,
    add_robot,
    add_user,
    basic,
    bearer,
    each_worker,
    grant,
    operate,
    required,
    revoke,
    settle,
    token,
)
from tests.support.images import DOCKER, OCI, blob, digest_of, encode, image, image_manifest, index_manifest
from tests.support.registry import CALLER, DAY, push
from tests.support.routes import IMAGE, LATER, LOOSE, NEWER, TAG, Ask, asks, begin, put, stock
from tests.support.server import LiveServer
from tests.support.wire import Answer, Wire, assert_sound, chunk, eventually, head, query, request

HOST = "https://registry.test"
SETTINGS = {
    "REGISTRY_HTTP_WORKERS": "2",
    "REGISTRY_HTTP_HOST": HOST,
    # What is refused here is refused often
    "REGISTRY_RATELIMIT_FAILURES": "",
    "REGISTRY_RATELIMIT_ADDRESSFAILURES": "",
}
DEADLINE_SECONDS = 5.0

SECRET = blob(b"only in hidden/secret and, for a while, in team/was")
OURS = blob(b"only in team/has")
LENT = blob(b"only in lent/blob")
NOWHERE = blob(b"nowhere")
ANONYMOUS: Mapping[str, str] = {}

Credentials = Mapping[str, str]


@dataclass(frozen=True)
class Site:
    """A server and the robot's secret."""

    server: LiveServer
    robot: str

    def send(self, ask: Ask, credentials: Credentials) -> Answer:
        return request(self.server, ask.method, ask.target, ask.body, headers={**ask.headers, **credentials})


async def people(registry: Registry) -> str:
    """team/** and public/** are for work, hidden/** is the keeper's alone, lent/** for a while the guest's."""
    writing = "pull,push"
    await grant(registry, "anonymous", {"public/**": writing})
    await add_user(registry, "keeper", **{"hidden/**": "pull,push,overwrite,delete"})
    await add_user(registry, "writer", **{"team/**": writing})
    await add_user(registry, "other", **{"team/**": writing})
    await add_user(registry, "guest", **{"team/**": writing, "lent/**": "pull"})
    await add_user(registry, "outsider")
    await add_user(registry, "deep", **{"a/b": "pull,push,delete"})
    await add_user(registry, "flat", a="pull,push,delete")
    secret = await add_robot(registry, "build")
    await grant(registry, "robot:build", {"team/**": writing})
    for name in ("a", "a/b", "hidden/full", "team/two"):
        await stock(registry, name)
    for name, part in {"hidden/secret": SECRET, "team/was": SECRET, "team/has": OURS, "lent/blob": LENT}.items():
        await push(registry, part.data, RepositoryName(name))
    await registry.blobs.delete(RepositoryName("team/was"), Digest(SECRET.digest), CALLER)
    return secret


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = LiveServer(tmp_path_factory.mktemp("grants"), required(**SETTINGS)).start()
    site = Site(server, operate(server, people))
    settle()
    yield site
    assert_sound(server)
    assert server.stop() == 0


@pytest.fixture(scope="module")
def new_name() -> Callable[[str], str]:
    """Names of repositories that no test has used."""
    numbers = count()
    return lambda folder: f"{folder}/n{next(numbers)}"


NewName = Callable[[str], str]


def assert_error(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status, answer.story
    assert answer.code == ("" if answer.method == "HEAD" else code), answer.story
    assert len(answer.headers.get_all("WWW-Authenticate", [])) == (status == 401), answer.story
    assert "error=" not in answer.headers.get("WWW-Authenticate", ""), answer.story


def told(answer: Answer, *own: str) -> tuple[object, ...]:
    """All that an answer tells, but for what is each answer's own: the time, the request, and these words."""
    body, headers = answer.body.decode(), {key.lower(): value for key, value in answer.headers.items()}
    for word in own:
        body = body.replace(word, "WORD")
        headers = {key: value.replace(word, "WORD") for key, value in headers.items()}
    return answer.status, {**headers, "date": "", "x-request-id": ""}, body


# --- U-01 ------------------------------------------------------------------------------------------------------------

SESSION = {"GET": 204, "HEAD": 204, "PATCH": 202, "PUT": 201, "DELETE": 204}
# By caller, what it gets where the upload is, where it may push too, and where it may not
U01 = {
    "who began it": (None, 404, 403),
    "another user": (404, 404, 403),
    "a robot": (404, 404, 403),
    "anonymous": (404, 404, 401),
}
CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "BLOB_UPLOAD_UNKNOWN"}


def session_ask(method: str, name: str, upload_id: str) -> Ask:
    return asks(name, upload_id)[Route.UPLOAD, method]


@pytest.mark.parametrize("place", range(3), ids=["its own repository", "another repository", "a hidden repository"])
@pytest.mark.parametrize("method", SESSION)
@pytest.mark.parametrize("caller", U01)
def test_u01_uploads_are_their_owner_s_in_their_repository(
    site: Site, new_name: NewName, caller: str, method: str, place: int
) -> None:
    own = new_name("public")
    upload_id = operate(site.server, lambda registry: begin(registry, own, "user:writer"))
    name = (own, new_name("public"), "hidden/full")[place]
    callers = {
        "who began it": basic("writer"),
        "another user": basic("other"),
        "a robot": basic("robot$build", site.robot),
        "anonymous": ANONYMOUS,
    }

    answer = site.send(session_ask(method, name, upload_id), callers[caller])

    expected = U01[caller][place]
    if expected is None:
        assert answer.status == SESSION[method], answer.story
        return
    assert_error(answer, expected, CODES[expected])
    status = site.send(session_ask("GET", own, upload_id), basic("writer"))
    assert (status.status, status.headers["Range"]) == (204, "0--1"), status.story


@pytest.mark.parametrize("method", SESSION)
def test_u01_what_anonymous_began_is_no_user_s(site: Site, new_name: NewName, method: str) -> None:
    own = new_name("public")
    started = site.send(asks(own)[Route.UPLOADS, "POST"], ANONYMOUS)
    answer = site.send(session_ask(method, own, started.headers["Docker-Upload-UUID"]), basic("writer"))
    assert_error(answer, 404, "BLOB_UPLOAD_UNKNOWN")


# --- U-10, U-11 ------------------------------------------------------------------------------------------------------

SOURCES = {
    "unreadable": "hidden/secret",
    "missing": "team/none",
    "missing and unreadable": "hidden/none",
    "deleted": "team/was",
    "no name": "team/../has",
    "nowhere": None,
}
READABLE = "team/has"


def mount(target: str, digest: str, source: str | None) -> Ask:
    return Ask("POST", f"/v2/{target}/blobs/uploads/?mount={digest}" + (f"&from={source}" if source else ""))


@pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))
def test_u10_a_mount_that_can_not_be_is_an_upload(site: Site, new_name: NewName, source: str | None) -> None:
    target = new_name("team")
    answer = site.send(mount(target, SECRET.digest, source), basic("writer"))
    assert (answer.status, bool(answer.headers["Docker-Upload-UUID"])) == (202, True), answer.story


@pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))
def test_u10_a_token_is_challenged_once(site: Site, new_name: NewName, source: str | None) -> None:
    """Until it was asked for, whether it could be had or not."""
    target = new_name("team")
    ask, scope = mount(target, SECRET.digest, source), f"repository:{target}:pull,push"
    answer = site.send(ask, bearer(token(site.server, basic("writer"), scope)))
    if source is not None and ".." not in source:
        assert_error(answer, 401, "UNAUTHORIZED")
        scope += f" repository:{source}:pull"
        assert answer.headers["WWW-Authenticate"].endswith(f',scope="{scope}"')
        answer = site.send(ask, bearer(token(site.server, basic("writer"), scope)))
    assert answer.status == 202, answer.story


@pytest.mark.parametrize("source", [READABLE, None])
def test_u10_a_mount_that_can_be_is_one(site: Site, new_name: NewName, source: str | None) -> None:
    target = new_name("team")
    scopes = (f"repository:{target}:pull,push", f"repository:{READABLE}:pull")
    for credentials in (basic("writer"), bearer(token(site.server, basic("writer"), *scopes))):
        assert site.send(mount(target, OURS.digest, source), credentials).status == 201


def test_u11_a_mount_by_a_grant_that_was_revoked(site: Site, new_name: NewName) -> None:
    """By password, and by a token from before."""
    target, source = new_name("team"), "lent/blob"
    scopes = (f"repository:{target}:pull,push", f"repository:{source}:pull")
    ways = [basic("guest"), bearer(token(site.server, basic("guest"), *scopes))]
    asked = [(mount(target, LENT.digest, source), way) for way in ways]
    assert [site.send(*ask).status for ask in asked] == [201, 201]
    operate(site.server, lambda registry: revoke(registry, "user:guest", "lent/**"))
    with ExitStack() as stack:
        wires = each_worker(site.server, stack)
        ended = seconds_until(lambda: {on(wire, *ask).status for ask in asked for wire in wires} == {202})
    assert ended < DEADLINE_SECONDS


def on(wire: Wire, ask: Ask, credentials: Credentials) -> Answer:
    """Send on a connection that stays."""
    framing = {"Connection": "keep-alive", "Content-Length": str(len(ask.body))}
    wire._request_line = b""
    return wire.send(head(ask.method, ask.target, {**framing, **ask.headers, **credentials}) + ask.body).answer()


def seconds_until(holds: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < 2 * DEADLINE_SECONDS, "never"
        time.sleep(0.1)
    return time.monotonic() - began


# --- U-12 ------------------------------------------------------------------------------------------------------------

MOST = 20


@pytest.fixture
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """At most MOST open uploads each."""
    limit = {"REGISTRY_RATELIMIT_UPLOADS": str(MOST)}
    server = LiveServer(tmp_path_factory.mktemp("limited"), required(**SETTINGS, **limit)).start()
    site = Site(server, operate(server, people))
    settle()
    yield site
    assert_sound(server)
    assert server.stop() == 0


def test_u12_open_uploads_have_an_end(limited: Site) -> None:
    writer, start = basic("writer"), asks("team/many")[Route.UPLOADS, "POST"]
    whole = Ask("POST", f"{start.target}?digest={LATER.digest}", LATER.data)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: limited.send(start, writer), range(2 * MOST)))
    opened = [answer for answer in answers if answer.status == 202]
    assert len(opened) == MOST
    refused = [answer for answer in answers if answer not in opened]
    refused += [limited.send(ask, writer) for ask in (whole, mount("team/many", SECRET.digest, None))]
    for answer in refused:
        assert_error(answer, 429, "TOOMANYREQUESTS")
        assert int(answer.headers["Retry-After"]) > 0

    # Neither other callers, nor what is open, nor what needs no upload
    for other in (basic("other"), basic("robot$build", limited.robot)):
        assert limited.send(start, other).status == 202
    assert limited.send(asks("public/many")[Route.UPLOADS, "POST"], ANONYMOUS).status == 202
    assert limited.send(mount("team/many", OURS.digest, READABLE), writer).status == 201
    assert limited.send(asks("team/two")[Route.MANIFEST, "GET"], writer).status == 200
    ids = [answer.headers["Docker-Upload-UUID"] for answer in opened]
    assert limited.send(session_ask("PUT", "team/many", ids[0]), writer).status == 201
    assert limited.send(session_ask("DELETE", "team/many", ids[1]), writer).status == 204
    assert [limited.send(start, writer).status for _ in range(3)] == [202, 202, 429]


def test_u12_the_thousand_and_first_by_default() -> None:
    assert Settings().ratelimit.uploads == 1000


# --- N-03 ------------------------------------------------------------------------------------------------------------

NAMED = [key for key in ENDPOINTS if key[0] not in (Route.PING, Route.CATALOG)]


@pytest.mark.parametrize("name", ["a%2Fb", "a%2fb", "%61%2F%62", "a%252Fb", "a%2F%2Fb"])
@pytest.mark.parametrize("caller", ["deep", "flat", "outsider", ""])
def test_n03_an_encoded_slash_is_no_name_for_anybody(site: Site, caller: str, name: str) -> None:
    for key in NAMED:
        answer = site.send(asks(name)[key], basic(caller) if caller else ANONYMOUS)
        assert_error(answer, 400, "NAME_INVALID")


def test_n03_grants_are_for_whole_names(site: Site) -> None:
    for user, mine, other in (("deep", "a/b", "a"), ("flat", "a", "a/b")):
        assert site.send(asks(mine)[Route.TAGS, "GET"], basic(user)).status == 200
        assert_error(site.send(asks(other)[Route.TAGS, "GET"], basic(user)), 403, "DENIED")


# --- M-11 ------------------------------------------------------------------------------------------------------------


def naming(place: str, part: Mapping[str, object]) -> tuple[bytes, str]:
    """A manifest that names this descriptor, and its media type."""
    own = {"mediaType": OCI.layer, "digest": OURS.digest, "size": len(OURS.data)}
    if place == "child":
        return index_manifest([{**part, "mediaType": OCI.manifest}]), OCI.index
    parts = {"config": part, "layers": [own]} if place == "config" else {"config": own, "layers": [own, part]}
    return encode({"schemaVersion": 2, "mediaType": OCI.manifest, **parts}), OCI.manifest


@pytest.mark.parametrize("size", [len(SECRET.data), len(SECRET.data) + 1], ids=["right size", "wrong size"])
@pytest.mark.parametrize("place", ["config", "layer", "child"])
def test_m11_a_blob_that_others_hold_is_one_that_nobody_holds(site: Site, place: str, size: int) -> None:
    answers = []
    for digest in (SECRET.digest, NOWHERE.digest):
        payload, media_type = naming(place, {"mediaType": OCI.layer, "digest": digest, "size": size})
        ask = Ask("PUT", "/v2/team/has/manifests/v1", payload, {"Content-Type": media_type})
        answers.append(site.send(ask, basic("writer")))
    assert_error(answers[0], 400, "MANIFEST_BLOB_UNKNOWN")
    assert told(answers[0], SECRET.digest) == told(answers[1], NOWHERE.digest)


def test_m11_a_manifest_that_others_hold_is_one_that_nobody_holds(site: Site) -> None:
    answers = []
    for known in (IMAGE.manifest, image("never pushed").manifest):
        part = {"mediaType": OCI.manifest, "digest": digest_of(known), "size": len(known)}
        ask = Ask("PUT", "/v2/team/has/manifests/v1", index_manifest([part]), {"Content-Type": OCI.index})
        answers.append(told(site.send(ask, basic("writer")), digest_of(known)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 400


# --- A-07 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["team/two", "hidden/full"])
def test_a07_a_token_for_one_repository_is_none_for_another(site: Site, other: str) -> None:
    """Granted or not: on team/two the writer had only to ask."""
    credentials = bearer(token(site.server, basic("writer"), "repository:team/has:pull,push,delete"))
    located = (404, "BLOB_UPLOAD_UNKNOWN") if other == "team/two" else (403, "DENIED")
    for (route, _), ask in asks(other).items():
        answer = site.send(ask, credentials)
        if route is Route.PING:
            assert answer.status == 200
        elif route is Route.UPLOAD:
            assert_error(answer, *located)
        else:
            assert_error(answer, 401, "UNAUTHORIZED")
        assert IMAGE.digest not in answer.body.decode()
    assert set(asks(other)) == set(ENDPOINTS)
    read = site.send(asks(other)[Route.MANIFEST, "GET"], basic("keeper" if other == "hidden/full" else "writer"))
    assert read.body == IMAGE.manifest


def test_a07_the_catalog_names_what_may_be_pulled(site: Site) -> None:
    for user, names in {"writer": ["team/two"], "deep": ["a/b"], "flat": ["a"], "outsider": []}.items():
        scoped = bearer(token(site.server, basic(user), "registry:catalog:*"))
        for credentials in (basic(user), scoped):
            answer = site.send(Ask("GET", "/v2/_catalog?n=1000"), credentials)
            listed = answer.document["repositories"]
            assert set(names) <= set(listed), answer.story
            assert {name.partition("/")[0] for name in listed} <= {name.partition("/")[0] for name in names}


# --- A-08 ------------------------------------------------------------------------------------------------------------

INDEX = index_manifest([IMAGE.descriptor()])
AS_DOCKER = image_manifest(IMAGE.config, [one.data for one in IMAGE.layers], flavour=DOCKER)
# Pushes that would move `v1` or `latest`: the reference, the manifest, and headers
MOVING: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "tag": (TAG, NEWER, {}),
    "latest": ("latest", NEWER, {}),
    "query": (f"{digest_of(NEWER)}?tag={TAG}", NEWER, {}),
    "query beside a new one": (f"{digest_of(NEWER)}?tag=new&tag={TAG}", NEWER, {}),
    "latest in the query": (f"{digest_of(NEWER)}?tag=latest", NEWER, {}),
    "index": (TAG, INDEX, {"Content-Type": OCI.index}),
    "index in the query": (f"{digest_of(INDEX)}?tag=latest", INDEX, {"Content-Type": OCI.index}),
    "docker's": (TAG, AS_DOCKER, {"Content-Type": DOCKER.manifest}),
    "if it is still the same": (TAG, NEWER, {"If-Match": f'"{IMAGE.digest}"'}),
}


@pytest.mark.parametrize("how", MOVING)
def test_a08_a_tag_that_exists_takes_overwrite(site: Site, new_name: NewName, how: str) -> None:
    name, (reference, manifest, headers) = new_name("team"), MOVING[how]
    push_again = put(f"/v2/{name}/manifests/{reference}", manifest)
    push_again = replace(push_again, headers={**push_again.headers, **headers})
    operate(site.server, lambda registry: stock(registry, name))
    latest = put(f"/v2/{name}/manifests/latest", IMAGE.manifest)
    assert site.send(latest, basic("writer")).status == 201
    before = tags_of(site, name)
    scoped = bearer(token(site.server, basic("writer"), f"repository:{name}:pull,push"))
    for credentials in (basic("writer"), scoped):
        assert_error(site.send(push_again, credentials), 403, "DENIED")
    assert tags_of(site, name) == before == {TAG: IMAGE.digest, "latest": IMAGE.digest}
    manifests = "SELECT digest FROM manifest JOIN repository r ON r.id = repository_id WHERE name = ?"
    assert query(site.server, manifests, name) == [(IMAGE.digest,)]
    # What moves nothing is no overwriting
    assert site.send(latest, basic("writer")).status == 201


def tags_of(site: Site, name: str) -> dict[str, str]:
    rows = query(
        site.server,
        "SELECT tag.name, digest FROM tag JOIN repository ON id = repository_id WHERE repository.name = ?",
        name,
    )
    return dict(rows)


def test_a08_a_tag_can_not_be_deleted_to_make_it_anew(site: Site, new_name: NewName) -> None:
    name = new_name("team")
    operate(site.server, lambda registry: stock(registry, name))
    for reference in (TAG, IMAGE.digest):
        assert_error(site.send(Ask("DELETE", f"/v2/{name}/manifests/{reference}"), basic("writer")), 403, "DENIED")


RACERS = 8
ROUNDS = 10


def test_a08_one_wins_a_new_tag(site: Site, new_name: NewName) -> None:
    """Eight at once: images under a tag and in a query, and indexes."""
    name = new_name("team")
    operate(site.server, lambda registry: stock(registry, name))
    for number in range(ROUNDS):
        tag, pushes = f"r{number}", list(racing(name, number))
        start = Barrier(RACERS)

        def race(ask: Ask, start: Barrier = start) -> int:
            start.wait()
            return site.send(ask, basic("writer")).status

        with ThreadPoolExecutor(RACERS) as threads:
            statuses = list(threads.map(race, pushes))
        assert sorted(statuses) == [201] + [403] * (RACERS - 1)
        assert tags_of(site, name)[tag] == digest_of(pushes[statuses.index(201)].body)


def racing(name: str, number: int) -> Iterator[Ask]:
    base, tag = f"/v2/{name}/manifests", f"r{number}"
    for racer in range(RACERS):
        if racer % 4 == 3:
            payload = index_manifest([IMAGE.descriptor()], annotations={"racer": f"{number}.{racer}"})
            yield Ask("PUT", f"{base}/{tag}", payload, {"Content-Type": OCI.index})
        else:
            payload = encode({**json.loads(IMAGE.manifest), "annotations": {"racer": f"{number}.{racer}"}})
            yield put(f"{base}/{tag}" if racer % 2 else f"{base}/{digest_of(payload)}?tag={tag}", payload)


# --- A-09 ------------------------------------------------------------------------------------------------------------

MISSING = "hidden/none"
WAYS = ["anonymous", "by password", "with a token", "with a token that was asked for it"]


def outsider(site: Site, way: str, name: str) -> Credentials:
    scopes = {"with a token": "repository:team/two:pull", WAYS[3]: f"repository:{name}:pull,push,delete"}
    if way == "anonymous":
        return ANONYMOUS
    return bearer(token(site.server, basic("outsider"), scopes[way])) if way in scopes else basic("outsider")


@pytest.mark.parametrize("key", NAMED, ids=lambda key: f"{key[0].name.lower()} {key[1]}")
@pytest.mark.parametrize("way", WAYS)
def test_a09_what_is_hidden_looks_like_what_is_not(site: Site, way: str, key: tuple[Route, str]) -> None:
    """The repository, and in it tags, digests and uploads."""
    hidden = "hidden/full"
    upload_id = operate(site.server, lambda registry: begin(registry, hidden, "user:keeper"))
    ask = asks(hidden, upload_id)[key]
    answer = site.send(ask, outsider(site, way, hidden))
    unknown, missing = replace(ask, target=unreal(ask.target, upload_id)), asks(MISSING, upload_id)[key]

    assert_error(answer, *((401, "UNAUTHORIZED") if is_challenged(way, key) else (403, "DENIED")))
    assert told(site.send(unknown, outsider(site, way, hidden))) == told(answer)
    assert told(site.send(missing, outsider(site, way, MISSING)), MISSING) == told(answer, hidden)


def unreal(target: str, upload_id: str) -> str:
    """The same for what does not exist in a repository that does."""
    for real, other in ((upload_id, "0" * 32), (f"manifests/{TAG}", "manifests/v0")):
        target = target.replace(real, other)
    return target.replace(IMAGE.digest, NOWHERE.digest).replace(LOOSE.digest, NOWHERE.digest)


def is_challenged(way: str, key: tuple[Route, str]) -> bool:
    """An upload's Location takes no scope, so no other token helps."""
    return way == "anonymous" or (way == "with a token" and key[0] is not Route.UPLOAD)


# --- rights that end -------------------------------------------------------------------------------------------------

LONG = 64 * 1024 * 1024
RIGHTS = {"ended/**": "pull,push"}


@dataclass(frozen=True)
class Ending:
    """Who comes, what ends it, and what is answered then. `may_come_back`: another login goes on with the uploads."""

    who: str
    end: Callable[[Registry, str], Awaitable[object]]
    status: int
    may_come_back: bool = False


ENDINGS = {
    "grant": Ending("user", lambda registry, name: revoke(registry, f"user:{name}", "ended/**"), 403),
    "membership": Ending(
        "member", lambda registry, name: registry.access.users.remove_member(name, f"{name}.member", OPERATING), 403
    ),
    "group": Ending("member", lambda registry, name: registry.access.users.delete_group(name, OPERATING), 403),
    "user": Ending("user", lambda registry, name: registry.access.users.delete(name, OPERATING), 401),
    "user disabled": Ending(
        "user", lambda registry, name: registry.access.users.set_disabled(name, OPERATING, disabled=True), 401
    ),
    "password": Ending(
        "user", lambda registry, name: registry.access.users.set_password(name, "another one", OPERATING), 401, True
    ),
    "robot": Ending("robot", lambda registry, name: registry.access.robots.delete(name, OPERATING), 401),
    "robot disabled": Ending(
        "robot", lambda registry, name: registry.access.robots.set_disabled(name, OPERATING, disabled=True), 401
    ),
    "secret": Ending("robot", lambda registry, name: registry.access.robots.rotate(name, DAY, 0, OPERATING), 401, True),
    "creator's grant": Ending("owned", lambda registry, name: revoke(registry, f"user:{name}", "ended/**"), 403),
    "creator": Ending("owned", lambda registry, name: registry.access.users.delete(name, OPERATING), 401),
}


async def arrive(registry: Registry, name: str) -> dict[str, Credentials]:
    """A user, a member of a group, a robot and a user's robot, who may all push to ended/**; how they log in."""
    users, member, owned = registry.access.users, f"{name}.member", f"{name}.owned"
    await add_user(registry, name, **RIGHTS)
    await add_user(registry, member)
    await users.add_group(name, OPERATING)
    await users.add_member(name, member, OPERATING)
    await grant(registry, f"group:{name}", RIGHTS)
    creator = Caller(Identity(f"user:{name}"), "test")
    secrets = {"robot": await add_robot(registry, name), "owned": await add_robot(registry, owned, by=creator)}
    for robot in (name, owned):
        await grant(registry, f"robot:{robot}", RIGHTS)
    return {
        "user": basic(name),
        "member": basic(member),
        "robot": basic(f"robot${name}", secrets["robot"]),
        "owned": basic(f"robot${owned}", secrets["owned"]),
    }


class SlowBody:
    """A request whose body comes in pieces, until it is answered."""

    def __init__(self, wire: Wire, ask: Ask, credentials: Credentials, *, chunked: bool = False) -> None:
        framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(LONG)}
        self._wire, self._chunked = wire, chunked
        self.ended = 0.0
        wire.send(head(ask.method, ask.target, {**framing, **ask.headers, **credentials}))

    def send(self) -> None:
        piece = b" " * 4096
        self._wire.send(chunk(piece) if self._chunked else piece)

    @property
    def is_answered(self) -> bool:
        if not self.ended and select.select([self._wire._socket], [], [], 0)[0]:
            self.ended = time.monotonic()
        return bool(self.ended)

    def answer(self) -> Answer:
        return self._wire.answer()


def send_until(bodies: Sequence[SlowBody], seconds: float) -> None:
    """Go on with all of them, until the time is over or each is answered."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        waiting = [body for body in bodies if not body.is_answered]
        if not waiting:
            return
        for body in waiting:
            body.send()
        time.sleep(0.05)


def is_gone(site: Site, upload_id: str) -> bool:
    """Its row and its bytes."""
    rows = query(site.server, "SELECT id FROM upload WHERE id = ?", upload_id)
    return not rows and not any(upload_id in path.name for path in (site.server.data / "blobs").rglob("*"))


def begun(site: Site, name: str, credentials: Credentials) -> str:
    """An upload that has some bytes."""
    answer = site.send(asks(name)[Route.UPLOADS, "POST"], credentials)
    assert answer.status == 202, answer.story
    upload_id = answer.headers["Docker-Upload-UUID"]
    assert site.send(session_ask("PATCH", name, upload_id), credentials).status == 202
    return upload_id


def continued(name: str, upload_id: str) -> Ask:
    return Ask("PATCH", f"/v2/{name}/blobs/uploads/{upload_id}", LATER.data)


@pytest.mark.parametrize("what", ENDINGS)
def test_rights_end_while_a_body_arrives_and_between_two(site: Site, new_name: NewName, what: str) -> None:
    """By password and by token, on every worker."""
    ending, name = ENDINGS[what], new_name("ended")
    person = name.partition("/")[2]
    password = operate(site.server, lambda registry: arrive(registry, person))[ending.who]
    settle()
    ways = [password, bearer(token(site.server, password, f"repository:{name}:pull,push"))]
    with ExitStack() as stack:
        ids = [begun(site, name, way) for way in ways for _ in range(2)]
        idle, running = ids[::2], ids[1::2]
        bodies = [
            SlowBody(stack.enter_context(Wire(site.server)), continued(name, upload_id), way, chunked=way is password)
            for upload_id, way in zip(running, ways, strict=True)
        ]
        workers = each_worker(site.server, stack)
        send_until(bodies, 1.0)
        assert not any(body.is_answered for body in bodies)

        operate(site.server, lambda registry: ending.end(registry, person))
        began = time.monotonic()
        send_until(bodies, DEADLINE_SECONDS)

        for body in bodies:
            assert body.is_answered
            assert body.ended - began < DEADLINE_SECONDS
            assert_error(body.answer(), ending.status, CODES[ending.status])
        eventually(lambda: all(is_gone(site, upload_id) for upload_id in running))
        answers = [on(wire, continued(name, one), way) for wire in workers for one, way in zip(idle, ways, strict=True)]
        assert time.monotonic() - began < DEADLINE_SECONDS
        for answer in answers:
            assert_error(answer, ending.status, CODES[ending.status])
    # The periodic work, which a worker does once a minute
    operate(site.server, lambda registry: registry.uploads.end_refused(registry.access.authenticator.may_push))
    assert [is_gone(site, upload_id) for upload_id in idle] == [not ending.may_come_back] * 2


def test_rights_end_under_every_kind_of_body(site: Site, new_name: NewName) -> None:
    name = new_name("ended")
    person = name.partition("/")[2]
    password = operate(site.server, lambda registry: arrive(registry, person))["user"]
    settle()
    upload_id = begun(site, name, password)
    found = [
        Ask("PUT", f"/v2/{name}/blobs/uploads/{upload_id}?digest={LATER.digest}"),
        Ask("POST", f"/v2/{name}/blobs/uploads/?digest={LATER.digest}"),
        put(f"/v2/{name}/manifests/v1"),
    ]
    with ExitStack() as stack:
        bodies = [SlowBody(stack.enter_context(Wire(site.server)), ask, password, chunked=True) for ask in found]
        send_until(bodies, 1.0)
        assert not any(body.is_answered for body in bodies)
        operate(site.server, lambda registry: revoke(registry, f"user:{person}", "ended/**"))
        began = time.monotonic()
        send_until(bodies, DEADLINE_SECONDS)
        for body in bodies:
            assert_error(body.answer(), 403, "DENIED")
            assert body.ended - began < DEADLINE_SECONDS
    left = "SELECT count(*) FROM {} t JOIN repository r ON r.id = t.repository_id WHERE r.name = ?"
    eventually(lambda: all(query(site.server, left.format(table), name) == [(0,)] for table in ("upload", "manifest")))
