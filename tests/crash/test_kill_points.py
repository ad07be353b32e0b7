"""A thousand kills at every named point of the code: nothing acknowledged is lost, nothing dangles."""

import ast
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from storage import crashpoints
from storage.crashpoints import ANY, POINTS, VARIABLE, crash_point
from tests.crash.client import Connection, GoneError
from tests.crash.episode import LIFECYCLE
from tests.crash.kill_points import Campaign
from tests.support.images import digest_of
from tests.support.server import LiveServer

ROOT = Path(__file__).parents[2]
KILLS = 1000
SEED = 1


def test_nothing_acknowledged_is_lost_at_any_point() -> None:
    campaign = Campaign(SEED, workers=2)
    campaign.run(KILLS, quiet=True)
    assert campaign.problems == []
    assert campaign.tally.kills >= KILLS
    assert set(campaign.tally.points) == {name for name in POINTS if not name.startswith(LIFECYCLE)}
    assert campaign.tally.resumed > 0
    assert all(campaign.tally.acknowledged.values())


def test_each_point_is_in_the_code_and_each_call_in_the_list() -> None:
    called: Counter[str] = Counter()
    for path in (*ROOT.glob("registry/**/*.py"), *ROOT.glob("storage/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_point":
                called[ast.literal_eval(node.args[0])] += 1
    assert set(called) == set(POINTS)


def test_an_unarmed_point_does_nothing() -> None:
    assert crashpoints._watcher is None
    crash_point("blob.linked")


@pytest.mark.parametrize("name", ["blob.linked", ANY])
def test_an_armed_point_kills_at_the_hit_that_was_asked_for(name: str) -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        crashpoints.arm(name, 3)
        for count in b"abcde":
            crash_point("blob.linked")
            os.write(writing, bytes([count]))
        os._exit(0)
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert os.read(reading, 10) == b"ab"
    os.close(reading)


def test_a_point_that_does_not_exist_cannot_be_armed() -> None:
    with pytest.raises(ValueError, match=r"no crash point is called blob\.lost"):
        crashpoints.arm("blob.lost", 1)


def test_the_variable_arms_a_server(tmp_path: Path) -> None:
    server = LiveServer(tmp_path, settings={VARIABLE: "blob.recorded:1:group"})
    server.start()
    content = b"acknowledged by nobody, recorded all the same"
    path = f"/v2/crash/variable/blobs/uploads/?digest={digest_of(content)}"
    with pytest.raises(GoneError):
        Connection(server.host).ask("POST", path, [201], body=content)
    assert not server.running or server.stop() == -signal.SIGKILL
    again = LiveServer(tmp_path)
    again.start()
    try:
        connection = Connection(again.host)
        answer = connection.ask("GET", f"/v2/crash/variable/blobs/{digest_of(content)}", [200])
        assert answer.body == content
        connection.close()
    finally:
        assert again.stop() == 0
