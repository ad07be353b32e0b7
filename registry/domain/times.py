"""Times as people and other programs read them: RFC 3339."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime.fromtimestamp(0, UTC)


def rfc3339(milliseconds: int) -> str:
    """A time since the epoch, in UTC."""
    told = _EPOCH + timedelta(milliseconds=milliseconds)
    return told.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> int:
    """Milliseconds since the epoch; raise ValueError, also for a time without a zone."""
    told = datetime.fromisoformat(text)
    if told.tzinfo is None:
        raise ValueError("expected a time with its zone, such as 2026-08-01T12:00:00Z")
    try:
        told = told.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a time between the years 1 and 9999 in UTC") from error
    return (told - _EPOCH) // timedelta(milliseconds=1)
