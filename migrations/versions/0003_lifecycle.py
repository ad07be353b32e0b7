"""Lifecycle: trash, what the garbage collection looks at next, times of verification, tasks that run once for all.

New columns may be NULL, so no table is rewritten. Links that no manifest needs, and all blobs, are updated once.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

EXACT_TEXT = sa.Text().with_variant(sa.String(collation="C"), "postgresql")
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "trash",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("repository_id", ROW_ID, nullable=False),
        sa.Column("digest", EXACT_TEXT, nullable=True),
        sa.Column("tag", EXACT_TEXT, nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_by", sa.Text(), nullable=False),
        sa.Column("act", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('repository', 'manifest', 'tag')", name="trash_kind"),
        sa.CheckConstraint("(kind = 'repository') = (digest IS NULL)", name="trash_digest"),
        sa.CheckConstraint("(kind = 'tag') = (tag IS NOT NULL)", name="trash_tag"),
        sa.ForeignKeyConstraint(["repository_id"], ["repository.id"], ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("trash_act", "trash", ["act"], unique=False)
    op.create_index("trash_content", "trash", ["repository_id", "digest"], unique=False)
    op.create_index("trash_due", "trash", ["deleted_at", "id"], unique=False)
    op.create_table(
        "task",
        sa.Column("name", EXACT_TEXT, nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("wanted_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(owner IS NULL) = (lease_until IS NULL)", name="task_lease"),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "clock_state",
        sa.Column("boot", EXACT_TEXT, nullable=False),
        sa.Column("difference", sa.BigInteger(), nullable=False),
        sa.Column("trusted_from", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("boot"),
        sqlite_with_rowid=False,
    )
    op.add_column("repository", sa.Column("purged_at", sa.BigInteger(), nullable=True))
    _partial_index("repository_purged", "repository", ["purged_at"], "purged_at IS NOT NULL")
    op.add_column("link", sa.Column("review_at", sa.BigInteger(), nullable=True))
    _partial_index("link_review", "link", ["review_at"], "review_at IS NOT NULL")
    op.add_column("doomed", sa.Column("size", sa.BigInteger(), nullable=True))
    op.create_index("doomed_due", "doomed", ["doomed_at"], unique=False)
    op.create_index("blob_scrub", "blob", ["state", "verified_at"], unique=False)
    op.create_index("manifest_digest", "manifest", ["digest"], unique=False)
    _partial_index("event_pointed", "event", ["new_digest", "id"], "tag IS NOT NULL")
    _partial_index(
        "event_repository",
        "event",
        ["repository_id", "id"],
        "action IN ('repository.delete', 'repository.restore', 'repository.rename')",
    )
    op.execute("UPDATE blob SET verified_at = created_at WHERE verified_at IS NULL")
    op.execute(
        "UPDATE link SET review_at = keep_until WHERE NOT EXISTS"
        " (SELECT 1 FROM ref WHERE ref.repository_id = link.repository_id AND ref.link_digest = link.digest)"
    )
    # What was deleted softly so far has no entry yet
    op.execute(
        "INSERT INTO trash (kind, repository_id, digest, deleted_at, deleted_by)"
        " SELECT 'manifest', repository_id, digest, deleted_at, '' FROM manifest WHERE deleted_at IS NOT NULL"
    )


def _partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=False, sqlite_where=where, postgresql_where=where)
