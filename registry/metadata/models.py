"""The tables. Their foreign keys make a dangling manifest impossible (reliability D3); nothing cascades.

repository ──< link >── blob          a repository holds a blob: membership, and its lease
    │           │
    ├──< manifest ──< ref             a ref is tied to the link or the manifest that it needs
    │        │
    ├──< tag ┘
    ├──< upload                       doomed: keys whose bytes may go      event: what happened
    └──< trash                        what was deleted and can be restored
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from registry.metadata.columns import EXACT_TEXT, ROW_ID, TIME

metadata = MetaData()

# The surrogate id lets a deleted repository and its successor of the same name live side by side
repository = Table(
    "repository",
    metadata,
    Column("id", ROW_ID, primary_key=True),
    Column("name", EXACT_TEXT, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("deleted_at", TIME),
    # from when on it can't come back, and the garbage collection takes its rows away
    Column("purged_at", TIME),
    Index(
        "repository_purged",
        "purged_at",
        sqlite_where=text("purged_at IS NOT NULL"),
        postgresql_where=text("purged_at IS NOT NULL"),
    ),
    Index(
        "repository_live_name",
        "name",
        unique=True,
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
)

blob = Table(
    "blob",
    metadata,
    Column("digest", EXACT_TEXT, primary_key=True),
    Column("key", EXACT_TEXT, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", TIME, nullable=False),
    # when its bytes were last looked at; 0: look next
    Column("verified_at", TIME),
    CheckConstraint("size >= 0", name="blob_size"),
    CheckConstraint("state IN ('ok', 'quarantined')", name="blob_state"),
    Index("blob_scrub", "state", "verified_at"),
    sqlite_with_rowid=False,
)

link = Table(
    "link",
    metadata,
    Column("repository_id", ForeignKey("repository.id", ondelete="RESTRICT"), primary_key=True),
    Column("digest", ForeignKey("blob.digest", ondelete="RESTRICT"), primary_key=True),
    Column("linked_at", TIME, nullable=False),
    Column("keep_until", TIME, nullable=False),
    Column("deleted_at", TIME),
    # when the garbage collection looks at it next; NULL while a manifest is known to need it
    Column("review_at", TIME),
    Index("link_digest", "digest"),
    Index(
        "link_review",
        "review_at",
        sqlite_where=text("review_at IS NOT NULL"),
        postgresql_where=text("review_at IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

manifest = Table(
    "manifest",
    metadata,
    Column("repository_id", ForeignKey("repository.id", ondelete="RESTRICT"), primary_key=True),
    Column("digest", EXACT_TEXT, primary_key=True),
    Column("media_type", Text, nullable=False),
    # the explicit one, else an image's config type: what the referrers API shows and filters on
    Column("artifact_type", Text),
    Column("config_digest", EXACT_TEXT),
    # weak: the subject may be missing
    Column("subject", EXACT_TEXT),
    Column("platform", Text),
    Column("annotations", Text, nullable=False),
    # of the payload, and of all content that it names
    Column("size", BigInteger, nullable=False),
    Column("content_size", BigInteger, nullable=False),
    # how many levels of indexes are below
    Column("depth", Integer, nullable=False),
    Column("pushed_at", TIME, nullable=False),
    Column("keep_until", TIME, nullable=False),
    Column("deleted_at", TIME),
    Column("payload", LargeBinary, nullable=False),
    Index("manifest_digest", "digest"),
    Index(
        "manifest_subject",
        "repository_id",
        "subject",
        "digest",
        sqlite_where=text("subject IS NOT NULL"),
        postgresql_where=text("subject IS NOT NULL"),
    ),
)

# One row a descriptor, in the manifest's order. A foreign layer that is not here needs nothing.
ref = Table(
    "ref",
    metadata,
    Column("repository_id", ROW_ID, primary_key=True),
    Column("parent", EXACT_TEXT, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("digest", EXACT_TEXT, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("platform", Text),
    Column("link_digest", EXACT_TEXT),
    Column("manifest_digest", EXACT_TEXT),
    ForeignKeyConstraint(
        ["repository_id", "parent"], ["manifest.repository_id", "manifest.digest"], ondelete="RESTRICT"
    ),
    ForeignKeyConstraint(["repository_id", "link_digest"], ["link.repository_id", "link.digest"], ondelete="RESTRICT"),
    ForeignKeyConstraint(
        ["repository_id", "manifest_digest"], ["manifest.repository_id", "manifest.digest"], ondelete="RESTRICT"
    ),
    CheckConstraint("kind IN ('config', 'layer', 'child', 'foreign')", name="ref_kind"),
    CheckConstraint(
        "CASE WHEN kind = 'foreign' THEN link_digest IS NULL AND manifest_digest IS NULL"
        " ELSE (link_digest IS NULL) <> (manifest_digest IS NULL) END",
        name="ref_target",
    ),
    CheckConstraint("COALESCE(link_digest, manifest_digest, digest) = digest", name="ref_digest"),
    Index("ref_link", "repository_id", "link_digest"),
    Index("ref_manifest", "repository_id", "manifest_digest"),
    sqlite_with_rowid=False,
)

tag = Table(
    "tag",
    metadata,
    Column("repository_id", ROW_ID, primary_key=True),
    Column("name", EXACT_TEXT, primary_key=True),
    Column("digest", EXACT_TEXT, nullable=False),
    Column("version", Integer, nullable=False),
    Column("moved_at", TIME, nullable=False),
    Column("moved_by", Text, nullable=False),
    ForeignKeyConstraint(
        ["repository_id", "digest"], ["manifest.repository_id", "manifest.digest"], ondelete="RESTRICT"
    ),
    Index("tag_digest", "repository_id", "digest"),
    sqlite_with_rowid=False,
)

# The row stands before the first byte: no bytes are staged or published that no row ever knew
upload = Table(
    "upload",
    metadata,
    Column("id", EXACT_TEXT, primary_key=True),
    Column("repository_id", ForeignKey("repository.id", ondelete="RESTRICT"), nullable=False),
    Column("identity", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    # durable bytes; the sum of `segments`, a JSON list of [version, size]
    Column("offset", BigInteger, nullable=False),
    Column("segments", Text, nullable=False),
    # raised by every lease and every rollback: the fence against writers whose lease ran out
    Column("version", Integer, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", TIME),
    # digest of all bytes up to `offset`, when the last writer knew it
    Column("candidate", EXACT_TEXT),
    Column("started_at", TIME, nullable=False),
    Column("expires_at", TIME, nullable=False),
    Column("finished_digest", EXACT_TEXT),
    CheckConstraint('"offset" >= 0', name="upload_offset"),
    CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name="upload_lease"),
    Index("upload_expiry", "expires_at"),
    Index("upload_repository", "repository_id"),
    Index("upload_identity", "identity"),
    sqlite_with_rowid=False,
)

# Bytes go only through here; a key enters in the transaction that takes it from its blob, and never returns
doomed = Table(
    "doomed",
    metadata,
    Column("key", EXACT_TEXT, primary_key=True),
    Column("doomed_at", TIME, nullable=False),
    Column("reason", Text, nullable=False),
    # NULL where nobody knew
    Column("size", BigInteger),
    Index("doomed_due", "doomed_at"),
    sqlite_with_rowid=False,
)

# One row for each thing that can be restored. `act` is the entry of the deletion that took it along.
trash = Table(
    "trash",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("repository_id", ForeignKey("repository.id", ondelete="RESTRICT"), nullable=False),
    # of the manifest, or what the tag pointed to
    Column("digest", EXACT_TEXT),
    Column("tag", EXACT_TEXT),
    Column("deleted_at", TIME, nullable=False),
    Column("deleted_by", Text, nullable=False),
    Column("act", BigInteger),
    CheckConstraint("kind IN ('repository', 'manifest', 'tag')", name="trash_kind"),
    CheckConstraint("(kind = 'repository') = (digest IS NULL)", name="trash_digest"),
    CheckConstraint("(kind = 'tag') = (tag IS NOT NULL)", name="trash_tag"),
    Index("trash_due", "deleted_at", "id"),
    Index("trash_content", "repository_id", "digest"),
    Index("trash_act", "act"),
    sqlite_autoincrement=True,
)

# Tag history, audit trail and outbox in one; no foreign keys: it outlives what it tells of
event = Table(
    "event",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("at", TIME, nullable=False),
    Column("identity", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("repository_id", BigInteger),
    Column("repository", EXACT_TEXT),
    Column("tag", EXACT_TEXT),
    Column("old_digest", EXACT_TEXT),
    Column("new_digest", EXACT_TEXT),
    Column("request_id", Text),
    Column("details", Text),
    # where it came from, and by which credential
    Column("address", Text),
    Column("credential", Text),
    Index("event_tag", "repository_id", "tag", "id"),
    # Which tags ever pointed to a digest
    Index(
        "event_pointed",
        "new_digest",
        "id",
        sqlite_where=text("tag IS NOT NULL"),
        postgresql_where=text("tag IS NOT NULL"),
    ),
    # When a repository as a whole came and went
    Index(
        "event_repository",
        "repository_id",
        "id",
        sqlite_where=text("action IN ('repository.delete', 'repository.restore', 'repository.rename')"),
        postgresql_where=text("action IN ('repository.delete', 'repository.restore', 'repository.rename')"),
    ),
    sqlite_autoincrement=True,
)

# Periodic work: who does it now, under a lease, and when it was last done
task = Table(
    "task",
    metadata,
    Column("name", EXACT_TEXT, primary_key=True),
    Column("owner", Text),
    Column("lease_until", TIME),
    Column("done_at", TIME),
    # somebody does not want to wait for the next time
    Column("wanted_at", TIME),
    CheckConstraint("(owner IS NULL) = (lease_until IS NULL)", name="task_lease"),
    sqlite_with_rowid=False,
)

# How far the wall clock was from the boot clock, so that no restart hides a jump (design P13)
clock_state = Table(
    "clock_state",
    metadata,
    Column("boot", EXACT_TEXT, primary_key=True),
    Column("difference", BigInteger, nullable=False),
    Column("trusted_from", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# A serving process: who holds a lease, and on which host it may be cleared
instance = Table(
    "instance",
    metadata,
    Column("id", EXACT_TEXT, primary_key=True),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("heartbeat_at", TIME, nullable=False),
    sqlite_with_rowid=False,
)
