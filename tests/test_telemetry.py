"""Logs: one event is one line, whatever stands in it, and no more than a reader can bear."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator

import msgspec
import pytest

from registry.telemetry import FIELD_LIMIT, TRACEBACK_LIMIT, set_up

ODD = {
    "newline": "one\ntwo\r\nthree",
    "forged": 'x\n2026-01-01T00:00:00Z [info] request\n{"event":"forged"}',
    "colour": "\x1b[31mred\x1b]0;title\x07",
    "c1": "\x9b31m\x85\x90",
    "controls": "".join(map(chr, range(32))) + "\x7f",
    "separators": "a\u2028b\u2029c\x0bd\x0ce\x1cf",
    "direction": "\u202egnp.exe\u2066\u200b",
    "surrogate": "\udc80\ud800 end",
    "astral": "\U0001f433 \U000e0041",
    "quotes": "\"'\\ {} %s",
    "empty": "",
}

Written = Callable[[], list[str]]


@pytest.fixture(params=["json", "text"])
def formatter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def written(formatter: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """The lines so far, as any reader may split them."""
    sink = io.BytesIO()
    root = logging.getLogger()
    before, level = root.handlers, root.level
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(sink, encoding="ascii"))
    set_up("info", formatter)
    # Nobody else listens: pytest would put what it heard into a report, and no process could send it on
    monkeypatch.setattr(root, "addHandler", lambda handler: None)

    def lines() -> list[str]:
        sys.stdout.flush()
        return sink.getvalue().decode().splitlines()

    yield lines
    root.handlers, root.level = before, level


def decoded(line: str) -> dict[str, object]:
    """Two readers agree on it, one of them strict."""
    event: dict[str, object] = json.loads(line)
    assert msgspec.json.decode(line) == event
    return event


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_one_event_is_one_line(written: Written, formatter: str, text: str) -> None:
    log = logging.getLogger("test")
    log.info("seen: %s", text)
    log.info(text, extra={"agent": text, "raw": text.encode("utf-8", "surrogatepass")})
    lines = written()
    assert len(lines) == 2, lines
    assert all(line.isprintable() for line in lines)
    if formatter == "json":
        first, second = map(decoded, lines)
        assert first["level"] == second["level"] == "info"
        if text.isprintable() or text.isascii():
            assert first["event"] == f"seen: {text}"
            assert second["agent"] == text


def test_values_of_every_kind_are_logged(written: Written, formatter: str) -> None:
    kinds = {"number": 1 << 70, "none": None, "nan": float("nan"), "list": ["\n"], "map": {(1, "\n"): {b"\xff"}}}
    logging.getLogger("test").info("kinds", extra={**kinds, "thing": object(), "error": ValueError("a\nb")})
    (line,) = written()
    if formatter == "json":
        event = decoded(line)
        assert event["number"] == 1 << 70
        assert event["list"] == "['\\n']"
    else:
        assert "list=\"['\\\\n']\"" in line


def test_a_field_can_not_pass_for_another(written: Written, formatter: str) -> None:
    logging.getLogger("test").info("request", extra={"agent": "x http.response.status=500"})
    quoted = '"agent":"x http.response.status=500"' if formatter == "json" else "agent='x http.response.status=500'"
    assert quoted in written()[0]


@pytest.mark.parametrize("length", [FIELD_LIMIT, FIELD_LIMIT + 1, 1_000_000])
def test_a_long_field_is_cut(written: Written, length: int) -> None:
    logging.getLogger("test").info("X" * length, extra={"agent": "Y" * length, "raw": b"Z" * length})
    (line,) = written()
    cut = length > FIELD_LIMIT
    assert [line.count(char) for char in "XY"] == [min(length, FIELD_LIMIT)] * 2
    assert ("X…" in line or "X\\u2026" in line) == cut
    assert len(line) < 3 * FIELD_LIMIT + 300


def fail(message: str) -> None:
    raise ValueError(message)


def log_failure(message: str) -> None:
    try:
        fail(message)
    except ValueError:
        logging.getLogger("test").exception("it failed")


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_traceback_forges_nothing(written: Written, formatter: str, text: str) -> None:
    log_failure(text)
    event, *rest = written()
    assert "it failed" in event
    if formatter == "json":
        assert rest == []
        told = str(decoded(event)["exception"])
        assert told.startswith("Traceback")
    else:
        assert all(line.startswith("  ") for line in rest)
        told = "\n".join(rest)
        assert all(line.isprintable() for line in rest)
    assert "ValueError" in told
    assert "in log_failure" in told


def test_a_long_traceback_keeps_its_end(written: Written) -> None:
    log_failure("x" * 100_000 + " the end")
    text = "\n".join(written())
    assert len(text) < TRACEBACK_LIMIT + 300
    assert "the end" in text


def test_local_variables_stay_out_of_the_log(written: Written) -> None:
    def inner(secret: str) -> None:
        fail("it")

    try:
        inner("CANARY".lower())
    except ValueError:
        logging.getLogger("test").exception("it failed")
    assert "canary" not in "\n".join(written())


def test_less_than_the_level_is_not_logged(written: Written) -> None:
    logging.getLogger("test").debug("quiet")
    logging.getLogger("test").warning("loud")
    (line,) = written()
    assert "loud" in line
