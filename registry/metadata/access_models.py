"""The tables of access: who there is, what was granted, and what was handed out.

user_account ──< group_member >── user_group        robot ──< robot_secret        ci_rule
                                                                                  ci_issuer, ci_login
access_grant: subjects by name      signing_key, refresh_token: what tokens stand on
access_state: one row, raised by every change of all this, so that each process sees it soon

Secrets are never stored: passwords as bcrypt, everything random as SHA-256. Only the signing keys are as they are.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from registry.metadata.columns import EXACT_TEXT, ROW_ID, TIME
from registry.metadata.models import metadata

__all__ = ["metadata"]

# Ids are never used twice: what was handed out to a user does not pass to the next one of that name
user_account = Table(
    "user_account",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("name", EXACT_TEXT, nullable=False, unique=True),
    Column("password", Text, nullable=False),
    # raised by every new password, and when the user is kept out: what was handed out before ends
    Column("version", Integer, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("disabled_at", TIME),
    sqlite_autoincrement=True,
)

user_group = Table(
    "user_group",
    metadata,
    Column("name", EXACT_TEXT, primary_key=True),
    Column("created_at", TIME, nullable=False),
    sqlite_with_rowid=False,
)

# By name: members may also come from an htpasswd file
group_member = Table(
    "group_member",
    metadata,
    Column("group_name", ForeignKey("user_group.name", ondelete="RESTRICT"), primary_key=True),
    Column("user_name", EXACT_TEXT, primary_key=True),
    Index("group_member_user", "user_name"),
    sqlite_with_rowid=False,
)

robot = Table(
    "robot",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("name", EXACT_TEXT, nullable=False, unique=True),
    Column("about", Text, nullable=False),
    # a subject; and the user's id, without a foreign key: a robot whose creator is gone ends, but is remembered
    Column("created_by", EXACT_TEXT, nullable=False),
    Column("creator_id", BigInteger),
    Column("created_at", TIME, nullable=False),
    Column("disabled_at", TIME),
    sqlite_autoincrement=True,
)

robot_secret = Table(
    "robot_secret",
    metadata,
    Column("id", EXACT_TEXT, primary_key=True),
    Column("robot_id", ForeignKey("robot.id", ondelete="RESTRICT"), nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("expires_at", TIME, nullable=False),
    Column("last_used_at", TIME),
    Index("robot_secret_robot", "robot_id"),
    sqlite_with_rowid=False,
)

access_grant = Table(
    "access_grant",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("subject", EXACT_TEXT, nullable=False),
    Column("pattern", EXACT_TEXT, nullable=False),
    # words joined by commas
    Column("verbs", Text, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("created_by", EXACT_TEXT, nullable=False),
    UniqueConstraint("subject", "pattern"),
    sqlite_autoincrement=True,
)

ci_rule = Table(
    "ci_rule",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("name", EXACT_TEXT, nullable=False, unique=True),
    Column("provider", Text, nullable=False),
    Column("issuer", EXACT_TEXT, nullable=False),
    Column("audience", EXACT_TEXT, nullable=False),
    # JSON: claim to the list of values it may have; a value that ends in * is a prefix
    Column("claims", Text, nullable=False),
    # how long a login lasts
    Column("lifetime", BigInteger, nullable=False),
    # how long after its first use a token may be used again
    Column("reuse", BigInteger, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("created_by", EXACT_TEXT, nullable=False),
    CheckConstraint("provider IN ('github', 'gitlab', 'generic')", name="ci_rule_provider"),
    sqlite_autoincrement=True,
)

# The keys of an issuer, fetched by one process for all; old ones stay until new ones came
ci_issuer = Table(
    "ci_issuer",
    metadata,
    Column("issuer", EXACT_TEXT, primary_key=True),
    # a JSON Web Key Set
    Column("keys", Text, nullable=False),
    Column("fetched_at", TIME),
    Column("tried_at", TIME, nullable=False),
    sqlite_with_rowid=False,
)

# Tokens of CI jobs that were used
ci_login = Table(
    "ci_login",
    metadata,
    Column("issuer", EXACT_TEXT, primary_key=True),
    Column("jti", EXACT_TEXT, primary_key=True),
    Column("used_at", TIME, nullable=False),
    # from where it may be used again, if its rule lets it
    Column("address", EXACT_TEXT),
    Column("expires_at", TIME, nullable=False),
    Index("ci_login_expiry", "expires_at"),
    sqlite_with_rowid=False,
)

refresh_token = Table(
    "refresh_token",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("subject", EXACT_TEXT, nullable=False),
    Column("credential", EXACT_TEXT, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("expires_at", TIME, nullable=False),
    Index("refresh_token_subject", "subject"),
    Index("refresh_token_credential", "credential"),
    Index("refresh_token_expiry", "expires_at"),
    sqlite_with_rowid=False,
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("id", EXACT_TEXT, primary_key=True),
    # a private JSON Web Key
    Column("key", Text, nullable=False),
    Column("created_at", TIME, nullable=False),
    sqlite_with_rowid=False,
)

access_state = Table(
    "access_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="access_state_single"),
)

# A chain over the events: each seal is the hash of the one before and of the events since
event_seal = Table(
    "event_seal",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("first_event", BigInteger, nullable=False),
    Column("last_event", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("sealed_at", TIME, nullable=False),
    sqlite_autoincrement=True,
)
