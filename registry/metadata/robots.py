"""Robots and their secrets: only the hashes are here."""

from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, insert, select, update

from registry.domain.paging import PageRequest
from registry.metadata.access_models import robot, robot_secret
from registry.metadata.columns import now


@dataclass(frozen=True, slots=True)
class Robot:
    """`creator_id` is the user's id, None when a command made it."""

    id: int
    name: str
    about: str
    created_by: str
    creator_id: int | None
    created_at: int
    is_disabled: bool


@dataclass(frozen=True, slots=True)
class Secret:
    """`hash` is the SHA-256 of the whole secret, in hex. Times in milliseconds."""

    id: str
    robot_id: int
    hash: str
    created_at: int
    expires_at: int
    last_used_at: int | None
    has_expired: bool


def _robot(row: Row[tuple[object, ...]]) -> Robot:
    return Robot(
        row.id, row.name, row.about, row.created_by, row.creator_id, row.created_at, row.disabled_at is not None
    )


def find(connection: Connection, name: str) -> Robot | None:
    row = connection.execute(select(robot).where(robot.c.name == name)).one_or_none()
    return _robot(row) if row else None


def list_robots(connection: Connection, page: PageRequest, creator_id: int | None = None) -> list[Robot]:
    """By name, those of one user if given; one more than the page when there is."""
    found = select(robot).where(robot.c.name > page.last).order_by(robot.c.name).limit(page.limit + 1)
    if creator_id is not None:
        found = found.where(robot.c.creator_id == creator_id)
    return [_robot(row) for row in connection.execute(found)]


def insert_robot(connection: Connection, name: str, about: str, created_by: str, creator_id: int | None) -> int:
    """The id of the new row."""
    made = insert(robot).values(name=name, about=about, created_by=created_by, creator_id=creator_id, created_at=now())
    return int(connection.execute(made.returning(robot.c.id)).scalar_one())


def set_disabled(connection: Connection, robot_id: int, *, disabled: bool) -> None:
    connection.execute(update(robot).where(robot.c.id == robot_id).values(disabled_at=now() if disabled else None))


def delete_robot(connection: Connection, robot_id: int) -> None:
    connection.execute(delete(robot_secret).where(robot_secret.c.robot_id == robot_id))
    connection.execute(delete(robot).where(robot.c.id == robot_id))


# --- secrets ---------------------------------------------------------------------------------------------------------


def secrets_of(connection: Connection, robot_id: int) -> list[Secret]:
    """Expired ones too, oldest first."""
    found = select(robot_secret, (robot_secret.c.expires_at <= now()).label("expired"))
    found = found.where(robot_secret.c.robot_id == robot_id).order_by(robot_secret.c.created_at, robot_secret.c.id)
    return [
        Secret(row.id, row.robot_id, row.hash, row.created_at, row.expires_at, row.last_used_at, bool(row.expired))
        for row in connection.execute(found)
    ]


def insert_secret(connection: Connection, robot_id: int, secret_id: str, secret_hash: str, lifetime: int) -> None:
    """`lifetime` in milliseconds from now."""
    connection.execute(
        insert(robot_secret).values(
            id=secret_id, robot_id=robot_id, hash=secret_hash, created_at=now(), expires_at=now() + lifetime
        )
    )


def shorten_secrets(connection: Connection, robot_id: int, but: str, overlap: int) -> None:
    """Let all secrets but one end within `overlap` milliseconds."""
    connection.execute(
        update(robot_secret)
        .where(
            robot_secret.c.robot_id == robot_id, robot_secret.c.id != but, robot_secret.c.expires_at > now() + overlap
        )
        .values(expires_at=now() + overlap)
    )


def delete_secret(connection: Connection, robot_id: int, secret_id: str) -> bool:
    """False when the robot has no such secret."""
    removed = delete(robot_secret).where(robot_secret.c.robot_id == robot_id, robot_secret.c.id == secret_id)
    return connection.execute(removed).rowcount == 1


def touch_secret(connection: Connection, secret_id: str) -> None:
    """Note that it was used now."""
    connection.execute(update(robot_secret).where(robot_secret.c.id == secret_id).values(last_used_at=now()))
