"""Ranges of a blob as RFC 9110 section 14 and the distribution spec's upload ranges write them."""

import re
from dataclasses import dataclass

from registry.domain.errors import BlobUploadInvalid, RangeNotSatisfiable, SizeInvalid

RANGES_LIMIT = 16

_SPEC = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")
# spec, "Pushing a blob in chunks": `<start>-<end>`; `bytes ` and `/total` are what RFC 9110 adds
_CONTENT_RANGE = re.compile(r"(?:bytes )?([0-9]{1,19})-([0-9]{1,19})(?:/(?:[0-9]{1,19}|\*))?")


_OFFSET = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to, not including, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def parse_range(header: str, size: int) -> list[ByteRange] | None:
    """The ranges that a Range header asks of `size` bytes, None for "send everything".

    Unknown units, garbage, too many ranges and lists that add up to more than the blob are ignored (RFC 9110
    section 14.2 allows it); raises RangeNotSatisfiable when a well-formed header selects nothing.
    """
    unit, _, text = header.partition("=")
    specs = [spec.strip() for spec in text.split(",", RANGES_LIMIT + 1)]
    if unit.strip().lower() != "bytes" or len(specs) > RANGES_LIMIT:
        return None
    ranges: list[ByteRange] = []
    for spec in specs:
        matched = _SPEC.fullmatch(spec)
        if matched is None or spec == "-":
            return None
        selected = _select(matched[1], matched[2], size)
        if selected is not None:
            ranges.append(selected)
    if not ranges:
        raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    return ranges if sum(part.length for part in ranges) <= size else None


def _select(first: str, last: str, size: int) -> ByteRange | None:
    if not first:
        length = min(int(last), size)
        return ByteRange(size - length, size) if length else None
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    return ByteRange(start, end) if start < end else None


def parse_content_range(header: str) -> ByteRange:
    """The chunk that an upload's Content-Range declares; raise BlobUploadInvalid or SizeInvalid."""
    matched = _CONTENT_RANGE.fullmatch(header.strip())
    if matched is None:
        raise BlobUploadInvalid("Content-Range of a chunk is <first byte>-<last byte>")
    start, last = int(matched[1]), int(matched[2])
    if last < start:
        raise SizeInvalid("Content-Range ends before it starts")
    return ByteRange(start, last + 1)


def parse_offset(text: str) -> int:
    """The offset that a Location of ours carries; raise BlobUploadInvalid for one that it never had."""
    if not _OFFSET.fullmatch(text):
        raise BlobUploadInvalid("this is not a Location that the registry gave; GET the upload for the right one")
    return int(text)
