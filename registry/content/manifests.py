"""Manifests: push, pull, delete."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from registry import metrics
from registry.content.conditions import Conditions
from registry.content.deleting import delete_manifest, delete_tag
from registry.content.platforms import Platforms
from registry.content.pushing import Push, put
from registry.domain.access import Caller, Decide
from registry.domain.errors import DigestInvalid, ManifestUnknown, NameUnknown
from registry.domain.manifest import Manifest, parse_manifest
from registry.domain.names import Digest, Reference, RepositoryName, Tag
from registry.metadata import manifests, repositories
from registry.metadata.database import Database
from registry.metadata.manifests import StoredHead, StoredManifest
from storage.crashpoints import crash_point

# A larger payload is parsed in a thread: one at a time, since parsing takes many times its size in memory
INLINE_PARSE = 64 * 1024


class Manifests:
    """The service of manifests. `lease` in milliseconds; `decide` is asked for each tag that exists."""

    def __init__(self, database: Database, platforms: Platforms, *, lease: int, decide: Decide) -> None:
        self._database = database
        self._platforms = platforms
        self._lease = lease
        self._decide = decide
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="parse")

    async def get(self, repository: RepositoryName, reference: Reference) -> StoredManifest:
        """Raise ManifestUnknown or NameUnknown."""
        found = await self._database.read(manifests.find, repository, reference)
        return found or await self._unknown(repository)

    async def head(self, repository: RepositoryName, reference: Reference) -> StoredHead:
        """`get` without the payload."""
        found = await self._database.read(manifests.find_head, repository, reference)
        return found or await self._unknown(repository)

    async def put(self, push: Push, caller: Caller) -> Manifest:
        """Store and tag; raise ManifestInvalid, ManifestBlobUnknown, Denied or PreconditionFailed."""
        manifest = await self._parse(push)
        platform = await self._platforms.of_image(push.repository, manifest)
        await self._database.write(put, push, manifest, platform, caller, self._lease, self._decide)
        crash_point("manifest.committed")
        metrics.manifest_pushed()
        return manifest

    async def delete(
        self, repository: RepositoryName, reference: Reference, conditions: Conditions, caller: Caller
    ) -> None:
        """Delete a tag, or a manifest with its tags.

        Raises ManifestUnknown, PreconditionFailed, Denied for a tag that may not move, and Unsupported while a
        live index needs the manifest.
        """
        if isinstance(reference, Tag):
            await self._database.write(delete_tag, repository, reference, conditions, caller, self._decide)
        else:
            await self._database.write(
                delete_manifest, repository, reference, conditions, caller, self._lease, self._decide
            )

    async def close(self) -> None:
        self._parser.shutdown()

    async def _parse(self, push: Push) -> Manifest:
        if len(push.payload) <= INLINE_PARSE:
            return _parse(push)
        return await asyncio.get_running_loop().run_in_executor(self._parser, _parse, push)

    async def _unknown(self, repository: RepositoryName) -> NoReturn:
        if await self._database.read(repositories.find, repository) is None:
            raise NameUnknown()
        raise ManifestUnknown()


def _parse(push: Push) -> Manifest:
    """The digest covers the bytes as they came (spec, "Pushing Manifests")."""
    expected = push.reference if isinstance(push.reference, Digest) else None
    digest = Digest.of(push.payload, expected.algorithm if expected else "sha256")
    if expected is not None and digest != expected:
        raise DigestInvalid(f"the manifest's digest is {digest}, not the one in the path")
    return parse_manifest(push.payload, push.content_type, digest)
