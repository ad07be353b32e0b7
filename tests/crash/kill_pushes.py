"""SIGKILL a registry under pushes, again and again: what it acknowledged must still be there, byte for byte.

Each pusher has a repository of its own and notes what was acknowledged and what was in flight. The kills come at
seeded moments; which request they hit depends on the machine.
"""

import argparse
import hashlib
import http.client
import json
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from tests.support.images import OCI, digest_of, image_config, image_manifest
from tests.support.server import LiveServer

PUSHERS = 6
LATEST_KILL_SECONDS = 0.4
LARGEST_BLOB = 8 * 1024 * 1024
TIMEOUT_SECONDS = 30.0
FSCK_EVERY = 10
TAGS = ("latest", "stable", "v1", "v2")
# Small and pushed by everybody, so kills also hit pushes of bytes that another push has just stored
SHARED_BLOBS = tuple(f"shared {number}".encode() * 1000 for number in range(40))

_OFFSET = re.compile(r"0-(-?\d+)")


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


class GoneError(Exception):
    """The server went away before it had answered."""


class UnexpectedAnswerError(Exception):
    """The server answered a correct request with something else than it should."""


class Connection:
    """Requests over one connection, each answer read whole."""

    def __init__(self, host: str) -> None:
        self._http = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)

    def ask(
        self,
        method: str,
        path: str,
        expected: Sequence[int],
        *,
        body: bytes | Iterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        told = dict(headers or {})
        if not isinstance(body, bytes):
            told["Transfer-Encoding"] = "chunked"
        try:
            self._http.request(method, path, body, told, encode_chunked=not isinstance(body, bytes))
            response = self._http.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except TimeoutError as error:
            raise UnexpectedAnswerError(f"{method} {path}: no answer within {TIMEOUT_SECONDS} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise GoneError(f"{method} {path}: {error!r}") from error
        if answer.status not in expected:
            raise UnexpectedAnswerError(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer

    def close(self) -> None:
        self._http.close()


def told_offset(answer: Answer) -> int:
    matched = _OFFSET.fullmatch(answer.headers["Range"] or "")
    if matched is None:
        raise UnexpectedAnswerError(f"no Range of an upload: {answer.headers['Range']!r}")
    return int(matched[1]) + 1


@dataclass
class Session:
    """An upload whose POST was acknowledged: `acknowledged` bytes surely are there, `sent` bytes may be."""

    path: str
    location: str
    content: bytes
    acknowledged: int = 0
    sent: int = 0
    finishing: bool = False
    survived: bool = False

    @property
    def digest(self) -> str:
        return digest_of(self.content)


@dataclass
class Notes:
    """What one repository must hold, as its only writer knows it."""

    blobs: dict[str, int] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    session: Session | None = None
    new_blobs: set[str] = field(default_factory=set)
    new_manifests: set[str] = field(default_factory=set)
    blob_in_flight: tuple[str, int] | None = None
    manifest_in_flight: bytes | None = None
    tag_in_flight: tuple[str, str | None] | None = None
    resumed: int = 0

    @property
    def in_flight(self) -> Iterator[str]:
        """What the requests that a kill cut short would have done."""
        if self.blob_in_flight is not None:
            yield "blob"
        if self.manifest_in_flight is not None:
            yield "manifest"
        if self.tag_in_flight is not None:
            yield "tag"
        if self.session is not None:
            yield "closing upload" if self.session.finishing else "open upload"

    def acknowledge_blob(self, digest: str, size: int) -> None:
        self.blobs[digest] = size
        self.new_blobs.add(digest)

    def acknowledge_manifest(self, payload: bytes) -> None:
        digest = digest_of(payload)
        self.manifests[digest] = payload
        self.new_manifests.add(digest)


class Pusher:
    """Pushes at random into one repository until the server goes away."""

    def __init__(self, name: str, seed: str) -> None:
        self.name = name
        self.base = f"/v2/{name}"
        self.notes = Notes()
        self.problems: list[str] = []
        self.acknowledged = {"blobs": 0, "manifests": 0, "tags": 0, "patches": 0}
        self._random = random.Random(seed)
        self._connection: Connection | None = None

    def run(self, host: str, killed: threading.Event) -> None:
        with closing(Connection(host)) as self._connection:
            try:
                while True:
                    self._step()
            except GoneError as error:
                if not killed.is_set():
                    self.problems.append(f"{self.name}: lost connection while the server should serve: {error}")
            except UnexpectedAnswerError as error:
                self.problems.append(f"{self.name}: {error}")

    def finish_session(self, host: str) -> None:
        """End what is unfinished, with nobody killing."""
        with closing(Connection(host)) as self._connection:
            if self.notes.session is not None:
                self._go_on(self.notes.session)

    def _step(self) -> None:
        if self.notes.session is not None:
            self._go_on(self.notes.session)
            return
        steps = (self._push_whole, self._open_upload, self._push_manifest, self._delete_tag)
        self._random.choices(steps, (4, 5, 6, 2))[0]()

    def _ask(
        self,
        method: str,
        path: str,
        status: int,
        body: bytes | Iterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        assert self._connection is not None
        return self._connection.ask(method, path, [status], body=body, headers=headers)

    def _content(self) -> bytes:
        if self._random.random() < 0.15:
            return self._random.choice(SHARED_BLOBS)
        size = int(LARGEST_BLOB ** self._random.random())
        return self._random.randbytes(size)

    def _push_whole(self) -> None:
        content = self._content()
        digest = digest_of(content)
        self.notes.blob_in_flight = (digest, len(content))
        self._ask("POST", f"{self.base}/blobs/uploads/?digest={digest}", 201, content)
        self._blob_acknowledged(digest, len(content))

    def _blob_acknowledged(self, digest: str, size: int) -> None:
        self.notes.blob_in_flight = None
        self.notes.acknowledge_blob(digest, size)
        self.acknowledged["blobs"] += 1

    def _open_upload(self) -> None:
        content = self._content()
        location = self._ask("POST", f"{self.base}/blobs/uploads/", 202).headers["Location"]
        self.notes.session = Session(location.partition("?")[0], location, content)

    def _go_on(self, session: Session) -> None:
        """Send the rest: as one stream of odd pieces, or in chunks that say where they belong; then close it."""
        if self._random.random() < 0.5:
            self._stream(session, self._last_piece(session))
        else:
            while session.acknowledged < (end := self._last_piece(session)):
                self._chunk(session, self._random.randint(session.acknowledged + 1, end))
        self._close(session)

    def _last_piece(self, session: Session) -> int:
        """Up to where PATCH goes; in some uploads the rest comes with the PUT."""
        return len(session.content) - (len(session.content) // 4 if len(session.content) % 3 == 0 else 0)

    def _stream(self, session: Session, end: int) -> None:
        if session.acknowledged >= end:
            return
        answer = self._ask("PATCH", session.location, 202, self._pieces(session, end))
        self._patched(session, answer, end)

    def _pieces(self, session: Session, end: int) -> Iterator[bytes]:
        position = session.acknowledged
        while position < end:
            size = int(LARGEST_BLOB ** self._random.random())
            piece = session.content[position : min(position + size, end)]
            position += len(piece)
            session.sent = max(session.sent, position)
            yield piece
            if len(piece) < 64 and position + 64 < end:
                time.sleep(0.001)

    def _chunk(self, session: Session, end: int) -> None:
        start = session.acknowledged
        session.sent = max(session.sent, end)
        headers = {"Content-Range": f"{start}-{end - 1}", "Content-Type": "application/octet-stream"}
        answer = self._ask("PATCH", session.location, 202, session.content[start:end], headers)
        self._patched(session, answer, end)

    def _patched(self, session: Session, answer: Answer, end: int) -> None:
        if (offset := told_offset(answer)) != end:
            raise UnexpectedAnswerError(f"PATCH {session.path}: tells {offset} bytes, not {end}")
        session.acknowledged = end
        session.location = answer.headers["Location"]
        self.acknowledged["patches"] += 1

    def _close(self, session: Session) -> None:
        rest = session.content[session.acknowledged :]
        session.sent = len(session.content)
        session.finishing = True
        self._ask("PUT", f"{session.location}&digest={session.digest}", 201, rest)
        self.notes.resumed += session.survived
        self.notes.session = None
        self._blob_acknowledged(session.digest, len(session.content))

    def _push_manifest(self) -> None:
        """An image of new config and old layers, by tag, by digest, or by digest with a tag beside it."""
        config = image_config([f"sha256:{self._random.randbytes(32).hex()}"])
        digest = digest_of(config)
        self._ask("POST", f"{self.base}/blobs/uploads/?digest={digest}", 201, config)
        self._blob_acknowledged(digest, len(config))
        payload = self._with_layers(image_manifest(config, []))
        tag = self._random.choice((*TAGS, None))
        by_digest = tag is None or self._random.random() < 0.3
        digest = digest_of(payload)
        path = f"{digest}?tag={tag}" if by_digest and tag else digest if by_digest else f"{tag}"
        self.notes.manifest_in_flight = payload
        self.notes.tag_in_flight = (tag, digest) if tag else None
        self._ask("PUT", f"{self.base}/manifests/{path}", 201, payload, {"Content-Type": OCI.manifest})
        self.notes.manifest_in_flight = None
        self.notes.acknowledge_manifest(payload)
        self.acknowledged["manifests"] += 1
        self._tag_acknowledged()

    def _with_layers(self, manifest: bytes) -> bytes:
        document = json.loads(manifest)
        chosen = self._random.sample(sorted(self.notes.blobs), min(3, len(self.notes.blobs)))
        document["layers"] = [
            {"mediaType": OCI.layer, "digest": digest, "size": self.notes.blobs[digest]} for digest in chosen
        ]
        return json.dumps(document).encode()

    def _delete_tag(self) -> None:
        live = sorted(tag for tag, digest in self.notes.tags.items() if digest is not None)
        if not live:
            return
        tag = self._random.choice(live)
        self.notes.tag_in_flight = (tag, None)
        self._ask("DELETE", f"{self.base}/manifests/{tag}", 202)
        self._tag_acknowledged()

    def _tag_acknowledged(self) -> None:
        if self.notes.tag_in_flight is not None:
            tag, digest = self.notes.tag_in_flight
            self.notes.tags[tag] = digest
            self.notes.tag_in_flight = None
            self.acknowledged["tags"] += 1


class Checker:
    """Compares one repository with the notes on it, and takes over what turned out of what was in flight."""

    def __init__(self, pusher: Pusher, connection: Connection) -> None:
        self._name, self._base, self._notes = pusher.name, pusher.base, pusher.notes
        self._connection = connection
        self.losses: list[str] = []

    def check(self, *, everything: bool) -> list[str]:
        notes = self._notes
        try:
            self._blob_in_flight()
            self._manifest_in_flight()
            self._session()
            for digest in sorted(notes.blobs if everything else notes.new_blobs):
                self._blob(digest, notes.blobs[digest])
            for digest in sorted(notes.manifests if everything else notes.new_manifests):
                self._manifest(digest, notes.manifests[digest])
            self._tags()
        except (GoneError, UnexpectedAnswerError) as error:
            self._lost(str(error))
        notes.new_blobs.clear()
        notes.new_manifests.clear()
        return self.losses

    def _lost(self, what: str) -> None:
        self.losses.append(f"{self._name}: {what}")

    def _ask(self, method: str, path: str, *expected: int) -> Answer:
        return self._connection.ask(method, self._base + path, expected)

    def _blob(self, digest: str, size: int) -> None:
        head = self._ask("HEAD", f"/blobs/{digest}", 200, 404, 500, 503)
        if head.status != 200 or head.headers["Content-Length"] != str(size):
            self._lost(f"HEAD blob {digest}: {head.status}, length {head.headers['Content-Length']}, not {size}")
            return
        got = self._ask("GET", f"/blobs/{digest}", 200, 404, 500, 503)
        if got.status != 200 or f"sha256:{hashlib.sha256(got.body).hexdigest()}" != digest:
            self._lost(f"GET blob {digest}: {got.status}, {len(got.body)} bytes that are not the pushed {size}")

    def _blob_in_flight(self) -> None:
        """It is there whole, or not at all."""
        if self._notes.blob_in_flight is None:
            return
        digest, size = self._notes.blob_in_flight
        self._notes.blob_in_flight = None
        if self._ask("HEAD", f"/blobs/{digest}", 200, 404).status == 200:
            self._notes.acknowledge_blob(digest, size)

    def _manifest(self, reference: str, payload: bytes) -> None:
        got = self._ask("GET", f"/manifests/{reference}", 200, 404, 500, 503)
        if got.status != 200 or got.body != payload:
            self._lost(f"manifest {reference}: {got.status}, {got.body[:200]!r}")

    def _manifest_in_flight(self) -> None:
        payload = self._notes.manifest_in_flight
        self._notes.manifest_in_flight = None
        if payload is not None and self._ask("HEAD", f"/manifests/{digest_of(payload)}", 200, 404).status == 200:
            self._notes.acknowledge_manifest(payload)

    def _session(self) -> None:
        session = self._notes.session
        if session is None:
            return
        status = self._ask("GET", session.path.removeprefix(self._base), 204, 404)
        if status.status == 404:
            self._ended(session)
            return
        offset = told_offset(status)
        if not session.acknowledged <= offset <= session.sent:
            self._lost(f"{session.path}: {offset} bytes, acknowledged {session.acknowledged}, sent {session.sent}")
            self._notes.session = None
            return
        session.acknowledged, session.location = offset, status.headers["Location"]
        session.finishing, session.survived = False, True

    def _ended(self, session: Session) -> None:
        """Only a PUT in flight may have ended it, and then it made the blob and says so once more."""
        self._notes.session = None
        if not session.finishing:
            self._lost(f"{session.path}: unknown, {session.acknowledged} bytes acknowledged")
            return
        again = self._ask("PUT", f"{session.path.removeprefix(self._base)}?digest={session.digest}", 201, 404)
        if again.status != 201:
            self._lost(f"{session.path}: ended, but its PUT is not repeated: {again.body[:200]!r}")
        self._notes.acknowledge_blob(session.digest, len(session.content))

    def _tags(self) -> None:
        in_flight, self._notes.tag_in_flight = self._notes.tag_in_flight, None
        for tag in TAGS:
            wanted = self._notes.tags.get(tag)
            allowed = {wanted, in_flight[1]} if in_flight and in_flight[0] == tag else {wanted}
            got = self._ask("GET", f"/manifests/{tag}", 200, 404)
            now = digest_of(got.body) if got.status == 200 else None
            if now not in allowed:
                self._lost(f"tag {tag}: {now}, allowed were {allowed}")
            self._notes.tags[tag] = now
        self._listed()

    def _listed(self) -> None:
        live = sorted(tag for tag, digest in self._notes.tags.items() if digest is not None)
        got = self._ask("GET", "/tags/list", 200, 404)
        listed = json.loads(got.body)["tags"] if got.status == 200 else []
        if listed != live:
            self._lost(f"tags/list: {listed}, not {live}")


@dataclass
class Trial:
    """A server, its pushers, and all that went wrong so far."""

    server: LiveServer
    seed: int
    losses: list[str] = field(default_factory=list)
    kills: int = 0
    cut_short: Counter[str] = field(default_factory=Counter)
    checked_deep: int = 0
    slowest_restart: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.pushers = [Pusher(f"crash/pusher-{number}", f"{self.seed}/{number}") for number in range(PUSHERS)]

    def run(self, kills: int) -> None:
        self.server.start()
        try:
            for number in range(1, kills + 1):
                self.kill_once()
                last = number == kills
                if last:
                    self.finish_sessions()
                self.check(everything=last)
                if last or number % FSCK_EVERY == 0:
                    self.fsck()
                    print(self.progress(), flush=True)
        finally:
            self.server.kill()

    def kill_once(self) -> None:
        """Push until the kill, then start again on the same data."""
        killed = threading.Event()
        threads = [
            threading.Thread(target=pusher.run, args=(self.server.host, killed), daemon=True) for pusher in self.pushers
        ]
        for thread in threads:
            thread.start()
        time.sleep(self._random.uniform(0, LATEST_KILL_SECONDS))
        killed.set()
        self.server.kill()
        for thread in threads:
            thread.join()
        self.kills += 1
        for pusher in self.pushers:
            self.cut_short.update(pusher.notes.in_flight)
            self.losses += pusher.problems
            pusher.problems.clear()
        started = time.monotonic()
        self.server.start()
        self.slowest_restart = max(self.slowest_restart, time.monotonic() - started)

    def check(self, *, everything: bool) -> None:
        with closing(Connection(self.server.host)) as connection:
            for pusher in self.pushers:
                self.losses += Checker(pusher, connection).check(everything=everything)

    def finish_sessions(self) -> None:
        self.check(everything=False)
        for pusher in self.pushers:
            try:
                pusher.finish_session(self.server.host)
            except (GoneError, UnexpectedAnswerError) as error:
                self.losses.append(f"{pusher.name}: an unfinished upload does not go on: {error}")

    def fsck(self) -> None:
        done = self.server.digestry("fsck", "--deep", "--json")
        self.checked_deep += 1
        problems: object = f"no report: {done.stdout[-500:]} {done.stderr[-500:]}"
        with suppress(json.JSONDecodeError):
            problems = json.loads(done.stdout)["problems"]
        if done.returncode != 0 or problems:
            self.losses.append(f"fsck after {self.kills} kills: exit {done.returncode}, {problems}")

    @property
    def acknowledged(self) -> dict[str, int]:
        kinds = self.pushers[0].acknowledged
        return {kind: sum(pusher.acknowledged[kind] for pusher in self.pushers) for kind in kinds}

    @property
    def resumed(self) -> int:
        return sum(pusher.notes.resumed for pusher in self.pushers)

    def progress(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.acknowledged.items())
        cut_short = ", ".join(f"{count} {kind}" for kind, count in sorted(self.cut_short.items()))
        return (
            f"{self.kills} kills: acknowledged {counts}; cut short {cut_short}; {self.resumed} uploads resumed; "
            f"{self.checked_deep} fsck; slowest restart {self.slowest_restart:.2f} s; {len(self.losses)} lost"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="digestry-kills-") as folder:
        trial = Trial(LiveServer(Path(folder)), chosen.seed)
        trial.run(chosen.kills)
        trial.losses += trial.server.tracebacks()
    for loss in trial.losses:
        print(f"LOST: {loss}")
    print(f"seed {chosen.seed}, {time.monotonic() - started:.0f} s; {trial.progress()}")
    return 1 if trial.losses else 0


if __name__ == "__main__":
    sys.exit(main())
