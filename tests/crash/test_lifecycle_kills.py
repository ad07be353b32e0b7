"""Every act that deletes, restores, collects or scrubs, killed at each of its crash points."""

import json
import subprocess
import sys

import pytest

from storage.crashpoints import POINTS
from tests.crash.episode import LIFECYCLE
from tests.crash.lifecycle_kills import ACTS

# It forks, which threads of the test runner would not survive
COMMAND = [sys.executable, "-m", "tests.crash.lifecycle_kills"]


@pytest.mark.parametrize("act", ACTS)
def test_killed_at_each_point(act: str) -> None:
    done = subprocess.run([*COMMAND, "--act", act], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["kills"][act] >= 3, done.stdout


def test_the_acts_pass_every_point_that_pushes_do_not() -> None:
    told = subprocess.run([*COMMAND, "--points"], capture_output=True, text=True, check=True).stdout
    assert {name for name in POINTS if name.startswith(LIFECYCLE)} <= set(json.loads(told))
