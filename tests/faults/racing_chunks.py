"""Two PATCHes at one offset at once (U-03): exactly one 202, a 416 for the other, and the bytes of the winner.

Each request has a connection of its own, so that either worker may get it.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from aiohttp import ClientResponse, ClientSession, TCPConnector
from yarl import URL

from tests.support.images import digest_of
from tests.support.server import LiveServer

WORKERS = {"REGISTRY_HTTP_WORKERS": "2"}
FORMS = ("plain", "Content-Range", "streamed")
SIZES = (1, 1000, 40_000)


async def race(server: LiveServer, rounds: int) -> Counter[str]:
    """Who won; raises AssertionError when nobody or both did, or when other bytes are there."""
    winners: Counter[str] = Counter()
    async with ClientSession(server.url, connector=TCPConnector(force_close=True)) as session:
        for number in range(rounds):
            form, size = FORMS[number % len(FORMS)], SIZES[number // len(FORMS) % len(SIZES)]
            pieces = [f"{side} {number:05} ".encode() * size for side in ("left", "right")]
            winners[f"{form}: {('left', 'right')[await _race_once(session, pieces, form)]}"] += 1
    return winners


async def _race_once(session: ClientSession, pieces: Sequence[bytes], form: str) -> int:
    location = (await _send(session, "POST", "/v2/race/blobs/uploads/", b"")).headers["Location"]
    answers = await asyncio.gather(*(_patch(session, location, piece, form) for piece in pieces))
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [202, 416], statuses
    won = statuses.index(202)
    lost = answers[1 - won].headers
    assert lost["Range"] == f"0-{len(pieces[won]) - 1}", lost
    digest = digest_of(pieces[won])
    done = await _send(session, "PUT", f"{lost['Location']}&digest={digest}", b"")
    assert done.status == 201, await done.text()
    async with session.get(URL(f"/v2/race/blobs/{digest}", encoded=True)) as answer:
        assert await answer.read() == pieces[won]
    return won


async def _patch(session: ClientSession, location: str, data: bytes, form: str) -> ClientResponse:
    if form == "streamed":
        return await _send(session, "PATCH", location, _halves(data))
    headers = {"Content-Range": f"0-{len(data) - 1}"} if form == "Content-Range" else {}
    return await _send(session, "PATCH", location, data, headers)


async def _send(
    session: ClientSession,
    method: str,
    target: str,
    data: bytes | AsyncIterator[bytes],
    headers: dict[str, str] | None = None,
) -> ClientResponse:
    async with session.request(method, URL(target, encoded=True), data=data, headers=headers) as answer:
        await answer.read()
        return answer


async def _halves(data: bytes) -> AsyncIterator[bytes]:
    yield data[: len(data) // 2]
    await asyncio.sleep(0)
    yield data[len(data) // 2 :]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="digestry-races-") as folder:
        server = LiveServer(Path(folder), WORKERS).start()
        try:
            winners = asyncio.run(race(server, chosen.rounds))
            sound = server.digestry("fsck", "--deep", "--json").returncode == 0 and not server.tracebacks()
        finally:
            server.stop()
    seconds = round(time.monotonic() - started)
    print(json.dumps({"rounds": chosen.rounds, "seconds": seconds, "winners": winners, "sound": sound}, indent=2))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
