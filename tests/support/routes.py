"""A request for each route and method, and a repository that has what they ask for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from registry.api.routing import Route
from registry.assembly import Registry
from registry.content.conditions import Conditions
from registry.content.pushing import Push
from registry.domain.access import ANYBODY, Caller, Identity
from registry.domain.names import Digest, RepositoryName, Tag
from tests.support.images import OCI, Image, blob, encode, image
from tests.support.registry import CALLER, push

STOCK = RepositoryName("stock/stock")
# Where grants decide, a server ends the uploads of anybody else
ADMINISTRATOR = Caller(replace(ANYBODY, name="user:admin"), "request")
TAG = "v1"
IMAGE = image("stock")
# The same parts, another digest
NEWER = encode({**json.loads(IMAGE.manifest), "annotations": {"org.example.release": "2"}})
# No manifest needs it, so that it may go
LOOSE = blob(b"loose")
# Nobody has it yet
LATER = blob(b"later")

BOTH = ("GET", "HEAD")


@dataclass(frozen=True)
class Ask:
    """A request but for who sends it."""

    method: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def asks(repository: str, upload_id: str = "0" * 32) -> dict[tuple[Route, str], Ask]:
    """By route and method, what succeeds for whoever may. `upload_id`: an empty upload of the caller's."""
    base = f"/v2/{repository}"
    upload = f"{base}/blobs/uploads/{upload_id}?offset=0"
    reads = {
        Route.PING: "/v2/",
        Route.CATALOG: "/v2/_catalog",
        Route.TAGS: f"{base}/tags/list",
        Route.MANIFEST: f"{base}/manifests/{TAG}",
        Route.BLOB: f"{base}/blobs/{LOOSE.digest}",
        Route.UPLOAD: upload,
        Route.REFERRERS: f"{base}/referrers/{IMAGE.digest}",
    }
    writes = {
        (Route.BLOB, "DELETE"): Ask("DELETE", reads[Route.BLOB]),
        (Route.MANIFEST, "PUT"): put(f"{base}/manifests/new"),
        (Route.MANIFEST, "DELETE"): Ask("DELETE", reads[Route.MANIFEST]),
        (Route.UPLOADS, "POST"): Ask("POST", f"{base}/blobs/uploads/"),
        (Route.UPLOAD, "PATCH"): Ask("PATCH", upload, LATER.data),
        (Route.UPLOAD, "PUT"): Ask("PUT", f"{upload}&digest={LATER.digest}", LATER.data),
        (Route.UPLOAD, "DELETE"): Ask("DELETE", upload),
    }
    return {(route, method): Ask(method, target) for route, target in reads.items() for method in BOTH} | writes


def put(target: str, manifest: bytes = NEWER) -> Ask:
    return Ask("PUT", target, manifest, {"Content-Type": OCI.manifest})


async def stock(registry: Registry, name: str, content: Image = IMAGE) -> None:
    """Fill a repository: an image under TAG, and LOOSE."""
    repository = RepositoryName(name)
    for part in (*content.blobs, LOOSE):
        digest = Digest(part.digest)
        if not await registry.uploads.mount(repository, digest, STOCK, lambda _: True):
            await push(registry, part.data, STOCK, ADMINISTRATOR)
            await registry.uploads.mount(repository, digest, STOCK, lambda _: True)
    pushed = Push(repository, Tag(TAG), content.manifest, OCI.manifest, [Tag(TAG)], Conditions())
    await registry.manifests.put(pushed, CALLER)


async def begin(registry: Registry, name: str, subject: str) -> str:
    """The id of an upload that this subject has begun."""
    started = await registry.uploads.start(RepositoryName(name), Caller(Identity(subject), "test"), "sha256")
    return started.id
