"""Referrers: the manifests whose subject is a digest, as an index (end-12)."""

import json
from collections.abc import Iterator, Sequence

from registry.domain.manifest import MANIFEST_LIMIT
from registry.domain.media_types import OCI_INDEX
from registry.domain.names import Digest, RepositoryName
from registry.domain.paging import Page
from registry.domain.strict_json import Json
from registry.metadata import manifests
from registry.metadata.database import Database
from registry.metadata.manifests import Referrer

# Rows fetched at a time: one of them may carry annotations of 4 MiB
ROWS = 100
# Room for the index around the descriptors; containerd reads 4 MiB and no Link
PAGE_BYTES = MANIFEST_LIMIT - 1024


class Referrers:
    """The service of referrers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, repository: RepositoryName, subject: Digest, types: Sequence[str], last: str) -> Page[bytes]:
        """Descriptors in JSON, those after `last`, as many as fit 4 MiB; empty for what nobody knows."""
        entries: list[bytes] = []
        size = 0
        while True:
            rows = await self._database.read(manifests.list_referrers, repository, subject, types, last, ROWS)
            for row in rows:
                entry = _descriptor(row)
                size += len(entry) + 1
                if size > PAGE_BYTES and entries:
                    return Page(entries, next_last=last)
                entries.append(entry)
                last = row.digest
            if len(rows) < ROWS:
                return Page(entries)


def index_of(descriptors: Sequence[bytes]) -> bytes:
    """The index that lists the descriptors."""
    head = b'{"schemaVersion":2,"mediaType":"%s","manifests":[' % OCI_INDEX.encode()
    return head + b",".join(descriptors) + b"]}"


def _descriptor(row: Referrer) -> bytes:
    return json.dumps(dict(_fields(row)), ensure_ascii=False, separators=(",", ":")).encode()


def _fields(row: Referrer) -> Iterator[tuple[str, Json]]:
    yield "mediaType", row.media_type
    yield "digest", row.digest
    yield "size", row.size
    if row.artifact_type:
        yield "artifactType", row.artifact_type
    if annotations := json.loads(row.annotations):
        yield "annotations", annotations
