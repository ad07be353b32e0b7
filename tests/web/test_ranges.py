"""Ranges: RFC 9110 section 14 for blobs, the spec's own form for chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.errors import BlobUploadInvalid, RangeNotSatisfiable, SizeInvalid
from registry.web.ranges import RANGES_LIMIT, ByteRange, parse_content_range, parse_offset, parse_range

SIZE = 10


@pytest.mark.parametrize(
    ("header", "selected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=3-5", [(3, 6)]),
        ("bytes=3-", [(3, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-99", [(0, 10)]),
        ("bytes=9-99", [(9, 10)]),
        ("Bytes = 1-1", [(1, 2)]),
        ("bytes=0-1, 4-5 ,-1", [(0, 2), (4, 6), (9, 10)]),
        ("bytes=0-1,50-", [(0, 2)]),
        ("bytes=0-9,0-0", None),
        ("bytes=" + ",".join(["0-0"] * SIZE), [(0, 1)] * SIZE),
        ("bytes=" + ",".join(["9-99", "-0"] * (RANGES_LIMIT // 2 + 1)), None),
        ("items=0-1", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=1", None),
        ("bytes=0-1,", None),
        ("bytes=٣-٤", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_what_a_header_selects(header: str, selected: list[tuple[int, int]] | None) -> None:
    ranges = None if selected is None else [ByteRange(*one) for one in selected]
    assert parse_range(header, SIZE) == ranges


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=5000-", "bytes=5-3", "bytes=-0", "bytes=10-11,5-4"])
def test_a_header_that_selects_nothing(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as raised:
        parse_range(header, SIZE)
    assert raised.value.headers == {"Content-Range": "bytes */10"}


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_nothing_can_be_selected_of_an_empty_blob(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, 0)


@given(st.integers(0, 30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=4))
def test_ranges_select_the_bytes_that_they_name(size: int, specs: list[tuple[int, int]]) -> None:
    content = list(range(size))
    named = [content[first : last + 1] for first, last in specs]
    try:
        found = parse_range("bytes=" + ",".join(f"{first}-{last}" for first, last in specs), size)
    except RangeNotSatisfiable:
        assert not any(named)
        return
    if found is None:
        assert sum(map(len, named)) > size
    else:
        assert [content[one.start : one.end] for one in found] == [piece for piece in named if piece]
        assert [one.length for one in found] == [len(piece) for piece in named if piece]


@pytest.mark.parametrize("header", ["5-9", "bytes 5-9", "bytes 5-9/10", "bytes 5-9/*", "5-9/10", " 5-9 "])
def test_chunks(header: str) -> None:
    assert parse_content_range(header) == ByteRange(5, 10)


@pytest.mark.parametrize("header", ["", "5", "5-", "-5", "a-b", "5-9,10-11", "bytes=5-9", "٣-٤", "5-" + "9" * 20])
def test_what_is_no_chunk(header: str) -> None:
    with pytest.raises(BlobUploadInvalid):
        parse_content_range(header)


def test_a_chunk_that_ends_before_it_starts() -> None:
    with pytest.raises(SizeInvalid):
        parse_content_range("9-5")


def test_offsets() -> None:
    assert parse_offset("0") == 0
    assert parse_offset("9" * 19) == int("9" * 19)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "0x1", " 1", "٣", "9" * 20])
def test_what_is_no_offset(text: str) -> None:
    with pytest.raises(BlobUploadInvalid):
        parse_offset(text)
