"""Numbers and times as people read them."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SECOND = 1_000
_AGES = (
    ("year", 365 * 86_400 * _SECOND),
    ("month", 30 * 86_400 * _SECOND),
    ("week", 7 * 86_400 * _SECOND),
    ("day", 86_400 * _SECOND),
    ("hour", 3_600 * _SECOND),
    ("minute", 60 * _SECOND),
)


def told_size(count: int) -> str:
    """Bytes in the unit that takes at most three digits."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.{1 if unit and value < 9.95 else 0}f} {_UNITS[unit]}"


def told_age(milliseconds: int) -> str:
    """In the largest unit that is full; what lies ahead is a clock that is late."""
    for word, length in _AGES:
        if milliseconds >= length:
            count = milliseconds // length
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"


def told_count(count: int, *, more: bool) -> str:
    return f"{count:,}{'+' if more else ''}"
