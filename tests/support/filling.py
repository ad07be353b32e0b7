"""Repositories to look at."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from registry.assembly import Registry
from registry.clock import wall_clock
from registry.content.conditions import Conditions
from registry.content.pushing import Push
from registry.domain.names import Digest, RepositoryName, Tag
from tests.support.images import OCI, Image, Index, descriptor, encode, image_manifest, index_manifest
from tests.support.registry import CALLER, opened, push
from tests.support.server import LiveServer

# What a page must show as the text that it is (reliability W-01)
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '" onload="alert(3)',
    "' autofocus onfocus='alert(4)",
    "<svg/onload=alert(5)>",
    "{{7*7}}{% raise %}",
    "javascript:alert(6)",
    "</code></title><iframe src=javascript:alert(7)>",
    "<style>@import url(https://registry.example.com/x)</style>",
    "&lt;b&gt;\u202etxt",
)


@contextmanager
def furnished(
    folder: Path, furnish: Callable[[Registry], Awaitable[None]], settings: Mapping[str, str]
) -> Iterator[LiveServer]:
    """A server on what `furnish` has pushed before it started: as nobody in particular, whose uploads it would end."""

    async def fill() -> None:
        async with opened(server.data, wall_clock) as registry:
            await furnish(registry)

    server = LiveServer(folder, settings)
    server.data.mkdir(parents=True)
    asyncio.run(fill())
    server.start()
    yield server
    if server.running:
        assert server.stop() == 0


async def put(registry: Registry, name: str, tag: str, content: Image | Index) -> Digest:
    """Push an image, or an index with its images."""
    for one in content.images if isinstance(content, Index) else [content]:
        for part in one.blobs:
            await push(registry, part.data, RepositoryName(name))
        await put_manifest(registry, name, one.manifest, one.media_type)
    return await put_manifest(registry, name, content.manifest, content.media_type, tag)


async def put_manifest(registry: Registry, name: str, manifest: bytes, media_type: str, *tags: str) -> Digest:
    """A manifest under these tags, or by its digest alone."""
    digest = Digest.of(manifest, "sha256")
    named = [Tag(tag) for tag in tags]
    pushed = Push(RepositoryName(name), named[0] if named else digest, manifest, media_type, named, Conditions())
    await registry.manifests.put(pushed, CALLER)
    return digest


async def put_artifact(registry: Registry, name: str, tag: str, artifact_type: str) -> Digest:
    for part in (b"{}", b"chart"):
        await push(registry, part, RepositoryName(name))
    manifest = image_manifest(b"{}", [b"chart"], config_type=artifact_type)
    return await put_manifest(registry, name, manifest, OCI.manifest, tag)


async def put_hostile(registry: Registry, name: str, text: str, tag: str) -> None:
    """An index that says it of its platform, which an image of it says in its config, and both in annotations."""
    config = encode({"os": text[:64], "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}})
    await push(registry, config, RepositoryName(name))
    child = image_manifest(config, [], annotations={text: text})
    await put_manifest(registry, name, child, OCI.manifest, f"{tag}-image")
    entry = descriptor(OCI.manifest, child, platform={"os": text, "architecture": "amd64"}, annotations={text: text})
    await put_manifest(registry, name, index_manifest([entry], annotations={text: text}), OCI.index, tag)
