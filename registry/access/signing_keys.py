"""The keys that sign our tokens: in the database, so that every process knows them; a new one every 30 days."""

import json
import secrets
import time
from collections.abc import Callable

from joserfc.jwk import ECKey
from sqlalchemy import Connection

from registry.access.directory import Directory
from registry.domain.errors import Unavailable
from registry.metadata import revision, tokens
from registry.metadata.database import Database

DAY = 86_400_000
ROTATE = 30 * DAY
# Uploads go on with tokens that have expired, for as long as the upload lives; that is a day by default
KEEP = ROTATE + 30 * DAY
# Strangers make up keys: nobody looks for one more often
LOOK_SECONDS = 1.0


class SigningKeys:
    """Signs with the newest, knows the older ones until nothing signed by them can be in use. `now` in milliseconds."""

    def __init__(self, database: Database, directory: Directory, now: Callable[[], int]) -> None:
        self._database = database
        self._directory = directory
        self._now = now
        self._keys: dict[str, tuple[ECKey, int]] = {}
        self._as_of = 0
        self._looked_at = -LOOK_SECONDS

    async def newest(self) -> ECKey:
        """The key to sign with, made when there is none that is young enough."""
        await self._load()
        key = self._newest(ROTATE)
        if key is None:
            try:
                await self.rotate()
                await self._load(again=True)
            except Unavailable:
                if not self._keys:
                    raise
            key = self._newest(KEEP)
            assert key is not None, "rotate() has made one, here or elsewhere"
        return key

    async def find(self, key_id: str) -> ECKey | None:
        """A key by its id, also one that another process has just made."""
        await self._load()
        if key_id not in self._keys and time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            await self._load(again=True)
        known = self._keys.get(key_id)
        return known[0] if known else None

    async def rotate(self) -> None:
        """Make a key when the newest is old, forget those that nobody needs. By one process at a time, at no cost."""
        key_id = secrets.token_hex(8)
        key = ECKey.generate_key("P-256", {"kid": key_id})
        await self._database.write(_rotate, key_id, json.dumps(key.as_dict(private=True)))

    def _newest(self, age: int) -> ECKey | None:
        young = [(made_at, key) for key, made_at in self._keys.values() if made_at > self._now() - age]
        return max(young, key=lambda pair: pair[0])[1] if young else None

    async def _load(self, *, again: bool = False) -> None:
        if self._as_of == self._directory.revision and not again:
            return
        as_of = self._directory.revision
        stored = await self._database.read(tokens.list_keys)
        self._keys = {row.id: (ECKey.import_key(json.loads(row.key)), row.created_at) for row in stored}
        self._as_of = as_of


def _rotate(connection: Connection, key_id: str, key: str) -> None:
    if tokens.insert_key(connection, key_id, key, younger_than=ROTATE):
        tokens.delete_keys(connection, older_than=KEEP)
        revision.bump(connection)
