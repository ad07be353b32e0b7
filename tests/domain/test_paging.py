"""Pages: `n` as clients write it, and where the next page starts."""

import pytest

from registry.domain.errors import PageInvalid
from registry.domain.paging import PAGE_LIMIT, Page, PageRequest


@pytest.mark.parametrize(
    ("n", "limit"),
    [
        ([], PAGE_LIMIT),
        (["0"], 0),
        (["00"], 0),
        (["007"], 7),
        (["1000"], 1000),
        (["1001"], PAGE_LIMIT),
        (["9" * 10_000], PAGE_LIMIT),
        (["0" * 10_000 + "2"], 2),
        (["2", "2"], 2),
    ],
)
def test_n(n: list[str], limit: int) -> None:
    assert PageRequest.parse(n, "last") == PageRequest(limit, "last")


@pytest.mark.parametrize("n", [[""], ["-1"], ["+1"], ["1.0"], ["1e3"], [" 1"], ["a"], ["٣"], ["²"], ["1", "2"]])
def test_what_is_no_number_of_entries(n: list[str]) -> None:
    with pytest.raises(PageInvalid):
        PageRequest.parse(n, "")


@pytest.mark.parametrize(
    ("limit", "found", "page"),
    [
        (2, [], Page([])),
        (2, ["a", "b"], Page(["a", "b"])),
        (2, ["a", "b", "c"], Page(["a", "b"], "b")),
        (0, ["a"], Page([])),
    ],
)
def test_a_page_names_the_next_one_only_when_there_is_more(limit: int, found: list[str], page: Page[str]) -> None:
    assert PageRequest(limit).cut(found) == page
