"""A client that never loses count: what its repository must hold, also after each cut of a connection."""

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from tests.crash.client import Answer, Connection, GoneError, UnexpectedAnswerError, told_offset
from tests.crash.ledger import Content, Ledger, Session, blob_path, kind_of

# Of what was acknowledged last, and of all
CHECKED_AFTER_CUT = 2


@dataclass
class Crowd:
    """What the pushers of one registry have in common."""

    largest: int
    mountable: list[tuple[str, bytes]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)


class Witness:
    """Works until the crowd stops; after each cut it waits for the server and asks what became of its request.

    `step` and `go_on` are the work of a subclass.
    """

    def __init__(self, name: str, seed: str, crowd: Crowd) -> None:
        self.name = name
        self.ledger = Ledger()
        self.problems: list[str] = []
        self.acknowledged: Counter[str] = Counter()
        self.cut_short: Counter[str] = Counter()
        self.resumed = 0
        self._base = f"/v2/{name}"
        self._crowd = crowd
        self._random = random.Random(seed)
        self._connection: Connection
        self._doing = ""
        self._recent: list[str] = []

    def run(self, host: str) -> None:
        """Push until the crowd stops; problems end the work early."""
        with closing(Connection(host)) as self._connection:
            cut = False
            while not self._crowd.stopping.is_set() and not self.problems:
                try:
                    if cut:
                        self._connection.wait()
                        self.settle()
                        cut = False
                    else:
                        self.step()
                except GoneError:
                    if not cut:
                        self.cut_short[self._doing] += 1
                    cut = True
                except UnexpectedAnswerError as error:
                    self._problem(f"while {self._doing}: {error}")

    def check(self, host: str, *, everything: bool) -> None:
        """What is in flight is settled, and all that was acknowledged is there."""
        with closing(Connection(host)) as self._connection:
            try:
                self.settle()
                if everything:
                    self._check_all()
            except (GoneError, UnexpectedAnswerError) as error:
                self._problem(str(error))

    def finish(self, host: str) -> None:
        """End what is unfinished, with nobody killing."""
        with closing(Connection(host)) as self._connection:
            try:
                if self.ledger.session is not None:
                    self.go_on(self.ledger.session)
            except (GoneError, UnexpectedAnswerError) as error:
                self._problem(f"an unfinished upload does not go on: {error}")

    def step(self) -> None:
        """One piece of work, done to its end."""
        raise NotImplementedError

    def go_on(self, session: Session) -> None:
        """Bring an upload that was cut to its end."""
        raise NotImplementedError

    def settle(self) -> None:
        """Learn what became of the request that was cut, and look at a sample of what was acknowledged."""
        self.problems += [f"{self.name}: {problem}" for problem in self.ledger.settle(self._read)]
        self._settle_session()
        older = sorted(self.ledger.held if self._random.random() < 0.7 else self.ledger.gone)
        for path in dict.fromkeys([*self._recent, *self._random.sample(older, min(1, len(older)))]):
            self._check(path)

    def _check_all(self) -> None:
        for path in sorted({*self.ledger.held, *self.ledger.gone}):
            self._check(path)
        answer = self._ask("GET", "/tags/list", 200, 404)
        live = sorted(path.removeprefix("manifests/") for path in self.ledger.paths("tags"))
        listed = json.loads(answer.body)["tags"] if answer.status == 200 else []
        if listed != live:
            self._problem(f"tags/list: {listed!r}, not {live}")

    def _check(self, path: str) -> None:
        self.problems += [f"{self.name}: {problem}" for problem in self.ledger.check(path, self._read)]

    def _read(self, path: str) -> Content:
        answer = self._ask("GET", f"/{path}", 200, 404)
        return answer.body if answer.status == 200 else None

    def _problem(self, what: str) -> None:
        self.problems.append(f"{self.name}: {what}")

    def _settle_session(self) -> None:
        session = self.ledger.session
        if session is None:
            return
        status = self._ask("GET", session.path, 204, 404)
        if status.status == 404:
            self._session_ended(session)
            return
        offset = told_offset(status)
        if not session.acknowledged <= offset <= session.sent:
            self._problem(f"{session.path}: {offset} bytes, acknowledged {session.acknowledged}, sent {session.sent}")
            self.ledger.session = None
            return
        session.acknowledged, session.location = offset, status.headers["Location"]
        session.ending, session.survived = "", True

    def _session_ended(self, session: Session) -> None:
        """Only what was in flight may have ended it; a PUT then made the blob and says so once more."""
        if session.ending == "PUT":
            again = self._ask("PUT", f"{session.path}?digest={session.digest}", 201, 404)
            if again.status == 404:
                self._problem(f"{session.path}: ended, but its PUT is not repeated: {again.body[:200]!r}")
            self.ledger.apply({blob_path(session.content): session.content})
        elif session.ending != "DELETE":
            self._problem(f"{session.path}: unknown, {session.acknowledged} bytes acknowledged")
        self.ledger.session = None

    # --- requests -----------------------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        *expected: int,
        body: bytes | Iterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        whole = path if path.startswith("/v2/") else self._base + path
        return self._connection.ask(method, whole, expected, body=body, headers=headers)

    def _change(
        self,
        method: str,
        path: str,
        *expected: int,
        change: Mapping[str, Content],
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A request that makes this change, noted before it is sent."""
        self.ledger.in_flight = change
        answer = self._ask(method, path, *expected, body=body, headers=headers)
        if answer.status == expected[0]:
            self._acknowledged(change)
        else:
            self.ledger.in_flight = {}
        return answer

    def _acknowledged(self, change: Mapping[str, Content]) -> None:
        self.ledger.in_flight = change
        self.ledger.acknowledge()
        self._recent = [*self._recent, *change][-CHECKED_AFTER_CUT:]
        for path, content in change.items():
            self.acknowledged[f"{kind_of(path)} {'gone' if content is None else 'made'}"] += 1
            if content is not None and kind_of(path) == "blobs":
                self._crowd.mountable.append((self.name, content))
