"""Numbers and times as people read them."""

_SECOND = 1_000
_AGES = (
    ("year", 365 * 86_400 * _SECOND),
    ("month", 30 * 86_400 * _SECOND),
    ("week", 7 * 86_400 * _SECOND),
    ("day", 86_400 * _SECOND),
    ("hour", 3_600 * _SECOND),
    ("minute", 60 * _SECOND),
)


def told_age(milliseconds: int) -> str:
    """In the largest unit that is full; what lies ahead is a clock that is late."""
    for word, length in _AGES:
        if milliseconds >= length:
            count = milliseconds // length
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"


def told_count(count: int, *, more: bool) -> str:
    return f"{count:,}{'+' if more else ''}"
