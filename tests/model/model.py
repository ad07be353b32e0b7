"""What a registry must hold and answer, as the spec page says it: plain dicts, and none of the product's code."""

from collections.abc import Sequence

from tests.model.answers import (
    BlobsMissing,
    Conditions,
    Expected,
    Refusal,
    algorithm,
    check_movable,
    identity,
    in_ranges,
    page,
    referrer,
)
from tests.model.content import Document, digest_of
from tests.model.garbage import Garbage
from tests.model.past import Past
from tests.model.pushed import Pushed
from tests.model.ranges import Ranges
from tests.model.state import LEASE, Damage, Held, Link, Repository

NESTING_LIMIT = 8
OCTETS = "application/octet-stream"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


class Model(Pushed, Past, Garbage):
    """Each method is one request, or one thing that befalls a registry."""

    # blobs

    def blob(self, name: str, digest: str, *, is_head: bool, ranges: Ranges | None = None) -> Expected:
        if not self.holds(name, digest):
            raise Refusal(404, "BLOB_UNKNOWN")
        stored = self.blobs[digest]
        if is_head:
            self._renew(self.repositories[name].links[digest])
        elif stored.damage in ("lost", "short"):
            self.notice(stored)
            raise Refusal(404, "BLOB_UNKNOWN") if stored.damage == "lost" else Refusal(500, "UNKNOWN")
        headers = {
            "Content-Type": OCTETS,
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
        }
        return in_ranges(stored.data if is_head else stored.on_disk or b"", headers, None if is_head else ranges)

    def damage(self, digest: str, how: Damage) -> None:
        """Or, with "", mend it."""
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
        repository = self.repositories.get(name, Repository(0, name))
        is_new = repository.live(digest) is None
        wanted = list(dict.fromkeys(tags)) if by_digest else [reference]
        if not wanted:
            conditions.check(None if is_new else digest)
        held = self._resolve(repository, document)
        for tag in wanted:
            self._check_tag(repository, tag, digest, conditions)
        repository = self._made(name)
        if digest in repository.manifests:
            held.keep_until = max(held.keep_until, repository.manifests[digest].keep_until)
        repository.manifests[digest] = held
        if is_new:
            self._forget_manifest(repository, digest)
            self._event("manifest.push", repository, new=digest)
        for tag in wanted:
            self._point("tag.point", repository, tag, digest)
        headers = {"Location": f"/v2/{name}/manifests/{digest}", **identity(digest)}
        if document.subject:
            headers["OCI-Subject"] = document.subject
        if by_digest and wanted:
            headers["OCI-Tag"] = ", ".join(wanted)
        return Expected(201, headers)

    def manifest(self, name: str, reference: str, known: str | None = None, *, is_head: bool = False) -> Expected:
        digest, held = self._find(name, reference)
        if is_head:
            self._renew(held)
        if known in (digest, "*"):
            return Expected(304, identity(digest))
        document = held.document
        size = str(len(document.payload))
        headers = {"Content-Type": document.media_type, "Content-Length": size, **identity(digest)}
        return Expected(200, headers, document.payload)

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
        held = self.repositories.get(name, Repository(0, name)).manifests
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

    def _renew(self, leased: Link | Held) -> None:
        """Whoever may push hears that it is here, so it stays (P9); half of a lease is enough."""
        if (leased.keep_until - self.now) * 2 < LEASE:
            leased.keep_until = self.now + LEASE

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
        return Held(document, needs, depth, self.now + LEASE)

    def _check_tag(self, repository: Repository, tag: str, digest: str, conditions: Conditions) -> None:
        pointed = repository.tags.get(tag)
        conditions.check(pointed)
        if pointed not in (None, digest):
            check_movable(tag)
