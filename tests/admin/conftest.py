"""A world for each module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.admin.world import World, made_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with made_world(tmp_path_factory.mktemp("admin")) as world:
        yield world
