"""A registry for each test of what is done to content."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.shelf import Shelf, shelved


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with shelved(tmp_path) as made:
        yield made


@pytest.fixture
async def fixed(tmp_path: Path) -> AsyncIterator[Shelf]:
    """Tags that begin with v are immutable."""
    async with shelved(tmp_path, immutable=("v*",)) as made:
        yield made
