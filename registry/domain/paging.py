"""Pages of long lists: the spec's `n` and `last`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from registry.domain.errors import PageInvalid
from registry.domain.problems import Invalid

PAGE_LIMIT = 1000
# More would not fit a row id
ID_DIGITS = 18

T = TypeVar("T")


def row_id(text: str) -> int | None:
    """The id of a row, None for what can't be one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= ID_DIGITS else None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Entries, and where the next page starts when there is one."""

    entries: Sequence[T]
    next_last: str | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most `limit` entries, those after `last` in byte order."""

    limit: int = PAGE_LIMIT
    last: str = ""

    @classmethod
    def parse(cls, n: Sequence[str], last: str) -> "PageRequest":
        """`n` as it stands in the query, each occurrence; raise PageInvalid. Large ones are clamped."""
        if not n:
            return cls(last=last)
        if len(set(n)) != 1 or not n[0].isascii() or not n[0].isdigit():
            raise PageInvalid()
        digits = n[0].lstrip("0")[:5]  # more would overflow nothing, but why convert them
        return cls(limit=min(int(digits or "0"), PAGE_LIMIT), last=last)

    def last_id(self) -> int | None:
        """`last` of a list by row ids, None at its start; raise Invalid."""
        if not self.last:
            return None
        found = row_id(self.last)
        if found is None:
            raise Invalid("`after` is the `next` of the page before")
        return found

    def cut(self, entries: Sequence[str]) -> Page[str]:
        """A page of at most `limit` entries; there is another one when more were found."""
        return self.cut_by(entries, lambda entry: entry)

    def cut_by(self, entries: Sequence[T], key: Callable[[T], str]) -> Page[T]:
        """`cut` for entries that are listed by a key."""
        if self.limit == 0 or len(entries) <= self.limit:
            return Page(entries[: self.limit])
        return Page(entries[: self.limit], next_last=key(entries[self.limit - 1]))
