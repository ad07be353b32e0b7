"""Times in RFC 3339."""

import pytest

from registry.domain.times import parse_rfc3339, rfc3339


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_785_585_600_001, "2026-08-01T12:00:00.001Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_told_in_utc(milliseconds: int, text: str) -> None:
    assert rfc3339(milliseconds) == text
    assert parse_rfc3339(text) == milliseconds


def test_a_zone_is_heeded() -> None:
    assert parse_rfc3339("2026-08-01T14:00:00+02:00") == parse_rfc3339("2026-08-01T12:00:00Z")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_what_no_calendar_has_in_utc_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="between the years"):
        parse_rfc3339(text)


@pytest.mark.parametrize("text", ["", "2026-08-01", "2026-08-01T12:00:00", "2026-13-01T12:00:00Z", "now"])
def test_what_is_no_time_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rfc3339(text)
