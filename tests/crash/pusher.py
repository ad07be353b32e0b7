"""What pushers do: blobs in every way, mounts, images, indexes, tags; and all of it deleted again."""

import time
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from tests.crash.client import Answer, UnexpectedAnswerError, told_offset
from tests.crash.ledger import Session, blob_path, manifest_path
from tests.crash.witness import Witness
from tests.support.images import OCI, descriptor, digest_of, image_config, image_manifest, index_manifest

TAGS = ("latest", "stable", "v1", "v2")
# Small and pushed by everybody, so kills also hit pushes of bytes that another push has just stored
SHARED_BLOBS = tuple(f"shared {number}".encode() * 1000 for number in range(40))


class Pusher(Witness):
    """Works at random; being the only writer of its repository, it knows what must be there."""

    def step(self) -> None:
        if self.ledger.session is not None:
            self.go_on(self.ledger.session)
            return
        steps = {
            self._push_whole: 4,
            self._open_upload: 6,
            self._mount: 2,
            self._push_image: 6,
            self._push_index: 2,
            self._delete_tag: 2,
            self._delete_manifest: 2,
            self._delete_blob: 1,
            self._push_what_must_be_refused: 1,
        }
        step = self._random.choices(list(steps), list(steps.values()))[0]
        self._doing = step.__name__.strip("_").replace("_", " ")
        step()

    # --- blobs --------------------------------------------------------------------------------------------------

    def _content(self) -> bytes:
        if self._random.random() < 0.15:
            return self._random.choice(SHARED_BLOBS)
        return self._random.randbytes(int(self._crowd.largest ** self._random.random()))

    def _push_whole(self) -> None:
        content = self._content()
        path = f"/blobs/uploads/?digest={digest_of(content)}"
        self._change("POST", path, 201, change={blob_path(content): content}, body=content)

    def _push_what_must_be_refused(self) -> None:
        """Other bytes than the digest says, an image without its blobs, the end of a blob that an image needs."""
        content = self._random.randbytes(100)
        self._ask("POST", f"/blobs/uploads/?digest={digest_of(content + b'.')}", 400, body=content)
        self._ask("GET", f"/{blob_path(content)}", 404)
        image = image_manifest(content, [])
        headers = {"Content-Type": OCI.manifest}
        self._ask("PUT", f"/manifests/{digest_of(image)}", 400, body=image, headers=headers)
        needed = b"".join(self.ledger.held[path] for path in self.ledger.paths("manifests"))
        for path in self.ledger.paths("blobs"):
            if path.removeprefix("blobs/").encode() in needed:
                self._ask("DELETE", f"/{path}", 405)
                return

    def _mount(self) -> None:
        if not self._crowd.mountable:
            return
        source, content = self._random.choice(self._crowd.mountable)
        path = f"/blobs/uploads/?mount={digest_of(content)}&from={quote(source, safe='')}"
        answer = self._change("POST", path, 201, 202, change={blob_path(content): content})
        if answer.status == 202:
            self._opened(answer, content)

    def _delete_blob(self) -> None:
        needed = b"".join(self.ledger.held[path] for path in self.ledger.paths("manifests"))
        free = [path for path in self.ledger.paths("blobs") if path.removeprefix("blobs/").encode() not in needed]
        if free:
            path = self._random.choice(free)
            self._change("DELETE", f"/{path}", 202, change={path: None})

    # --- uploads ------------------------------------------------------------------------------------------------

    def _open_upload(self) -> None:
        self._opened(self._ask("POST", "/blobs/uploads/", 202), self._content())

    def _opened(self, answer: Answer, content: bytes) -> None:
        location = answer.headers["Location"]
        self.ledger.session = Session(location.partition("?")[0], location, content)

    def go_on(self, session: Session) -> None:
        """Send the rest: as one stream of odd pieces, or in chunks that say where they belong; then close it."""
        self._doing = "sending an upload"
        if self._random.random() < 0.5:
            self._stream(session, self._last_piece(session))
        else:
            while session.acknowledged < (end := self._last_piece(session)):
                least = max(1, (end - session.acknowledged) // 3)
                self._chunk(session, self._random.randint(session.acknowledged + least, end))
        if self._random.random() < 0.1:
            self._cancel(session)
        else:
            self._close(session)

    def _last_piece(self, session: Session) -> int:
        """Up to where PATCH goes; in some uploads the rest comes with the PUT."""
        return len(session.content) - (len(session.content) // 4 if len(session.content) % 3 == 0 else 0)

    def _stream(self, session: Session, end: int) -> None:
        if session.acknowledged < end:
            answer = self._ask("PATCH", session.location, 202, body=self._pieces(session, end))
            self._patched(session, answer, end)

    def _pieces(self, session: Session, end: int) -> Iterator[bytes]:
        position = session.acknowledged
        while position < end:
            size = int(self._crowd.largest ** self._random.random())
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
        answer = self._ask("PATCH", session.location, 202, body=session.content[start:end], headers=headers)
        self._patched(session, answer, end)
        if self._random.random() < 0.1:
            self._ask("PATCH", session.location, 416, body=session.content[start:end], headers=headers)

    def _patched(self, session: Session, answer: Answer, end: int) -> None:
        if (offset := told_offset(answer)) != end:
            raise UnexpectedAnswerError(f"PATCH {session.path}: tells {offset} bytes, not {end}")
        session.acknowledged = end
        session.location = answer.headers["Location"]
        self.acknowledged["patches"] += 1

    def _close(self, session: Session) -> None:
        self._doing = "closing an upload"
        rest = session.content[session.acknowledged :]
        session.sent = len(session.content)
        session.ending = "PUT"
        self._ask("PUT", f"{session.location}&digest={session.digest}", 201, body=rest)
        self.resumed += session.survived
        self.ledger.session = None
        self._acknowledged({blob_path(session.content): session.content})

    def _cancel(self, session: Session) -> None:
        self._doing = "cancelling an upload"
        session.ending = "DELETE"
        self._ask("DELETE", session.location, 204)
        self.ledger.session = None

    # --- manifests ----------------------------------------------------------------------------------------------

    def _push_image(self) -> None:
        """An image of a new config and old layers."""
        config = image_config([f"sha256:{self._random.randbytes(32).hex()}"])
        path = f"/blobs/uploads/?digest={digest_of(config)}"
        self._change("POST", path, 201, change={blob_path(config): config}, body=config)
        layers = [self.ledger.held[path] for path in self._some("blobs", 3)]
        self._push_manifest(image_manifest(config, layers), OCI.manifest)

    def _push_index(self) -> None:
        held = self.ledger.held
        images = [path for path in self.ledger.paths("manifests") if OCI.index.encode() not in held[path]]
        chosen = self._random.sample(images, min(3, len(images)))
        entries = [descriptor(OCI.manifest, held[path]) for path in chosen]
        self._push_manifest(index_manifest(entries, annotations={"serial": str(self._random.random())}), OCI.index)

    def _push_manifest(self, payload: bytes, media_type: str) -> None:
        """By tag, by digest, or by digest with tags beside it."""
        tags = self._random.sample(TAGS, self._random.choice((0, 1, 1, 1, 2)))
        by_digest = len(tags) != 1 or self._random.random() < 0.3
        query = "&".join(f"tag={tag}" for tag in tags) if by_digest else ""
        reference = digest_of(payload) if by_digest else tags[0]
        change = dict.fromkeys((manifest_path(payload), *(f"manifests/{tag}" for tag in tags)), payload)
        path = f"/manifests/{reference}" + (f"?{query}" if query else "")
        self._change("PUT", path, 201, change=change, body=payload, headers={"Content-Type": media_type})

    def _delete_tag(self) -> None:
        for path in self._some("tags", 1):
            self._change("DELETE", f"/{path}", 202, change={path: None})

    def _delete_manifest(self) -> None:
        """With all of its tags; one that no index needs."""
        held = self.ledger.held
        indexes = b"".join(held[path] for path in self.ledger.paths("manifests") if OCI.index.encode() in held[path])
        free = [one for one in self.ledger.paths("manifests") if one.removeprefix("manifests/").encode() not in indexes]
        if free:
            path = self._random.choice(free)
            tags = [tag for tag in self.ledger.paths("tags") if held[tag] == held[path]]
            self._change("DELETE", f"/{path}", 202, change=dict.fromkeys([path, *tags]))

    def _some(self, kind: str, count: int) -> Sequence[str]:
        paths = self.ledger.paths(kind)
        return self._random.sample(paths, min(count, len(paths)))
