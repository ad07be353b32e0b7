"""Judges that know nothing of our code: a reader of the raw tables, and a walker over payloads and files."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

# A live manifest of a live repository that needs a blob or a manifest which can't be read there
_DANGLING = """
    SELECT repository.name, manifest.digest, ref.kind, ref.digest
    FROM repository
    JOIN manifest ON manifest.repository_id = repository.id
    JOIN ref ON ref.repository_id = manifest.repository_id AND ref.parent = manifest.digest
    LEFT JOIN link ON link.repository_id = ref.repository_id AND link.digest = ref.link_digest
    LEFT JOIN blob ON blob.digest = link.digest
    LEFT JOIN manifest AS child ON child.repository_id = ref.repository_id AND child.digest = ref.manifest_digest
    WHERE repository.deleted_at IS NULL AND manifest.deleted_at IS NULL AND ref.kind <> 'foreign'
    AND CASE WHEN ref.link_digest IS NOT NULL
        THEN link.digest IS NULL OR link.deleted_at IS NOT NULL OR blob.state IS NOT 'ok'
        ELSE child.digest IS NULL OR child.deleted_at IS NOT NULL END
    LIMIT 5
"""


def dangling(path: Path) -> list[str]:
    """Manifests that are readable, and what they need that is not; on one snapshot."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return [" ".join(row) for row in connection.execute(_DANGLING)]


def named_files(path: Path, limit: int) -> list[tuple[str, str]]:
    """Digest and key of some blobs."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(
            "SELECT digest, key FROM blob WHERE state = 'ok' ORDER BY random() LIMIT ?", (limit,)
        ).fetchall()


def is_still(path: Path, digest: str, key: str) -> bool:
    """Whether the blob's bytes are still said to be there."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT 1 FROM blob WHERE digest = ? AND key = ?", (digest, key)).fetchone()
    return found is not None


def garbage(path: Path, root: Path) -> list[str]:
    """What is on the disk and reached from no live manifest, and what is reached and not there.

    Call it when all leases are over and all trash is gone. Reached is what payloads name, as JSON has it.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        payloads = connection.execute(
            "SELECT manifest.payload FROM manifest JOIN repository ON repository.id = manifest.repository_id"
            " WHERE manifest.deleted_at IS NULL AND repository.deleted_at IS NULL"
        )
        reached = {digest for (payload,) in payloads for digest in _named(json.loads(payload))}
        children = {digest for (digest,) in connection.execute("SELECT digest FROM manifest")}
        keys = dict(connection.execute("SELECT digest, key FROM blob").fetchall())
    wanted = {keys.get(digest, f"nowhere: {digest}") for digest in reached - children}
    found = {str(file.relative_to(root)) for file in root.glob("sha*/??/*")}
    extra, missing = sorted(found - wanted), sorted(wanted - found)
    return [*(f"{key} is left" for key in extra), *(f"{key} is missing" for key in missing)]


def _named(payload: dict[str, Any]) -> Iterator[str]:
    for descriptor in [payload.get("config"), *payload.get("layers", []), *payload.get("manifests", [])]:
        if descriptor:
            yield descriptor["digest"]
