"""Send every request twice: at once, or again after the one that follows it. The second must have no effect.

The same pushes and deletes go to two registries, to one of them through a proxy that doubles; then both must hold
the same rows, objects and history. What the replays answer is checked against the spec page.
"""

import argparse
import json
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.clients import CHUNK, Client, Push, Resuming, containerd, docker, oras
from tests.faults.proxy import Proxy, Request, Upstream
from tests.support.images import OCI, blob, descriptor, digest_of, image, image_manifest, index
from tests.support.server import LiveServer
from tests.support.wire import query, snapshot

HISTORY = "SELECT action, repository, tag, old_digest, new_digest FROM event ORDER BY id"
HELD = """
SELECT r.name, l.digest, l.deleted_at IS NULL FROM link l JOIN repository r ON r.id = l.repository_id
UNION ALL SELECT r.name, m.digest, m.deleted_at IS NULL FROM manifest m JOIN repository r ON r.id = m.repository_id
UNION ALL SELECT r.name || ':' || t.name, t.digest, t.version FROM tag t JOIN repository r ON r.id = t.repository_id
ORDER BY 1, 2
"""
_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")


@dataclass(frozen=True)
class Doubled:
    """A request and both of its answers. `late`: another request was answered between."""

    request: Request
    first: int
    second: int
    late: bool

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.target[:150]}: {self.first}, then {self.second}"


class DoublingProxy(Proxy):
    """Sends each request again on a connection of its own, before its answer is delivered, or one request later."""

    def __init__(self, host: str, *, late: bool) -> None:
        self._late = late
        self._waiting: tuple[Request, int] | None = None
        self.doubled: list[Doubled] = []
        super().__init__(host)

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self._send_waiting()

    def serve(self, request: Request, upstream: Upstream, client: socket.socket) -> bool:
        answer = upstream.ask(request)
        self._send_waiting()
        self._waiting = (request, _status(answer))
        if not self._late:
            self._send_waiting()
        client.sendall(answer)
        return True

    def _send_waiting(self) -> None:
        if self._waiting is None:
            return
        (request, first), self._waiting = self._waiting, None
        with Upstream(self.upstream_host) as upstream:
            second = _status(upstream.ask(request))
        self.doubled.append(Doubled(request, first, second, self._late))


def may_answer(one: Doubled) -> set[int]:
    """What the second of two equal requests may be told (spec page, sections 3.3 to 3.8)."""
    request, first = one.request, one.first
    if first >= 400:
        return {first}
    if request.method == "PATCH":
        # the upload has moved on, or has ended when the replay came late
        return {416, 404} if one.late else {416}
    if request.method == "DELETE":
        return {404}
    if request.method in ("GET", "HEAD") and one.late:
        return {first, 404}  # what came between may have been its end
    if request.headed(b"if-none-match") or request.headed(b"if-match"):
        return {412}
    return {first}


def do_everything(client: Client, name: str) -> None:
    """Images, an index, an artifact, tags, a mount, deletes, an upload that is given up."""
    _push_images(client, name)
    _push_artifact(client, name)
    _move_tag(client, name)
    _delete(client, name)


def _push_images(client: Client, name: str) -> None:
    images = index(name)
    first, second = images.images
    for part in first.blobs:
        docker(client, name, part)
    pushes: list[Push] = [containerd, oras, Resuming(lambda: 0)]
    for push, part in zip(pushes, second.blobs, strict=True):
        push(client, name, part)
    Resuming(lambda: 0)(client, name, blob(b"%d " % len(name) * CHUNK))
    for one in images.images:
        client.put_manifest(name, one.digest, one.manifest, one.media_type)
    client.put_manifest(name, "multi", images.manifest, images.media_type)
    client.put_manifest(name, f"{images.digest}?tag=v1&tag=v1.0", images.manifest, images.media_type)
    mounted = first.layers[0].digest
    client.again("POST", f"/v2/{name}/mounted/blobs/uploads/?mount={mounted}&from={name}", (201,))


def _push_artifact(client: Client, name: str) -> None:
    subject = index(name)
    oras(client, name, blob(b"{}"))
    artifact = image_manifest(b"{}", [], subject=subject.descriptor(), artifactType="application/x.sbom")
    client.put_manifest(name, digest_of(artifact), artifact, OCI.manifest)
    listed = client.again("GET", f"/v2/{name}/referrers/{subject.digest}", (200,))
    assert json.loads(listed.body)["manifests"] == [
        descriptor(OCI.manifest, artifact, artifactType="application/x.sbom")
    ]


