"""Uploads and mounts: right and wrong offsets, digests, repositories, from one worker or the other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.agreement import Agreement, algorithms, contents, repositories, workers
from tests.model.answers import Expected, Sent
from tests.model.content import Content, digest_of
from tests.model.site import Answer

P = ParamSpec("P")


@dataclass
class Session:
    """An upload as a client knows it, with every Location that it was given."""

    repository: str
    upload_id: str
    locations: list[str] = field(default_factory=list, repr=False)

    @property
    def path(self) -> str:
        return f"/v2/{self.repository}/blobs/uploads/{self.upload_id}"


# Where a client says that its bytes belong
LOCATIONS = ["last location", "last location", "first location", "path alone"]
CONTENT_RANGES = ["range", "range behind", "range ahead", "range too long", "range too short"]
places = st.sampled_from([*LOCATIONS, *CONTENT_RANGES])
_SHIFTS = {"range behind": -1, "range ahead": 1}
_STRETCHES = {"range too long": 1, "range too short": -1}


_some_session = precondition(lambda self: self.sessions)


class UploadRules(Agreement):
    def __init__(self) -> None:
        super().__init__()
        self.sessions: list[Session] = []

    @rule(repository=repositories, algorithm=st.sampled_from(["", "sha256", "sha512"]))
    def start(self, repository: str, algorithm: str) -> None:
        query = f"?digest-algorithm={algorithm}" if algorithm else ""
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/{query}")
        self._started(repository, answer, self.model.start, repository, _new_id(answer))

    @rule(repository=repositories, content=contents, other=contents)
    def push_other_bytes(self, repository: str, content: Content, other: Content) -> None:
        self.push_whole(repository, digest_of(content.value), other.value)

    @_some_session
    @rule(data=st.data(), worker=workers, piece=contents, place=places, chunked=st.booleans())
    def patch(self, data: st.DataObject, worker: int, piece: Content, place: str, chunked: bool) -> None:
        session = self._session(data)
        target, headers, sent = self._placed(session, piece.value, place, chunked)
        answer = self.ask("PATCH", target, piece.value, headers, chunked=chunked, worker=worker)
        self.agree(answer, self.model.patch, session.repository, session.upload_id, sent)
        _remember(session, answer)

    @rule(
        repository=repositories,
        pieces=st.lists(st.tuples(workers, contents, st.booleans()), min_size=1, max_size=4),
        algorithm=algorithms,
        declared=st.booleans(),
    )
    def push_in_pieces(
        self, repository: str, pieces: list[tuple[int, Content, bool]], algorithm: str, declared: bool
    ) -> None:
        """From worker to worker: what one knows of an upload is void after the other wrote to it."""
        self.start(repository, algorithm if declared else "")
        session, whole = self.sessions[-1], b"".join(piece.value for _, piece, _ in pieces)
        for worker, piece, chunked in pieces:
            sent = Sent(piece.value, sized=not chunked)
            answer = self.ask("PATCH", session.locations[-1], piece.value, chunked=chunked, worker=worker)
            self.agree(answer, self.model.patch, repository, session.upload_id, sent)
            _remember(session, answer)
        digest = digest_of(whole, algorithm)
        answer = self.ask("PUT", f"{session.locations[-1]}&digest={digest}")
        self.agree(answer, self.model.finish, repository, session.upload_id, digest, Sent())

    @_some_session
    @rule(
        data=st.data(),
        worker=workers,
        piece=contents,
        place=st.one_of(st.just("last location"), places),
        chunked=st.booleans(),
        algorithm=algorithms,
        garbled=st.sampled_from([False, False, False, True]),
    )
    def finish(
        self,
        data: st.DataObject,
        worker: int,
        piece: Content,
        place: str,
        chunked: bool,
        algorithm: str,
        garbled: bool,
    ) -> None:
        session = self._session(data)
        target, headers, sent = self._placed(session, piece.value, place, chunked)
        digest = digest_of(self._content_after(session, piece.value) + b"!" * garbled, algorithm)
        target += f"{'&' if '?' in target else '?'}digest={digest}"
        answer = self.ask("PUT", target, piece.value, headers, chunked=chunked, worker=worker)
        self.agree(answer, self.model.finish, session.repository, session.upload_id, digest, sent)
        _remember(session, answer)

    @_some_session
    @rule(data=st.data(), worker=workers, method=st.sampled_from(["GET", "HEAD"]))
    def status(self, data: st.DataObject, worker: int, method: str) -> None:
        session = self._session(data)
        answer = self.ask(method, session.path, worker=worker)
        self.agree(answer, self.model.status, session.repository, session.upload_id)
        _remember(session, answer)

    @_some_session
    @rule(data=st.data(), worker=workers)
    def cancel(self, data: st.DataObject, worker: int) -> None:
        session = self._session(data)
        answer = self.ask("DELETE", session.path, worker=worker)
        self.agree(answer, self.model.cancel, session.repository, session.upload_id)

    @_some_session
    @rule(data=st.data(), other=repositories, method=st.sampled_from(["GET", "PATCH", "PUT", "DELETE"]))
    def another_repository(self, data: st.DataObject, other: str, method: str) -> None:
        session = self._session(data)
        upload = self.model.uploads.get(session.upload_id)
        if upload is None or upload.repository is not self.model.repositories.get(other):
            target = f"/v2/{other}/blobs/uploads/{session.upload_id}?digest={digest_of(b'')}"
            self.refused(self.ask(method, target), 404, "BLOB_UPLOAD_UNKNOWN")

    @rule(data=st.data(), repository=repositories, named=st.sampled_from(["holder", "holder", "any", "none"]))
    def mount(self, data: st.DataObject, repository: str, named: str) -> None:
        holder, digest = self.choose_blob(data)
        source = {"holder": holder, "any": data.draw(repositories), "none": None}[named]
        query = f"?mount={digest}" + (f"&from={source}" if source else "")
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/{query}")
        if answer.status == 202:
            self._started(repository, answer, self.model.mount, repository, digest, source, _new_id(answer))
        else:
            self.agree(answer, self.model.mount, repository, digest, source, "")

    def _session(self, data: st.DataObject) -> Session:
        running = [
            one for one in self.sessions if (known := self.model.uploads.get(one.upload_id)) and not known.finished
        ]
        return self.choose(data, running, st.sampled_from(self.sessions))

    def _started(
        self, repository: str, answer: Answer, request: Callable[P, Expected], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        assert _new_id(answer) not in self.model.uploads
        self.agree(answer, request, *args, **kwargs)
        session = Session(repository, _new_id(answer))
        _remember(session, answer)
        self.sessions.append(session)

    def _content_after(self, session: Session, piece: bytes) -> bytes:
        upload = self.model.uploads.get(session.upload_id)
        if upload is None:
            return piece
        return upload.data if upload.finished else upload.data + piece

    def _placed(self, session: Session, piece: bytes, place: str, chunked: bool) -> tuple[str, dict[str, str], Sent]:
        """The target and headers that say where the piece belongs, and what the model makes of them."""
        if place in CONTENT_RANGES and piece:
            upload = self.model.uploads.get(session.upload_id)
            start = max(0, (len(upload.data) if upload else 0) + _SHIFTS.get(place, 0))
            length = max(1, len(piece) + _STRETCHES.get(place, 0))
            headers = {"Content-Range": f"{start}-{start + length - 1}"}
            return session.path, headers, Sent(piece, start, length, sized=not chunked)
        if place == "path alone":
            return session.path, {}, Sent(piece, sized=not chunked)
        location = session.locations[0 if place == "first location" else -1]
        return location, {}, Sent(piece, int(location.rpartition("=")[2]), sized=not chunked)


def _new_id(answer: Answer) -> str:
    return answer.headers.get("Docker-Upload-UUID", "")


def _remember(session: Session, answer: Answer) -> None:
    if answer.status in (202, 204, 416):
        session.locations.append(answer.headers["Location"])
