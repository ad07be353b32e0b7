"""JSON that two parsers could read differently is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.errors import ManifestInvalid
from registry.domain.strict_json import DEPTH_LIMIT, DIGITS_LIMIT, VALUES_LIMIT, parse_object

_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(_texts, _values, max_size=4), st.booleans())
def test_what_any_encoder_writes_is_read_back(value: dict[str, object], ascii_only: bool) -> None:
    assert parse_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"a":1}x', id="more behind it"),
        pytest.param(b'{"a":1,"a":1}', id="key twice"),
        pytest.param(b'{"a":{"b":1,"\\u0062":2}}', id="key twice, once escaped"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":-Infinity}', id="infinity"),
        pytest.param(b'{"a":"\\ud800"}', id="half a surrogate pair"),
        pytest.param(b'{"\\udfff":1}', id="half a surrogate pair in a key"),
        pytest.param(b'{"a":["\\u0000"]}', id="NUL"),
        pytest.param(b'{"a":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', id="surrogate in UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', id="byte order mark"),
        pytest.param('{"a":1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"a":%s}' % (b"9" * (DIGITS_LIMIT + 1)), id="long number"),
        pytest.param(b'{"a":%s}' % (b"9" * 5000), id="number that int() refuses"),
        pytest.param(b'{"a":%s}' % (b"[" * 100_000), id="a hundred thousand brackets"),
        pytest.param(b'{"a":[%s]}' % (b"{}," * VALUES_LIMIT), id="a million values"),
    ],
)
def test_what_is_refused(payload: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        parse_object(payload)


def test_whole_surrogate_pairs_pass() -> None:
    assert parse_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}


def test_the_deepest_nesting() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert parse_object(nested(DEPTH_LIMIT)).keys() == {"a"}
    with pytest.raises(ManifestInvalid):
        parse_object(nested(DEPTH_LIMIT + 1))
