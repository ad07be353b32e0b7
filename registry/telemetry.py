"""Logs: one event a line, as text on a terminal and as JSON elsewhere, ours and the libraries' alike.

What clients sent stands in many events, so nothing in it may end a line, forge one or move a terminal's cursor.
"""

import io
import json
import logging
import sys
from typing import Any

import msgspec
import structlog
from structlog.types import EventDict, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
# Characters of one field. A traceback tells most at its end
FIELD_LIMIT = 2048
TRACEBACK_LIMIT = 16 * 1024
_PLAIN = (int, float, type(None))


def set_up(level: str, formatter: str) -> None:
    """Send every log record to stdout. `formatter` is auto, text or json."""
    as_text = formatter == "text" or (formatter == "auto" and sys.stdout.isatty())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=None if as_text else "utf-8", errors="backslashreplace")
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    final: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,  # not rich's, which would show local variables
        _bound,
    ]
    final += [_indent, _console()] if as_text else [structlog.processors.JSONRenderer(_dump)]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[level])


def _console() -> Processor:
    # repr_native_str: quotes around every value, escapes inside
    return structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback, repr_native_str=True
    )


def _bound(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Plain values only, and none too long."""
    for key, value in event.items():
        if not isinstance(value, _PLAIN):
            text = value if isinstance(value, str) else repr(value)
            event[key] = _cut(text) if key != "exception" else text[-TRACEBACK_LIMIT:]
    return event


def _cut(text: str) -> str:
    return text if len(text) <= FIELD_LIMIT else text[:FIELD_LIMIT] + "…"


def _indent(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Several lines are for people who read a traceback; no event begins with a space."""
    event["event"] = _escaped(event["event"])
    if "exception" in event:
        event["exception"] = "\n".join(f"  {_escaped(line)}" for line in event["exception"].split("\n"))
    return event


def _dump(event: Any, **options: Any) -> str:
    try:
        line = msgspec.json.encode(event).decode()
    except UnicodeEncodeError:  # lone surrogates, from bytes that were no UTF-8
        return json.dumps({key: _encodable(value) for key, value in event.items()})
    return _escaped(line)


def _encodable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _escaped(text: str) -> str:
    """Without line ends, controls and directions, in the escapes of JSON: a line of JSON stays the same document."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
