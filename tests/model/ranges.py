"""Ranges of a blob: what a Range header asks for, and what its answer holds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

Spec = tuple[int | None, int | None]


@dataclass(frozen=True)
class Ranges:
    """A Range header; `specs` is None for one that nobody has to understand."""

    header: str
    specs: Sequence[Spec] | None

    def selected(self, size: int) -> list[range] | None:
        """What it asks of `size` bytes, None for all of them (RFC 9110 section 14.2, spec page 3.4)."""
        if self.specs is None:
            return None
        found = [chosen for spec in self.specs if (chosen := _select(spec, size))]
        return None if sum(map(len, found)) > size else found


def _select(spec: Spec, size: int) -> range:
    first, last = spec
    if first is None:
        return range(max(size - (last or 0), 0), size)
    return range(first, size if last is None else min(last + 1, size))


def byte_ranges(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """The parts of a multipart/byteranges body: Content-Range and bytes of each."""
    matched = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]+)", content_type)
    assert matched is not None, content_type
    before, *parts, end = body.split(f"\r\n--{matched[1]}".encode())
    assert (before, end) == (b"", b"--\r\n")
    found = []
    for part in parts:
        head, _, data = part.partition(b"\r\n\r\n")
        told = re.search(rb"\r\nContent-Range: ([^\r]+)", head)
        assert told is not None, head
        found.append((told[1].decode(), data))
    return found


def _spelt(specs: Sequence[Spec]) -> Ranges:
    parts = ["-".join("" if number is None else str(number) for number in spec) for spec in specs]
    return Ranges("bytes=" + ",".join(parts), specs)


_positions = st.sampled_from([0, 1, 2, 5, 14, 15, 69_999, 70_000, 10**18])
_spec: st.SearchStrategy[Spec] = st.one_of(
    st.tuples(_positions, st.one_of(st.none(), _positions)), st.tuples(st.none(), _positions)
)
ranges = st.one_of(
    st.lists(_spec, min_size=1, max_size=3).map(_spelt),
    st.sampled_from(["bytes=", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1;2-3"]).map(
        lambda header: Ranges(header, None)
    ),
)
