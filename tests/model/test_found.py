"""What went wrong once: found by the model or while it was written."""

from pathlib import Path

from registry.assembly import Registry
from registry.content.conditions import Conditions
from registry.content.pushing import Push
from registry.domain.names import Digest
from tests.model.content import Content, Document, image, index
from tests.support.registry import CALLER, NAME, execute, opened, push


async def put(registry: Registry, document: Document) -> Digest:
    digest = Digest(document.digest)
    manifest = Push(NAME, digest, document.payload, document.media_type, (), Conditions())
    return (await registry.manifests.put(manifest, CALLER)).digest


async def test_an_index_pushed_again_is_as_deep_as_its_children_are_by_now(tmp_path: Path) -> None:
    """A child that was held as a blob has no depth: else indexes could be nested without limit."""
    one = image(Content.BRACES, [])
    inner = index([one])
    outer = index([inner])
    async with opened(tmp_path) as registry:
        for data in (b"{}", one.payload, inner.payload):
            await push(registry, data)
        depth = "SELECT depth FROM manifest WHERE digest = ?"
        digest = await put(registry, outer)
        assert await execute(registry, depth, digest) == [(0,)]
        await put(registry, one)
        await put(registry, inner)
        assert await put(registry, outer) == digest
        assert await execute(registry, depth, digest) == [(2,)]
