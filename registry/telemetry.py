"""Logs: one event a line, as text on a terminal and as JSON elsewhere, ours and the libraries' alike."""

import logging
import sys
from typing import Any

import msgspec
import structlog
from structlog.types import Processor

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


def set_up(level: str, formatter: str) -> None:
    """Send every log record to stdout. `formatter` is auto, text or json."""
    as_text = formatter == "text" or (formatter == "auto" and sys.stdout.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    final: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_text:
        final.append(structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty()))
    else:
        final += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dump)]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[level])


def _dump(event: Any, **options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
