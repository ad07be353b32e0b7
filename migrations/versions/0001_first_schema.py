"""The first schema: repositories, blobs, links, manifests, refs, tags, uploads, doomed keys, events, instances."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

EXACT_TEXT = sa.Text().with_variant(sa.String(collation="C"), "postgresql")
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "blob",
        sa.Column("digest", EXACT_TEXT, nullable=False),
        sa.Column("key", EXACT_TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("verified_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('ok', 'quarantined')", name="blob_state"),
        sa.CheckConstraint("size >= 0", name="blob_size"),
        sa.PrimaryKeyConstraint("digest"),
        sa.UniqueConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "doomed",
        sa.Column("key", EXACT_TEXT, nullable=False),
        sa.Column("doomed_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "event",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=True),
        sa.Column("repository", EXACT_TEXT, nullable=True),
        sa.Column("tag", EXACT_TEXT, nullable=True),
        sa.Column("old_digest", EXACT_TEXT, nullable=True),
        sa.Column("new_digest", EXACT_TEXT, nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("event_tag", "event", ["repository_id", "tag", "id"], unique=False)
    op.create_table(
        "instance",
        sa.Column("id", EXACT_TEXT, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "repository",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", EXACT_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "repository_live_name",
        "repository",
        ["name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "link",
        sa.Column("repository_id", ROW_ID, nullable=False),
        sa.Column("digest", EXACT_TEXT, nullable=False),
        sa.Column("linked_at", sa.BigInteger(), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["digest"], ["blob.digest"], ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["repository_id"], ["repository.id"], ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("repository_id", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("link_digest", "link", ["digest"], unique=False)
    op.create_table(
        "manifest",
        sa.Column("repository_id", ROW_ID, nullable=False),
        sa.Column("digest", EXACT_TEXT, nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("artifact_type", sa.Text(), nullable=True),
        sa.Column("config_digest", EXACT_TEXT, nullable=True),
        sa.Column("subject", EXACT_TEXT, nullable=True),
        sa.Column("platform", sa.Text(), nullable=True),
        sa.Column("annotations", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_size", sa.BigInteger(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("pushed_at", sa.BigInteger(), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["repository.id"], ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("repository_id", "digest"),
    )
    op.create_index(
        "manifest_subject",
        "manifest",
        ["repository_id", "subject", "digest"],
        unique=False,
        sqlite_where=sa.text("subject IS NOT NULL"),
        postgresql_where=sa.text("subject IS NOT NULL"),
    )
    op.create_table(
        "upload",
        sa.Column("id", EXACT_TEXT, nullable=False),
        sa.Column("repository_id", ROW_ID, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("segments", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("candidate", EXACT_TEXT, nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_digest", EXACT_TEXT, nullable=True),
        sa.CheckConstraint('"offset" >= 0', name="upload_offset"),
        sa.CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name="upload_lease"),
        sa.ForeignKeyConstraint(["repository_id"], ["repository.id"], ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("upload_expiry", "upload", ["expires_at"], unique=False)
    op.create_index("upload_repository", "upload", ["repository_id"], unique=False)
    op.create_table(
        "ref",
        sa.Column("repository_id", ROW_ID, nullable=False),
        sa.Column("parent", EXACT_TEXT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", EXACT_TEXT, nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=True),
        sa.Column("link_digest", EXACT_TEXT, nullable=True),
        sa.Column("manifest_digest", EXACT_TEXT, nullable=True),
        sa.CheckConstraint(
            "CASE WHEN kind = 'foreign' THEN link_digest IS NULL AND manifest_digest IS NULL ELSE (link_digest IS NULL) <> (manifest_digest IS NULL) END",
            name="ref_target",
        ),
        sa.CheckConstraint("kind IN ('config', 'layer', 'child', 'foreign')", name="ref_kind"),
        sa.CheckConstraint("COALESCE(link_digest, manifest_digest, digest) = digest", name="ref_digest"),
        sa.ForeignKeyConstraint(
            ["repository_id", "link_digest"], ["link.repository_id", "link.digest"], ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id", "manifest_digest"], ["manifest.repository_id", "manifest.digest"], ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id", "parent"], ["manifest.repository_id", "manifest.digest"], ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("repository_id", "parent", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("ref_link", "ref", ["repository_id", "link_digest"], unique=False)
    op.create_index("ref_manifest", "ref", ["repository_id", "manifest_digest"], unique=False)
    op.create_table(
        "tag",
        sa.Column("repository_id", ROW_ID, nullable=False),
        sa.Column("name", EXACT_TEXT, nullable=False),
        sa.Column("digest", EXACT_TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.Column("moved_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id", "digest"], ["manifest.repository_id", "manifest.digest"], ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("repository_id", "name"),
        sqlite_with_rowid=False,
    )
    op.create_index("tag_digest", "tag", ["repository_id", "digest"], unique=False)
