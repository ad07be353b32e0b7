"""Users and groups."""

from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, insert, select, update

from registry.domain.paging import PageRequest
from registry.metadata.access_models import group_member, user_account, user_group
from registry.metadata.columns import now


@dataclass(frozen=True, slots=True)
class User:
    """`password` is a bcrypt hash; `version` counts the passwords there were."""

    id: int
    name: str
    password: str
    version: int
    created_at: int
    is_disabled: bool


def _user(row: Row[tuple[object, ...]]) -> User:
    return User(row.id, row.name, row.password, row.version, row.created_at, row.disabled_at is not None)


def find(connection: Connection, name: str) -> User | None:
    row = connection.execute(select(user_account).where(user_account.c.name == name)).one_or_none()
    return _user(row) if row else None


def list_users(connection: Connection, page: PageRequest) -> list[User]:
    """By name; one more than the page when there is."""
    found = select(user_account).where(user_account.c.name > page.last)
    return [_user(row) for row in connection.execute(found.order_by(user_account.c.name).limit(page.limit + 1))]


def insert_user(connection: Connection, name: str, password: str) -> None:
    connection.execute(insert(user_account).values(name=name, password=password, version=1, created_at=now()))


def set_password(connection: Connection, name: str, password: str) -> None:
    connection.execute(
        update(user_account)
        .where(user_account.c.name == name)
        .values(password=password, version=user_account.c.version + 1)
    )


def set_disabled(connection: Connection, name: str, *, disabled: bool) -> None:
    """What was handed out before stays void when the user is let in again."""
    connection.execute(
        update(user_account)
        .where(user_account.c.name == name)
        .values(disabled_at=now() if disabled else None, version=user_account.c.version + 1)
    )


def delete_user(connection: Connection, name: str) -> None:
    connection.execute(delete(group_member).where(group_member.c.user_name == name))
    connection.execute(delete(user_account).where(user_account.c.name == name))


# --- groups ----------------------------------------------------------------------------------------------------------


def group_exists(connection: Connection, name: str) -> bool:
    return connection.scalar(select(user_group.c.name).where(user_group.c.name == name)) is not None


def list_groups(connection: Connection, page: PageRequest) -> list[str]:
    """By name; one more than the page when there is."""
    found = select(user_group.c.name).where(user_group.c.name > page.last)
    return list(connection.scalars(found.order_by(user_group.c.name).limit(page.limit + 1)))


def insert_group(connection: Connection, name: str) -> None:
    connection.execute(insert(user_group).values(name=name, created_at=now()))


def delete_group(connection: Connection, name: str) -> None:
    connection.execute(delete(group_member).where(group_member.c.group_name == name))
    connection.execute(delete(user_group).where(user_group.c.name == name))


def members_of(connection: Connection, group: str) -> list[str]:
    found = select(group_member.c.user_name).where(group_member.c.group_name == group)
    return list(connection.scalars(found.order_by(group_member.c.user_name)))


def groups_of(connection: Connection, user: str) -> list[str]:
    found = select(group_member.c.group_name).where(group_member.c.user_name == user)
    return list(connection.scalars(found.order_by(group_member.c.group_name)))


def insert_member(connection: Connection, group: str, user: str) -> None:
    connection.execute(insert(group_member).values(group_name=group, user_name=user))


def delete_member(connection: Connection, group: str, user: str) -> bool:
    """False when the user was no member."""
    removed = delete(group_member).where(group_member.c.group_name == group, group_member.c.user_name == user)
    return connection.execute(removed).rowcount == 1
