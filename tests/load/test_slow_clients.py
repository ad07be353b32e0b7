"""The short form of the slow clients' run: deadlines of a second, so that many are cut off."""

from pathlib import Path

from tests.load.slow_clients import Plan, run


def test_slow_clients_cost_nothing_that_stays(tmp_path: Path) -> None:
    summary = run(Plan(slow=200, stalled=50, seconds=4.0, hasty=True), tmp_path)
    assert summary["good"], summary
    assert set(summary["cut_off"]) == {"head", "body", "reader"}, summary
    assert summary["memory_mib"]["held"] - summary["memory_mib"]["idle"] < 50, summary
