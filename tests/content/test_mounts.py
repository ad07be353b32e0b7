"""Mounts without a source: from wherever the caller may pull."""

from pathlib import Path

import pytest

from registry.content import uploads
from registry.domain.names import RepositoryName
from tests.support.registry import opened, push

TARGET = RepositoryName("target")


@pytest.mark.parametrize(
    ("allowed", "is_mounted"), [("holder-0", True), ("holder-7", True), ("holder-8", False), ("none", False)]
)
async def test_holders_are_looked_through_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: str, is_mounted: bool
) -> None:
    monkeypatch.setattr(uploads, "HOLDERS_BATCH", 2)
    monkeypatch.setattr(uploads, "HOLDERS_BATCHES", 4)
    async with opened(tmp_path) as registry:
        for number in range(9):
            digest = await push(registry, b"shared", RepositoryName(f"holder-{number}"))
        mounted = await registry.uploads.mount(TARGET, digest, None, lambda name: name == allowed)
        assert mounted is is_mounted


async def test_a_source_that_may_not_be_pulled_is_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as registry:
        digest = await push(registry, b"shared", RepositoryName("holder"))
        assert not await registry.uploads.mount(TARGET, digest, RepositoryName("holder"), lambda _: False)
        assert await registry.uploads.mount(TARGET, digest, RepositoryName("holder"), lambda _: True)