def _move_tag(client: Client, name: str) -> None:
    """Each move says what it expects: only then is a late replay no new wish."""
    one, other = image(f"{name} one"), image(f"{name} other")
    for part in (*one.blobs, *other.blobs):
        docker(client, name, part)
    path, kind = f"/v2/{name}/manifests/moving", {"Content-Type": OCI.manifest}
    client.again("PUT", path, (201,), one.manifest, {**kind, "If-None-Match": "*"})
    client.again("PUT", path, (201,), other.manifest, {**kind, "If-Match": f'"{one.digest}"'})
    client.again("HEAD", path, (200,))


def _delete(client: Client, name: str) -> None:
    gone = image(f"{name} gone", layers=1)
    for part in gone.blobs:
        oras(client, name, part)
    client.put_manifest(name, "gone", gone.manifest, OCI.manifest)
    client.put_manifest(name, "gone-too", gone.manifest, OCI.manifest)
    client.again("GET", f"/v2/{name}/tags/list", (200,))
    client.again("DELETE", f"/v2/{name}/manifests/gone", (202,))
    client.again("DELETE", f"/v2/{name}/blobs/{gone.layers[0].digest}", (405,))
    client.again("HEAD", f"/v2/{name}/manifests/gone-too", (200,))  # a replay of the refused must find it refused
    client.again("DELETE", f"/v2/{name}/manifests/{gone.digest}", (202,))
    client.again("DELETE", f"/v2/{name}/blobs/{gone.layers[0].digest}", (202,))
    client.again("DELETE", client.start(name), (204,))


@contextmanager
def running(folder: Path, workers: int) -> Iterator[LiveServer]:
    server = LiveServer(folder, {"REGISTRY_HTTP_WORKERS": str(workers)}).start()
    try:
        yield server
    finally:
        server.stop()


def double(plain: LiveServer, doubled: LiveServer, rounds: int, *, late: bool) -> tuple[list[Doubled], list[str]]:
    """Do the same to both; return every pair of answers, and what differs from what it should be."""
    prefix = "late" if late else "at-once"
    with DoublingProxy(doubled.host, late=late) as proxy:
        for host in (plain.host, proxy.host):
            with closing(Client(host)) as client:
                for number in range(rounds):
                    do_everything(client, f"{prefix}/{number}")
    problems = [f"a replay: {one}" for one in proxy.doubled if one.second not in may_answer(one)]
    problems += list(differences(plain, doubled))
    return proxy.doubled, problems


def differences(plain: LiveServer, doubled: LiveServer) -> Iterator[str]:
    one, two = snapshot(plain).without_uploads, snapshot(doubled).without_uploads
    if one.rows != two.rows:
        yield f"rows: {one.rows}, doubled {two.rows}"
    if len(one.files) != len(two.files):
        yield f"objects: {len(one.files)}, doubled {len(two.files)}"
    for what in (HISTORY, HELD):
        if (rows := query(plain, what)) != (twice := query(doubled, what)):
            yield f"{what.split()[1]}: {sorted(set(rows) ^ set(twice))[:10] or 'another number or order'}"
    for server in (plain, doubled):
        done = server.digestry("fsck", "--deep", "--json")
        if done.returncode != 0:
            yield f"fsck: {done.stdout[-1000:]}{done.stderr[-1000:]}"
        yield from server.tracebacks()


def _status(answer: bytes) -> int:
    found = _STATUS.match(answer)
    assert found is not None, answer[:200]
    return int(found[1])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(arguments)
    started, pairs, problems = time.monotonic(), [], []
    with (
        tempfile.TemporaryDirectory(prefix="digestry-doubled-") as folder,
        running(Path(folder, "plain"), 1) as plain,
        running(Path(folder, "doubled"), chosen.workers) as doubled,
    ):
        for late in (False, True):
            found, wrong = double(plain, doubled, chosen.rounds, late=late)
            pairs += found
            problems += wrong
    answers = Counter(f"{one.request.method} {one.first} then {one.second}" for one in pairs)
    figures = {
        "rounds": chosen.rounds,
        "seconds": round(time.monotonic() - started),
        "doubled": len(pairs),
        "answers": dict(sorted(answers.items())),
        "problems": problems,
    }
    print(json.dumps(figures, indent=2))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
