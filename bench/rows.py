"""The rows of a generated registry, past all of our code but the tables: millions in a minute."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

from sqlalchemy import Table, insert
from sqlalchemy.dialects import sqlite

from bench.shape import Shape, bytes_of, images_name, key_of, single_name, tag_name, tagged_name
from registry import metrics
from registry.domain.access import ANYBODY
from registry.metadata.models import blob, link, manifest, ref, repository, tag, task
from storage.digest import Digest
from tests.support.images import OCI, Json, encode

HOUR = 3_600_000
AGE, LEASE = 48 * HOUR, 24 * HOUR
IMAGES_A_REPOSITORY = 100
# So many share the layer of one system
REPOSITORIES_A_SYSTEM = 10
TAGS_A_MANIFEST = 10
# At once, and between two words on progress
ROWS = 20_000

# What each row is given; the rest is NULL
COLUMNS: Mapping[Table, Sequence[str]] = {
    repository: ("id", "name", "created_at"),
    blob: ("digest", "key", "size", "state", "created_at", "verified_at"),
    link: ("repository_id", "digest", "linked_at", "keep_until", "review_at"),
    manifest: (
        *("repository_id", "digest", "media_type", "artifact_type", "config_digest", "platform", "annotations"),
        *("size", "content_size", "depth", "pushed_at", "keep_until", "payload"),
    ),
    ref: ("repository_id", "parent", "position", "kind", "digest", "media_type", "size", "link_digest"),
    tag: ("repository_id", "name", "digest", "version", "moved_at", "moved_by"),
    task: ("name", "done_at"),
}

Progress = Callable[[str, int], None]


class Content(NamedTuple):
    digest: Digest
    size: int


class Rows:
    """Rows on their way to the tables, many at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._waiting: dict[Table, list[tuple[object, ...]]] = defaultdict(list)
        dialect = sqlite.dialect(paramstyle="qmark")
        self._statements = {
            table: str(insert(table).compile(dialect=dialect, column_keys=columns))
            for table, columns in COLUMNS.items()
        }

    def put(self, table: Table, *row: object) -> None:
        """A row in the order of COLUMNS."""
        waiting = self._waiting[table]
        waiting.append(row)
        if len(waiting) == ROWS:
            self._insert(table)

    def flush(self) -> None:
        for table in COLUMNS:
            self._insert(table)

    def _insert(self, table: Table) -> None:
        self.connection.executemany(self._statements[table], self._waiting[table])
        self._waiting[table].clear()


@dataclass
class Made:
    """A registry in the making: `now` in milliseconds, `blobs` and `repositories` are how many there are.

    Repositories are filled one after the other.
    """

    rows: Rows
    now: int
    progress: Progress
    blobs: int = 0
    repositories: int = 0
    linked: set[Digest] = field(default_factory=set)

    @property
    def pushed_at(self) -> int:
        return self.now - AGE

    def blob(self) -> Content:
        """The next one."""
        data = bytes_of(self.blobs)
        digest = Digest.of(data)
        self.rows.put(blob, digest, key_of(self.blobs, digest), len(data), "ok", self.pushed_at, self.pushed_at)
        self.blobs += 1
        return Content(digest, len(data))

    def repository(self, name: str) -> None:
        """The one that is filled from now on."""
        self.repositories += 1
        self.linked.clear()
        self.rows.put(repository, self.repositories, name, self.pushed_at)

    def image(self, config: Content, layers: Sequence[Content], annotations: Mapping[str, str]) -> Digest:
        types = [OCI.config, *[OCI.layer] * len(layers)]
        named = [(*content, media_type) for content, media_type in zip((config, *layers), types, strict=True)]
        payload = _payload(named, annotations)
        digest = Digest.of(payload)
        self.rows.put(
            manifest,
            *(self.repositories, digest, OCI.manifest, OCI.config, config.digest, "linux/amd64"),
            *(encode(annotations).decode(), len(payload), sum(size for _, size, _ in named), 0),
            *(self.pushed_at, self.pushed_at + LEASE, payload),
        )
        for position, (part, size, media_type) in enumerate(named):
            self._link(part)
            kind = "layer" if position else "config"
            self.rows.put(ref, self.repositories, digest, position, kind, part, media_type, size, part)
        return digest

    def tag(self, name: str, digest: Digest) -> None:
        self.rows.put(tag, self.repositories, name, digest, 1, self.pushed_at, ANYBODY.name)

    def _link(self, digest: Digest) -> None:
        if digest not in self.linked:
            self.linked.add(digest)
            self.rows.put(link, self.repositories, digest, self.pushed_at, self.pushed_at + LEASE, None)


def _payload(named: Sequence[tuple[Digest, int, str]], annotations: Mapping[str, str]) -> bytes:
    parts = [{"mediaType": media_type, "digest": digest, "size": size} for digest, size, media_type in named]
    document: Json = {"schemaVersion": 2, "mediaType": OCI.manifest, "config": parts[0], "layers": parts[1:]}
    return encode(document | ({"annotations": annotations} if annotations else {}))


def fill(made: Made, shape: Shape) -> None:
    images(made, shape.blobs - shape.garbage)
    if shape.garbage and not made.repositories:
        made.repository(images_name(0))
    garbage(made, shape.garbage, made.repositories)
    if shape.repositories or shape.tags:
        _many_names(made, shape)
    # Who serves it does not begin with all of its periodic work
    for name in get_args(metrics.Task):
        made.rows.put(task, name, made.now)


def images(made: Made, blobs: int) -> None:
    """Images until so many blobs are used up, a hundred a repository, each tagged.

    To its config and 1 to 3 layers of its own come the system's, and for every second one the runtime's.
    """

    def take(count: int) -> list[Content]:
        return [made.blob() for _ in range(min(count, blobs - made.blobs))]

    shared: dict[str, list[Content]] = defaultdict(list)
    number = 0
    while made.blobs < blobs:
        place, position = divmod(number, IMAGES_A_REPOSITORY)
        if not position:
            made.repository(images_name(place))
            made.progress("blobs", made.blobs)
        config, *own = take(2 + number % 3)
        bases = [f"system {place // REPOSITORIES_A_SYSTEM}", f"runtime {place}"][: 1 + number % 2]
        for base in bases:
            shared[base] = shared[base] or take(1)
        layers = [layer for base in bases for layer in shared[base]]
        made.tag(f"v{position}", made.image(config, layers + own, {}))
        number += 1


def garbage(made: Made, count: int, repositories: int) -> None:
    """Blobs that nothing needs and whose leases are over, in the first so many repositories."""
    for number in range(count):
        if not number % ROWS:
            made.progress("garbage", number)
        over = made.pushed_at + LEASE + number
        made.rows.put(link, 1 + number % repositories, made.blob().digest, over - LEASE, over, over)


def _many_names(made: Made, shape: Shape) -> None:
    """Repositories of many names and few bytes: their manifests differ in an annotation."""
    config, *layers = (made.blob() for _ in range(3))

    def image(number: int) -> Digest:
        return made.image(config, layers, {"org.opencontainers.image.version": str(number)})

    for number in range(shape.repositories):
        made.repository(single_name(number))
        made.tag("v1", image(number))
        if not number % ROWS:
            made.progress("repositories", number)
    for count in shape.tags:
        made.repository(tagged_name(count))
        for number in range(count):
            if not number % TAGS_A_MANIFEST:
                digest = image(number)
            if not number % ROWS:
                made.progress("tags", number)
            made.tag(tag_name(number), digest)
