"""The stateful test for as long as wanted. A failure prints the shortest script of steps that shows it."""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from tests.model.agreement import Agreement
from tests.model.machine import MACHINES
from tests.model.site import new_template

EXAMPLES = 200
STEPS_OF_EXAMPLE = 60


def run_round(number: int) -> None:
    """One round of examples, the same for the same number; each machine has its turn."""
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS_OF_EXAMPLE,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(get_state_machine_test(MACHINES[number % len(MACHINES)], settings=chosen))()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each round takes the next")
    chosen = parser.parse_args(arguments)
    logging.disable()  # the registry rightly complains of each damaged blob
    started, number = time.monotonic(), chosen.seed
    with tempfile.TemporaryDirectory(prefix="digestry-model-") as folder:
        Agreement.template = new_template(Path(folder))
        while Agreement.steps < chosen.steps:
            try:
                run_round(number)
            except BaseException:
                print(f"seed {number} fails after {Agreement.steps} steps; again: --seed {number} --steps 1")
                raise
            number += 1
            print(f"{Agreement.steps} steps, {time.monotonic() - started:.0f} s, next seed {number}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
