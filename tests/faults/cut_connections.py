"""Cut the connection at every kind of byte of a push; whoever resumes or starts again must get through.

The proxy takes a request whole, passes on its bytes up to the cut, and ends both connections with FIN or RST.
Clients go on as docker, containerd, oras and regclient do. What the registry then holds is compared byte for byte.
"""

import argparse
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.faults.clients import CHUNK, Client, Push, Resuming, containerd, docker, oras, pulled
from tests.faults.proxy import Proxy, Request, Upstream, end
from tests.support.images import OCI, Blob, blob, image_config, image_manifest
from tests.support.server import LiveServer

FSCK_EVERY = 50
CUT_SHARE = 0.25
SIZES = (0, 1, 100, 65_536, CHUNK, CHUNK + 1, 3 * CHUNK)


class Place(StrEnum):
    """The byte after which the connection ends."""

    REQUEST_LINE = "in the request line"
    HEADER = "in a header"
    BEFORE_BODY = "between head and body"
    CHUNK_HEADER = "in a chunk header"
    FIRST_BYTE = "after the first byte of the body"
    MIDDLE = "in the body"
    LAST_BYTE = "before the last byte of the body"
    LAST_CHUNK = "before the last chunk"
    SENT = "after the request, before any answer"
    ANSWER = "when the answer is there, before it is delivered"
    BETWEEN = "after the answer"


@dataclass(frozen=True)
class Cut:
    place: Place
    reset: bool


# Says where to cut a request, None for not at all
Plan = Callable[[Request], Cut | None]


def places_in(request: Request) -> list[Place]:
    """Those that this request has."""
    places = [Place.REQUEST_LINE, Place.HEADER, Place.SENT, Place.ANSWER, Place.BETWEEN]
    if request.is_chunked:
        places += [Place.BEFORE_BODY, Place.CHUNK_HEADER, Place.LAST_CHUNK]
    if request.spans:
        places += [Place.BEFORE_BODY, Place.FIRST_BYTE, Place.MIDDLE, Place.LAST_BYTE]
    return places


def bytes_before(place: Place, request: Request, seeded: random.Random) -> int:
    """How much of the request is passed on."""
    head, line = len(request.head), request.head.index(b"\r\n")
    first, last = (request.spans[0][0], request.spans[-1][1]) if request.spans else (0, 0)
    return {
        Place.REQUEST_LINE: lambda: seeded.randrange(1, line),
        Place.HEADER: lambda: seeded.randrange(line + 3, head - 2),
        Place.BEFORE_BODY: lambda: head,
        Place.CHUNK_HEADER: lambda: head + 1,
        Place.FIRST_BYTE: lambda: head + first + 1,
        Place.MIDDLE: lambda: head + seeded.randint(first + 1, last),
        Place.LAST_BYTE: lambda: head + last - 1,
        Place.LAST_CHUNK: lambda: len(request.raw) - 5,
    }.get(place, lambda: len(request.raw))()


class CuttingProxy(Proxy):
    """Cuts as the plan says. `forwarded`: the bytes of content of the last cut request that were passed on."""

    def __init__(self, host: str, plan: Plan, seeded: random.Random) -> None:
        self.plan = plan
        self.forwarded = 0
        self.requests = 0
        self.cuts: Counter[str] = Counter()
        self._seeded = seeded
        super().__init__(host)

    def serve(self, request: Request, upstream: Upstream, client: socket.socket) -> bool:
        self.requests += 1
        cut = self.plan(request)
        if cut is None:
            return super().serve(request, upstream, client)
        self.cuts[cut.place] += 1
        length = bytes_before(cut.place, request, self._seeded)
        self.forwarded = request.content_in(length)
        upstream.socket.sendall(request.raw[:length])
        if cut.place in (Place.ANSWER, Place.BETWEEN):
            answer = upstream.answer(request)
            if cut.place is Place.BETWEEN:
                client.sendall(answer)
        end(upstream.socket, reset=cut.reset)
        end(client, reset=cut.reset and cut.place is not Place.BETWEEN)  # RST would take the answer with it
        return False


@dataclass
class Trial:
    """A server, the proxy before it, and what came of all the pushes."""

    server: LiveServer
    seed: int
    rounds: int = 0
    resumed: int = 0
    checked: int = 0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # two: how often the client asks again must not change what it pushes
        self.seeded = random.Random(f"pushes {self.seed}")
        self._cuts = random.Random(f"cuts {self.seed}")
        self._made: Counter[Place] = Counter()

    def run(self, rounds: int) -> Counter[str]:
        """Pushes with cuts at random."""
        with CuttingProxy(self.server.host, self._at_random, self._cuts) as proxy:
            for number in range(1, rounds + 1):
                self.push_image(proxy)
                if number % FSCK_EVERY == 0 or number == rounds:
                    self.fsck()
            return proxy.cuts

    def push_image(self, proxy: CuttingProxy) -> None:
        """Push each blob as one client or another does, then the manifest; compare what is there."""
        self.rounds += 1
        name = f"cut/{self.seeded.randrange(5)}"
        layers = [self.seeded.randbytes(self.seeded.choice(SIZES)) for _ in range(self.seeded.randint(1, 3))]
        config = image_config([self.seeded.randbytes(32).hex()])
        resuming = Resuming(lambda: proxy.forwarded)
        ways: list[Push] = [docker, containerd, oras, resuming]
        with closing(Client(proxy.host)) as client:
            try:
                for data in (config, *layers):
                    self.seeded.choice(ways)(client, name, blob(data))
                self.push_manifest(client, name, image_manifest(config, layers), [blob(config), *map(blob, layers)])
            except AssertionError as error:
                self.problems.append(f"round {self.rounds}: {error}")
        self.resumed += resuming.resumed

    def push_manifest(self, client: Client, name: str, payload: bytes, parts: Sequence[Blob]) -> None:
        client.put_manifest(name, "latest", payload, OCI.manifest)
        assert pulled(self.server.host, f"/v2/{name}/manifests/latest") == payload
        for part in parts:
            assert pulled(self.server.host, f"/v2/{name}/blobs/{part.digest}") == part.data, part.digest

    def fsck(self) -> None:
        done = self.server.digestry("fsck", "--deep", "--json")
        self.checked += 1
        if done.returncode != 0:
            self.problems.append(f"fsck after {self.rounds} rounds: {done.stdout[-1000:]}{done.stderr[-1000:]}")

    def _at_random(self, request: Request) -> Cut | None:
        """Often, and at a place that has had no more cuts than the others."""
        if self._cuts.random() > CUT_SHARE:
            return None
        fewest = min(self._made[place] for place in places_in(request))
        place = self._cuts.choice([place for place in places_in(request) if self._made[place] == fewest])
        self._made[place] += 1
        return Cut(place, self._cuts.random() < 0.5)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500, help="images to push")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="digestry-cuts-") as folder:
        server = LiveServer(Path(folder), {"REGISTRY_HTTP_WORKERS": str(chosen.workers)}).start()
        try:
            trial = Trial(server, chosen.seed)
            cuts = trial.run(chosen.rounds)
            trial.problems += server.tracebacks()
        finally:
            server.stop()
    figures = {
        "seed": chosen.seed,
        "rounds": trial.rounds,
        "seconds": round(time.monotonic() - started),
        "cuts": cuts.total(),
        "places": dict(sorted(cuts.items())),
        "resumed": trial.resumed,
        "fsck": trial.checked,
        "problems": trial.problems,
    }
    print(json.dumps(figures, indent=2))
    return 1 if trial.problems else 0


if __name__ == "__main__":
    sys.exit(main())
