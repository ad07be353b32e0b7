"""What the value of a setting may look like: each parser takes TOML's value or text, and raises ValueError."""

import ipaddress
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

MOST_WORKERS = 64
HIGHEST_PORT = 65_535
# A hundred years; with much more, dates could not be written any more
LONGEST_TIME = 36_500 * 86_400_000
# Bytes that bcrypt can tell apart
LONGEST_SECRET = 72
SHORTEST_SECRET = 8
# Clients take less for an error (docker's token specification)
SHORTEST_TOKEN = 60_000
LONGEST_TOKEN = 3_600_000


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text")  # noqa: TRY004 - the loader catches one kind
    return value


def boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("expected true or false")


def workers(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"\d{1,2}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_WORKERS:
        raise ValueError(f"expected a number of processes up to {MOST_WORKERS}, or 0")
    return value


def path(value: object) -> Path:
    if not text(value):
        raise ValueError("expected a path")
    return Path(text(value))


def texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ValueError('expected a list such as ["v*", "stable"]') from error
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('expected a list such as ["v*", "stable"]')
    return tuple(value)


_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration(value: object) -> int:
    """Milliseconds."""
    matched = re.fullmatch(r"(\d{1,9})(ms|s|m|h|d)", text(value))
    if matched is None or not int(matched[1]):
        raise ValueError("expected a time such as 90s, 15m, 24h or 7d")
    found = int(matched[1]) * _UNITS[matched[2]]
    if found > LONGEST_TIME:
        raise ValueError("expected a time of at most 36500d")
    return found


def written_duration(milliseconds: int) -> str:
    """In the largest unit that tells it exactly."""
    unit = max((unit for unit in _UNITS if milliseconds % _UNITS[unit] == 0), key=lambda unit: _UNITS[unit])
    return f"{milliseconds // _UNITS[unit]}{unit}"


_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def size(value: object) -> int:
    """Bytes."""
    matched = re.fullmatch(r"(\d{1,9})(B|KiB|MiB|GiB|TiB)", "0B" if value == "0" else text(value))
    if matched is None:
        raise ValueError("expected a size such as 512KiB, 16MiB or 1GiB, or 0")
    return int(matched[1]) * _SIZES[matched[2]]


def written_size(count: int) -> str:
    """In the largest unit that tells it exactly."""
    if not count:
        return "0"
    unit = max((unit for unit in _SIZES if count % _SIZES[unit] == 0), key=lambda unit: _SIZES[unit])
    return f"{count // _SIZES[unit]}{unit}"


def rounded_size(count: int) -> str:
    """As people read it: 1.4 GiB."""
    unit = max((unit for unit in _SIZES if count >= _SIZES[unit]), key=lambda unit: _SIZES[unit], default="B")
    return f"{count} B" if unit == "B" else f"{count / _SIZES[unit]:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def choice(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError(f"expected one of: {', '.join(words)}")
        return text(value)

    return parse


def address(value: object) -> str:
    found = text(value)
    if found.startswith("unix:/"):
        return found
    if re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\[\]/]*):\d{1,5}", found) and int(found.rpartition(":")[2]) <= HIGHEST_PORT:
        return found
    raise ValueError("expected host:port, :port, [::1]:port or unix:/path")


def host(value: object) -> str:
    found = text(value)
    if not found or re.fullmatch(r"https?://[^/?#@\s]+", found):
        return found
    raise ValueError("expected the address that clients use, such as https://registry.example.com")


def realm(value: object) -> str:
    """It stands between quotes in a header."""
    found = text(value)
    if re.fullmatch(r"[ -~]{1,100}", found) and not set(found) & set('"\\'):
        return found
    raise ValueError("expected a short text of plain characters, without quotes")


def secret(value: object) -> str:
    found = text(value)
    if not found or (len(found) >= SHORTEST_SECRET and len(found.encode()) <= LONGEST_SECRET):
        return found
    raise ValueError(f"expected {SHORTEST_SECRET} to {LONGEST_SECRET} characters")


def token_lifetime(value: object) -> int:
    """Milliseconds."""
    found = duration(value)
    if SHORTEST_TOKEN <= found <= LONGEST_TOKEN:
        return found
    raise ValueError("expected a time from 60s to 1h")


def count(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("expected a number, 1 or more")
    return value


def rate(value: object) -> str:
    found = text(value)
    if not found or re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour|day)", found):
        return found
    raise ValueError("expected a rate such as 10/minute, or nothing")


def proxies(value: object) -> tuple[str, ...]:
    """Addresses, networks and `unix`."""
    entries = texts(value)
    for entry in entries:
        if entry != "unix":
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError as error:
                raise ValueError('expected a list such as ["10.0.0.0/8", "::1", "unix"]') from error
    return entries


def database_url(value: object) -> str:
    found = text(value)
    if not re.fullmatch(r"sqlite:///[^?#]+", found):
        raise ValueError("expected sqlite:///relative/path or sqlite:////absolute/path")
    return found
