"""A flood of lines: some are passed on, the rest is counted."""

import logging
import time

import pytest

from registry.web.limited_log import LimitedLog


def test_the_rest_is_counted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    limited = LimitedLog(logging.getLogger("flood"), limit=3)
    for _ in range(10):
        limited.info("bad", {"from": "them"})
    assert [record.getMessage() for record in caplog.records] == ["bad"] * 3
    assert vars(caplog.records[0])["from"] == "them"
    limited.renew()
    assert len(caplog.records) == 3
    now += 1
    limited.renew()
    limited.renew()
    assert [record.getMessage() for record in caplog.records[3:]] == ["7 more connections or requests were refused"]
    limited.info("bad", {})
    assert caplog.records[-1].getMessage() == "bad"
    now += 1
    limited.info("bad", {})
    assert [record.getMessage() for record in caplog.records[4:]] == ["bad"] * 2
