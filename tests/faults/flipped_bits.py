"""Bits that flip in stored blobs: each is found, by the command or in the background, and the next push heals it.

One registry holds blobs of many sizes. Each round flips one bit of one of them, at random; all are looked at; just this
one must be hidden, and be right again after a push. In the end everything is as it was.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from registry.assembly import Registry, open_registry
from registry.config import ScrubSettings
from registry.content.scrub import Checked, Wanted
from registry.domain.access import OPERATOR, Caller
from registry.domain.names import Digest
from registry.metadata.schema import upgrade
from tests.support.registry import DAY, Clock, execute, pull, push, settings
from tests.support.rot import flip, stored_file

SIZES = (1, 2, 100, 4096, 4097, 64 * 1024, 64 * 1024 + 1, 1024 * 1024, 1024 * 1024 + 1, 2_500_000)
OPERATING = Caller(OPERATOR, "")
HIDDEN = "SELECT digest FROM blob WHERE state = 'quarantined'"


async def campaign(folder: Path, flips: int, seed: str) -> dict[str, object]:
    """What was found, and every deviation."""
    chance, clock = random.Random(seed), Clock()
    upgrade(folder / "registry.db")
    chosen = replace(settings(folder), scrub=ScrubSettings(interval=DAY, rate=2**40))
    registry = open_registry(chosen, now=clock)
    try:
        contents = [chance.randbytes(size) for size in SIZES]
        digests = [await push(registry, content) for content in contents]
        found: Counter[int] = Counter()
        problems: list[str] = []
        for number in range(flips):
            clock.advance(DAY + 1)
            which = chance.randrange(len(contents))
            problem = await _round(registry, digests[which], contents[which], chance)
            if problem:
                problems.append(f"flip {number} of {digests[which]}: {problem}")
            found[len(contents[which])] += not problem
        problems += await _unsound(registry, digests, contents)
    finally:
        await registry.close()
    return {"flips": flips, "found": found.total(), "by_size": dict(sorted(found.items())), "problems": problems[:20]}


async def _round(registry: Registry, digest: Digest, content: bytes, chance: random.Random) -> str:
    """What went wrong; empty if nothing did."""
    flip(await stored_file(registry, digest), chance.randrange(len(content)), chance.randrange(8))
    if chance.random() < 0.5:
        while await registry.scrub.some(60):
            pass
    else:
        async with aclosing(registry.scrub.verify(Wanted(), OPERATING)) as steps:
            told = [step.digest async for step in steps if isinstance(step, Checked) and step.wrong]
        if told != [digest]:
            return f"told of {told}"
    hidden = [row[0] for row in await execute(registry, HIDDEN)]
    if hidden != [digest]:
        return f"hidden are {hidden}"
    await push(registry, content)
    if await execute(registry, HIDDEN) or await pull(registry, digest) != content:
        return "the push did not heal it"
    return ""


async def _unsound(registry: Registry, digests: Sequence[Digest], contents: Sequence[bytes]) -> list[str]:
    report = await registry.fsck.run(deep=True, progress=lambda *_: None)
    pulled = [await pull(registry, digest) for digest in digests]
    return [*report.problems, *([] if pulled == list(contents) else ["a blob was changed for good"])]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", default="1")
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="digestry-flips-") as folder:
        summary = asyncio.run(campaign(Path(folder), chosen.flips, chosen.seed))
    print(json.dumps({**summary, "seed": chosen.seed, "seconds": round(time.monotonic() - started)}, indent=2))
    return 0 if summary["found"] == chosen.flips and not summary["problems"] else 1


if __name__ == "__main__":
    sys.exit(main())
