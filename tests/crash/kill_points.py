"""SIGKILL a registry at named points of its code while clients push: what it acknowledged must still be there.

Each episode starts on fresh data with a seed of its own: `--replay SEED:EPISODE` runs that one again. The schedule of
kills and each client's steps come from the seed; which of them meet is up to the machine.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from tests.crash.episode import Episode, Tally
from tests.crash.forked import Forked
from tests.crash.scratch import scratch_folder
from tests.crash.trap import Trap
from tests.crash.zygote import Zygote

EPISODE_KILLS = 100
PUSHERS = 4


@dataclass
class Campaign:
    """Many episodes, and all that was found."""

    seed: int
    workers: int
    pushers: int = PUSHERS
    tally: Tally = field(default_factory=Tally)
    problems: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def run(self, kills: int, *, quiet: bool = False) -> None:
        """At least so many kills, unless something is found."""
        number = 0
        with closing(Zygote(Trap())) as zygote:
            while self.tally.kills < kills and not self.problems:
                self.run_episode(zygote, number, min(EPISODE_KILLS, kills - self.tally.kills))
                number += 1
                if not quiet:
                    print(f"\r{self.progress()}", end="", file=sys.stderr, flush=True)

    def run_episode(self, zygote: Zygote, number: int, kills: int = EPISODE_KILLS) -> None:
        with scratch_folder() as folder:
            server = Forked(folder, zygote, self.workers)
            found = Episode(server, f"{self.seed}/{number}", self.tally, self.pushers).run(kills)
        crowd = f"--workers {self.workers} --pushers {self.pushers}"
        replay = f"python -m tests.crash.kill_points {crowd} --replay {self.seed}:{number}"
        self.problems += [f"{problem}\n    again: {replay}" for problem in found]

    def progress(self) -> str:
        seconds = time.monotonic() - self.started
        each = seconds / max(self.tally.kills, 1)
        return f"{self.tally.kills} kills, {seconds:.0f} s, {each:.3f} s each, {len(self.problems)} problems"

    def summary(self) -> dict[str, object]:
        tally = self.tally
        return {
            "seed": self.seed,
            "workers": self.workers,
            "kills": tally.kills,
            "by_point": dict(sorted(tally.points.items())),
            "by_victim": dict(tally.victims),
            "acknowledged": dict(sorted(tally.acknowledged.items())),
            "cut_short": dict(sorted(tally.cut_short.items())),
            "uploads_resumed": tally.resumed,
            "deep_fsck": tally.fsck,
            "serving_again_seconds": {
                "median": round(statistics.median(tally.restarts), 3),
                "max": round(max(tally.restarts), 3),
            },
            "seconds": round(time.monotonic() - self.started, 1),
            "problems": self.problems,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pushers", type=int, default=PUSHERS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", metavar="SEED:EPISODE")
    chosen = parser.parse_args(arguments)
    seed, _, episode = (chosen.replay or str(chosen.seed)).partition(":")
    campaign = Campaign(int(seed), chosen.workers, chosen.pushers)
    if chosen.replay:
        with closing(Zygote(Trap())) as zygote:
            campaign.run_episode(zygote, int(episode))
    else:
        campaign.run(chosen.kills)
        print(file=sys.stderr)
    print(json.dumps(campaign.summary(), indent=2))
    for problem in campaign.problems:
        print(f"LOST: {problem}", file=sys.stderr)
    return 1 if campaign.problems else 0


if __name__ == "__main__":
    sys.exit(main())
