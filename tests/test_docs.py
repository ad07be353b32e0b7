"""The documents say what the code does, their links lead somewhere, and modules stay short."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.api.routes import ENDPOINTS
from registry.config import CATALOGUE

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINES_LIMIT = 400
SOURCES = [path for folder in ("registry", "storage") for path in sorted((ROOT / folder).rglob("*.py"))]

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def endpoints_documented() -> set[str]:
    """The numbers in the first column of the API's table; the catalog has none."""
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    return {number for row in rows if row.startswith("end-") for number in re.findall(r"\b\d+", row)} | {
        "_catalog" for row in rows if "_catalog" in row
    }


def endpoints_served() -> set[str]:
    """As the handlers' docstrings name them: `end-4a, 4b, 4c and 11`."""
    told = [re.split("[.:]", endpoint.handler.__doc__ or "")[0] for endpoint in ENDPOINTS.values()]
    assert all(re.search(r"end-\d|_catalog", text) for text in told), told
    return {name for text in told for name in re.findall(r"\b\d+|_catalog", text)}


def test_the_api_document_has_every_endpoint() -> None:
    assert endpoints_served() == endpoints_documented()


def test_the_example_has_every_setting() -> None:
    example = (ROOT / "config.example.toml").read_text()
    assert [entry.variable for entry in CATALOGUE.values() if entry.variable not in example] == []


def links(document: Path) -> Iterator[str]:
    for link in _LINK.findall(document.read_text()):
        if not re.match(r"[a-z]+:", link):
            yield link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = [(document.parent / link.partition("#")[0], link) for link in links(document)]
    assert [link for target, link in targets if not target.exists()] == []


def test_modules_stay_short() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > LINES_LIMIT} == {}
