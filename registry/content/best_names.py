"""What to call a digest, as people would: by a tag, where there is one."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from registry.domain.manifest import NESTING_LIMIT
from registry.domain.names import Digest, RepositoryName
from registry.domain.preferred_tags import Tagged, preference
from registry.metadata import digests
from registry.metadata.digests import Place

# A base layer may be in 100,000 manifests
LOOKED_AT = 100
TAGS_LOOKED_AT = 1000
# Of a digest, in a name
SHORT = len("sha256:") + 12


class _Named(NamedTuple):
    tagged: Tagged
    part: str

    def __str__(self) -> str:
        return f"{self.tagged}{self.part}"


def best_name(connection: Connection, digest: Digest, repositories: Sequence[tuple[int, RepositoryName]]) -> str:
    """The best tag of the manifest, else of an index that holds it, with its platform; of a blob that of a manifest.

    Only these repositories count. Without any tag it is `repository@digest`.
    """
    # what is called by the name of something above says which part of that it is
    parts: dict[Place, str] = {(repository_id, digest): "" for repository_id, _ in repositories}
    for _ in range(NESTING_LIMIT + 2):
        tagged = digests.tagged(connection, parts, TAGS_LOOKED_AT)
        named = [_Named(found, parts[place]) for place, found in tagged if place in parts]
        if named:
            return str(min(named, key=lambda one: (*preference(one.tagged), one.part)))
        parts = _above(connection, parts)
        if not parts:
            break
    return f"{repositories[0][1]}@{digest}"


def _above(connection: Connection, parts: dict[Place, str]) -> dict[Place, str]:
    found: dict[Place, str] = {}
    for naming in digests.namings(connection, parts, LOOKED_AT):
        part = parts.get(naming.named)
        if part is None:
            continue
        if naming.is_manifest and not part:
            part = f" ({naming.platform or naming.named[1][:SHORT]})"
        found[naming.parent] = min(found.get(naming.parent, part), part)
    return dict(list(found.items())[:LOOKED_AT])
