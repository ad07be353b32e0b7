"""Times and numbers as people read them."""

import pytest

from registry.pages.words import told_age, told_count

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (-HOUR, "just now"),
        (0, "just now"),
        (MINUTE - 1, "just now"),
        (MINUTE, "1 minute ago"),
        (HOUR - 1, "59 minutes ago"),
        (23 * HOUR, "23 hours ago"),
        (DAY, "1 day ago"),
        (13 * DAY, "1 week ago"),
        (29 * DAY, "4 weeks ago"),
        (30 * DAY, "1 month ago"),
        (364 * DAY, "12 months ago"),
        (365 * DAY, "1 year ago"),
        (20_000 * DAY, "54 years ago"),
    ],
)
def test_an_age_is_in_the_largest_unit_that_is_full(age: int, told: str) -> None:
    assert told_age(age) == told


@pytest.mark.parametrize(
    ("count", "more", "told"), [(0, False, "0"), (1000, False, "1,000"), (1000, True, "1,000+"), (7, True, "7+")]
)
def test_a_count_says_that_there_is_more(count: int, more: bool, told: str) -> None:
    assert told_count(count, more=more) == told
