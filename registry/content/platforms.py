"""The platform of an image stands in its config blob; it is read once, when the manifest is pushed."""

import msgspec

from registry.domain.manifest import Manifest
from registry.domain.media_types import IMAGE_CONFIGS
from registry.domain.names import RepositoryName
from registry.metadata import blobs
from registry.metadata.database import Database
from storage.backend import BlobStore
from storage.errors import StorageError

# Real configs have a few KiB; what is larger may be a bomb and tells nothing worth it
CONFIG_LIMIT = 1024 * 1024
TEXT_LIMIT = 64


class _Config(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class Platforms:
    """Reads configs, without trusting them."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    async def of_image(self, repository: RepositoryName, manifest: Manifest) -> str | None:
        """`os/architecture[/variant]`, None when the config is none of an image or says nothing usable."""
        config = manifest.config
        if config is None or config.media_type not in IMAGE_CONFIGS or config.size > CONFIG_LIMIT:
            return None
        found = await self._database.read(blobs.find_in, repository, config.digest)
        if found is None or found.size != config.size:
            return None
        try:
            reader = await self._store.open(found.key)
            try:
                return _platform(await reader.read(0, found.size))
            finally:
                await reader.close()
        except StorageError:
            return None


def _platform(config: bytes) -> str | None:
    try:
        parsed = msgspec.json.decode(config, type=_Config)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    names = (parsed.os, parsed.architecture, parsed.variant)
    if not parsed.os or not parsed.architecture or any(len(name) > TEXT_LIMIT for name in names):
        return None
    return "/".join(name for name in names if name)
