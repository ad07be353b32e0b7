"""Every act that deletes, restores, collects or scrubs, killed at each of its crash points."""

import json
import subprocess
import sys

import pytest

from tests.crash.lifecycle_kills import ACTS


@pytest.mark.parametrize("act", ACTS)
def test_killed_at_each_point(act: str) -> None:
    """In a process of its own: it forks, which threads of the test runner would not survive."""
    command = [sys.executable, "-m", "tests.crash.lifecycle_kills", "--act", act]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["kills"][act] >= 3, done.stdout
