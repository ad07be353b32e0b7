"""Lists as people read them: plain columns."""

import json
from collections.abc import Sequence

# Of a digest
SHORT = len("sha256:") + 12


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest text; what would move a cursor is escaped."""
    lines = [head, *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def short(digest: str | None) -> str:
    """Enough of a digest to know it by."""
    return (digest or "")[:SHORT]


def _printable(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]
