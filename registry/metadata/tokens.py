"""What tokens stand on: signing keys, and refresh tokens by their hash."""

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from registry.metadata.access_models import refresh_token, signing_key
from registry.metadata.columns import now
from registry.metadata.database import on_full_disk


class StoredKey(NamedTuple):
    """`key` is a private JSON Web Key."""

    id: str
    key: str
    created_at: int


class StoredRefresh(NamedTuple):
    """`left` is how many milliseconds it is still good."""

    subject: str
    credential: str
    left: int


def list_keys(connection: Connection) -> list[StoredKey]:
    """Newest first."""
    found = select(signing_key.c.id, signing_key.c.key, signing_key.c.created_at)
    return [StoredKey(*row) for row in connection.execute(found.order_by(signing_key.c.created_at.desc()))]


def insert_key(connection: Connection, key_id: str, key: str, younger_than: int) -> bool:
    """Add a key unless another process was faster: there is one younger than that many milliseconds."""
    if connection.scalar(select(signing_key.c.id).where(signing_key.c.created_at > now() - younger_than).limit(1)):
        return False
    connection.execute(insert(signing_key).values(id=key_id, key=key, created_at=now()))
    return True


def delete_keys(connection: Connection, older_than: int) -> None:
    """Forget keys made more than that many milliseconds ago."""
    connection.execute(delete(signing_key).where(signing_key.c.created_at <= now() - older_than))


def insert_refresh(connection: Connection, token_hash: str, subject: str, credential: str, lifetime: int) -> None:
    connection.execute(
        insert(refresh_token).values(
            hash=token_hash,
            subject=subject,
            credential=credential,
            created_at=now(),
            expires_at=now() + lifetime,
        )
    )


def keep_newest_refresh(connection: Connection, credential: str, most: int) -> None:
    """Remove all refresh tokens of a credential but so many."""
    newest = select(refresh_token.c.hash).where(refresh_token.c.credential == credential)
    kept = newest.order_by(refresh_token.c.created_at.desc()).limit(most)
    connection.execute(
        delete(refresh_token).where(refresh_token.c.credential == credential, refresh_token.c.hash.not_in(kept))
    )


def find_refresh(connection: Connection, token_hash: str) -> StoredRefresh | None:
    found = select(refresh_token.c.subject, refresh_token.c.credential, (refresh_token.c.expires_at - now()))
    row = connection.execute(found.where(refresh_token.c.hash == token_hash)).one_or_none()
    return StoredRefresh(*row) if row else None


def prolong_refresh(connection: Connection, token_hash: str, lifetime: int) -> None:
    connection.execute(
        update(refresh_token).where(refresh_token.c.hash == token_hash).values(expires_at=now() + lifetime)
    )


def delete_refresh_of(connection: Connection, subject: str) -> None:
    connection.execute(delete(refresh_token).where(refresh_token.c.subject == subject))


@on_full_disk
def remove_expired_refresh(connection: Connection, limit: int) -> int:
    """How many were removed."""
    over = select(refresh_token.c.hash).where(refresh_token.c.expires_at <= now()).limit(limit)
    return connection.execute(delete(refresh_token).where(refresh_token.c.hash.in_(over))).rowcount
