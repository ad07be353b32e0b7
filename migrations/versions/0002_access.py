"""Access: users, groups, robots, grants, rules for CI, what tokens stand on, and seals over the events.

Nothing is rewritten: new tables, two columns that may be NULL, and one index over `upload`, which is short.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

EXACT_TEXT = sa.Text().with_variant(sa.String(collation="C"), "postgresql")
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "access_grant",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("subject", EXACT_TEXT, nullable=False),
        sa.Column("pattern", EXACT_TEXT, nullable=False),
        sa.Column("verbs", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", EXACT_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("subject", "pattern"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "access_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="access_state_single"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ci_issuer",
        sa.Column("issuer", EXACT_TEXT, nullable=False),
        sa.Column("keys", sa.Text(), nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=True),
        sa.Column("tried_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ci_login",
        sa.Column("issuer", EXACT_TEXT, nullable=False),
        sa.Column("jti", EXACT_TEXT, nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("address", EXACT_TEXT, nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti"),
        sqlite_with_rowid=False,
    )
    op.create_index("ci_login_expiry", "ci_login", ["expires_at"], unique=False)
    op.create_table(
        "ci_rule",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("name", EXACT_TEXT, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", EXACT_TEXT, nullable=False),
        sa.Column("audience", EXACT_TEXT, nullable=False),
        sa.Column("claims", sa.Text(), nullable=False),
        sa.Column("lifetime", sa.BigInteger(), nullable=False),
        sa.Column("reuse", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", EXACT_TEXT, nullable=False),
        sa.CheckConstraint("provider IN ('github', 'gitlab', 'generic')", name="ci_rule_provider"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "event_seal",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("first_event", sa.BigInteger(), nullable=False),
        sa.Column("last_event", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "refresh_token",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("subject", EXACT_TEXT, nullable=False),
        sa.Column("credential", EXACT_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("refresh_token_credential", "refresh_token", ["credential"], unique=False)
    op.create_index("refresh_token_expiry", "refresh_token", ["expires_at"], unique=False)
    op.create_index("refresh_token_subject", "refresh_token", ["subject"], unique=False)
    op.create_table(
        "robot",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("name", EXACT_TEXT, nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("created_by", EXACT_TEXT, nullable=False),
        sa.Column("creator_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "signing_key",
        sa.Column("id", EXACT_TEXT, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "user_account",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("name", EXACT_TEXT, nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "user_group",
        sa.Column("name", EXACT_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "group_member",
        sa.Column("group_name", EXACT_TEXT, nullable=False),
        sa.Column("user_name", EXACT_TEXT, nullable=False),
        sa.ForeignKeyConstraint(["group_name"], ["user_group.name"], ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("group_name", "user_name"),
        sqlite_with_rowid=False,
    )
    op.create_index("group_member_user", "group_member", ["user_name"], unique=False)
    op.create_table(
        "robot_secret",
        sa.Column("id", EXACT_TEXT, nullable=False),
        sa.Column("robot_id", ROW_ID, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["robot_id"], ["robot.id"], ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("robot_secret_robot", "robot_secret", ["robot_id"], unique=False)
    op.add_column("event", sa.Column("address", sa.Text(), nullable=True))
    op.add_column("event", sa.Column("credential", sa.Text(), nullable=True))
    op.create_index("upload_identity", "upload", ["identity"], unique=False)
    op.execute("INSERT INTO access_state (id, revision) VALUES (1, 1)")
