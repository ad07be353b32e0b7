"""What a registry must hold and answer, as the spec page says it: plain dicts, and none of the product's code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.model.answers import (
    BlobsMissing,
    Conditions,
    Expected,
    Refusal,
    Sent,
    algorithm,
    check_lengths,
    check_movable,
    created,
    identity,
    in_ranges,
    location,
    page,
    referrer,
)
from tests.model.content import Document, Part, digest_of
from tests.model.ranges import Ranges

DAY = 86_400_000
NESTING_LIMIT = 8
OCTETS = "application/octet-stream"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Stored:
    """A blob's bytes. Lost or short ones are found out by the first reader, then hidden until a push heals."""

    data: bytes
    damage: Literal["", "lost", "short"] = ""
    hidden: bool = False


@dataclass
class Held:
    """A manifest in a repository. `needs` says what each part was when it came: a blob or a manifest."""

    document: Document
    needs: Mapping[str, str]
    depth: int
    live: bool = True


@dataclass
class Repository:
    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, Held] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def live(self, digest: str) -> Held | None:
        held = self.manifests.get(digest)
        return held if held and held.live else None


@dataclass
class Upload:
    repository: str
    expires: int
    data: bytes = b""
    finished: str = ""


class Model:
    """Each method is one request, or one thing that befalls a registry."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.events: list[tuple[str, str, str | None, str | None, str | None]] = []

    # uploads

    def start(self, name: str, upload_id: str) -> Expected:
        self._made(name)
        self.uploads[upload_id] = Upload(name, self.now + DAY)
        return self._state(202, name, upload_id)

    def push(self, name: str, digest: str, data: bytes) -> Expected:
        self._made(name)
        if digest_of(data, algorithm(digest)) != digest:
            raise Refusal(400, "DIGEST_INVALID")
        return self._keep(name, digest, data)

    def mount(self, name: str, digest: str, source: str | None, upload_id: str) -> Expected:
        sources = [source] if source is not None else list(self.repositories)
        if not any(self._has(one, digest) for one in sources):
            return self.start(name, upload_id)
        self._made(name).blobs.add(digest)
        return created(name, digest)

    def patch(self, name: str, upload_id: str, sent: Sent) -> Expected:
        check_lengths(sent)
        upload = self._upload(name, upload_id)
        if upload.finished:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        self._append(upload_id, upload, sent)
        return self._state(202, name, upload_id)

    def finish(self, name: str, upload_id: str, digest: str, sent: Sent) -> Expected:
        check_lengths(sent)
        upload = self._upload(name, upload_id)
        if upload.finished:
            return self._repeat(name, upload, digest)
        self._append(upload_id, upload, sent)
        if digest_of(upload.data, algorithm(digest)) != digest:
            del self.uploads[upload_id]
            raise Refusal(400, "DIGEST_INVALID")
        upload.finished = digest
        return self._keep(name, digest, upload.data)

    def status(self, name: str, upload_id: str) -> Expected:
        if self._upload(name, upload_id).finished:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return self._state(204, name, upload_id)

    def cancel(self, name: str, upload_id: str) -> Expected:
        self.status(name, upload_id)
        del self.uploads[upload_id]
        return Expected(204)

    def expire(self) -> None:
        """The sweep: an upload whose time is over lives until it comes."""
        self.uploads = {key: upload for key, upload in self.uploads.items() if upload.expires >= self.now}

    # blobs

    def blob(self, name: str, digest: str, *, is_head: bool, ranges: Ranges | None = None) -> Expected:
        if not self._has(name, digest):
            raise Refusal(404, "BLOB_UNKNOWN")
        stored = self.blobs[digest]
        if stored.damage and not is_head:
            stored.hidden = True
            raise Refusal(404, "BLOB_UNKNOWN") if stored.damage == "lost" else Refusal(500, "UNKNOWN")
        headers = {
            "Content-Type": OCTETS,
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
        }
        return in_ranges(stored.data, headers, None if is_head else ranges)

    def delete_blob(self, name: str, digest: str) -> Expected:
        repository = self.repositories.get(name, Repository())
        for held in repository.manifests.values():
            if held.live and held.needs.get(digest) == "blob":
                raise Refusal(405, "UNSUPPORTED")
        if digest not in repository.blobs:
            raise Refusal(404, "BLOB_UNKNOWN")
        repository.blobs.remove(digest)
        self._event("blob.delete", name, old=digest)
        return Expected(202)

    @property
    def intact(self) -> list[str]:
        return sorted(digest for digest, stored in self.blobs.items() if not stored.damage)

    def damage(self, digest: str, how: Literal["lost", "short"]) -> None:
        self.blobs[digest].damage = how

    # manifests

    def put(
        self,
        name: str,
        reference: str,
        document: Document,
        tags: Sequence[str] = (),
        conditions: Conditions | None = None,
    ) -> Expected:
        conditions = conditions or Conditions()
        by_digest = ":" in reference
        digest = digest_of(document.payload, algorithm(reference) if by_digest else "sha256")
        if by_digest and digest != reference:
            raise Refusal(400, "DIGEST_INVALID")
        if document.flawed:
            raise Refusal(400, "MANIFEST_INVALID")
        repository = self.repositories.get(name, Repository())
        is_new = repository.live(digest) is None
        wanted = list(dict.fromkeys(tags)) if by_digest else [reference]
        if not wanted:
            conditions.check(None if is_new else digest)
        held = self._resolve(repository, document)
        for tag in wanted:
            self._check_tag(repository, tag, digest, conditions)
        self._made(name).manifests[digest] = held
        if is_new:
            self._event("manifest.push", name, new=digest)
        for tag in wanted:
            self._point(name, tag, digest)
        headers = {"Location": f"/v2/{name}/manifests/{digest}", **identity(digest)}
        if document.subject:
            headers["OCI-Subject"] = document.subject
        if by_digest and wanted:
            headers["OCI-Tag"] = ", ".join(wanted)
        return Expected(201, headers)

    def manifest(self, name: str, reference: str, known: str | None = None) -> Expected:
        digest, held = self._find(name, reference)
        if known in (digest, "*"):
            return Expected(304, identity(digest))
        document = held.document
        size = str(len(document.payload))
        headers = {"Content-Type": document.media_type, "Content-Length": size, **identity(digest)}
        return Expected(200, headers, document.payload)

    def delete_tag(self, name: str, tag: str, conditions: Conditions) -> Expected:
        digest, _ = self._find(name, tag)
        conditions.check(digest)
        check_movable(tag)
        self._remove_tag(name, tag)
        return Expected(202)

    def delete_manifest(self, name: str, digest: str, conditions: Conditions) -> Expected:
        _, held = self._find(name, digest)
        conditions.check(digest)
        repository = self.repositories[name]
        for other in repository.manifests.values():
            if other.live and other.needs.get(digest) == "manifest":
                raise Refusal(405, "UNSUPPORTED")
        tags = [tag for tag, pointed in repository.tags.items() if pointed == digest]
        for tag in tags:
            check_movable(tag)
        for tag in sorted(tags):
            self._remove_tag(name, tag)
        held.live = False
        self._event("manifest.delete", name, old=digest)
        return Expected(202)

    # lists

    def tags(self, name: str, n: int | None, last: str | None) -> Expected:
        if name not in self.repositories:
            raise Refusal(404, "NAME_UNKNOWN")
        found, link = page(self.repositories[name].tags, f"{name}/tags/list", n, last)
        return Expected(200, {"Content-Type": "application/json"} | link, document={"name": name, "tags": found})

    def catalog(self, n: int | None, last: str | None) -> Expected:
        live = [name for name, one in self.repositories.items() if any(held.live for held in one.manifests.values())]
        found, link = page(live, "_catalog", n, last)
        return Expected(200, {"Content-Type": "application/json"} | link, document={"repositories": found})

    def referrers(self, name: str, subject: str, types: Sequence[str], last: str | None) -> Expected:
        held = self.repositories.get(name, Repository()).manifests
        found = [
            referrer(digest, one.document)
            for digest, one in sorted(held.items())
            if one.live and one.document.subject == subject and digest > (last or "")
        ]
        headers = {"Content-Type": OCI_INDEX}
        if types:
            headers["OCI-Filters-Applied"] = "artifactType"
            found = [entry for entry in found if entry.get("artifactType") in types]
        return Expected(200, headers, document={"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found})

    # rules that several requests share

    def _made(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def _has(self, name: str, digest: str) -> bool:
        """Whether a repository holds the blob, as far as anybody knows."""
        return digest in self.repositories.get(name, Repository()).blobs and not self.blobs[digest].hidden

    def _keep(self, name: str, digest: str, data: bytes) -> Expected:
        self.blobs[digest] = Stored(data)
        self.repositories[name].blobs.add(digest)
        return created(name, digest)

    def _upload(self, name: str, upload_id: str) -> Upload:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.repository != name:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return upload

    def _append(self, upload_id: str, upload: Upload, sent: Sent) -> None:
        offset = len(upload.data)
        is_nothing = sent.sized and not sent.data
        if sent.start is not None and sent.start != offset and not is_nothing:
            there = location(upload.repository, upload_id, offset)
            raise Refusal(416, "BLOB_UPLOAD_INVALID", {"Location": there, "Range": f"0-{offset - 1}"})
        upload.expires = self.now + DAY
        if sent.declared is not None and sent.declared != len(sent.data):
            raise Refusal(400, "SIZE_INVALID")
        upload.data += sent.data

    def _repeat(self, name: str, upload: Upload, digest: str) -> Expected:
        if upload.finished != digest:
            raise Refusal(400, "DIGEST_INVALID")
        if not self._has(name, digest):
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return created(name, digest)

    def _state(self, status: int, name: str, upload_id: str) -> Expected:
        offset = len(self.uploads[upload_id].data)
        # moby refuses `0--1` after a POST or PATCH (spec page, section 3.5)
        last = offset - 1 if status == 204 else max(offset - 1, 0)
        headers = {
            "Location": location(name, upload_id, offset),
            "Range": f"0-{last}",
            "Docker-Upload-UUID": upload_id,
        }
        return Expected(status, headers)

    def _resolve(self, repository: Repository, document: Document) -> Held:
        needs: dict[str, str] = {}
        missing, depth = [], 0
        for part in document.parts:
            child = repository.live(part.digest) if part.is_child else None
            size = len(child.document.payload) if child else self._size(repository, part)
            if size is None:
                if not part.is_foreign:
                    missing.append(part.digest)
                continue
            if size != part.size:
                raise Refusal(400, "MANIFEST_INVALID")
            needs[part.digest] = "manifest" if child else "blob"
            depth = max(depth, child.depth + 1) if child else depth
        if missing:
            raise BlobsMissing(missing)
        if depth > NESTING_LIMIT:
            raise Refusal(400, "MANIFEST_INVALID")
        return Held(document, needs, depth)

    def _size(self, repository: Repository, part: Part) -> int | None:
        stored = self.blobs.get(part.digest)
        known = stored is not None and part.digest in repository.blobs and not stored.hidden
        return len(stored.data) if stored and known else None

    def _find(self, name: str, reference: str) -> tuple[str, Held]:
        if name not in self.repositories:
            raise Refusal(404, "NAME_UNKNOWN")
        repository = self.repositories[name]
        digest = reference if ":" in reference else repository.tags.get(reference, "")
        held = repository.live(digest)
        if held is None:
            raise Refusal(404, "MANIFEST_UNKNOWN")
        return digest, held

    def _check_tag(self, repository: Repository, tag: str, digest: str, conditions: Conditions) -> None:
        pointed = repository.tags.get(tag)
        conditions.check(pointed)
        if pointed not in (None, digest):
            check_movable(tag)

    def _point(self, name: str, tag: str, digest: str) -> None:
        tags = self.repositories[name].tags
        old = tags.get(tag)
        if old != digest:
            tags[tag] = digest
            self._event("tag.point", name, tag, old, digest)

    def _remove_tag(self, name: str, tag: str) -> None:
        self._event("tag.delete", name, tag, self.repositories[name].tags.pop(tag))

    def _event(
        self, action: str, name: str, tag: str | None = None, old: str | None = None, new: str | None = None
    ) -> None:
        self.events.append((action, name, tag, old, new))
