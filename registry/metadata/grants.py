"""Grants: whom, where, what."""

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, Row, and_, delete, exists, insert, or_, select, update

from registry.domain.action import VERBS, Action
from registry.domain.grants import ALL, Grant, Pattern
from registry.metadata.access_models import access_grant, group_member, user_account
from registry.metadata.columns import now
from registry.metadata.database import batches


def _grant(row: Row[tuple[object, ...]]) -> Grant:
    return Grant(row.subject, Pattern(row.pattern), frozenset(Action(word) for word in row.verbs.split(",")), row.id)


def _dump(verbs: Collection[Action]) -> str:
    return ",".join(verb for verb in VERBS if verb in verbs)


def of_subjects(connection: Connection, subjects: Iterable[str]) -> list[Grant]:
    """All that these subjects were granted."""
    found: list[Grant] = []
    for some in batches(subjects):
        rows = connection.execute(select(access_grant).where(access_grant.c.subject.in_(some)))
        found += [_grant(row) for row in rows]
    return found


def list_grants(connection: Connection, subject: str | None, after: int, limit: int) -> list[Grant]:
    """By id, those after `after`; of one subject if given."""
    found = select(access_grant).where(access_grant.c.id > after).order_by(access_grant.c.id).limit(limit)
    if subject is not None:
        found = found.where(access_grant.c.subject == subject)
    return [_grant(row) for row in connection.execute(found)]


def find(connection: Connection, grant_id: int) -> Grant | None:
    row = connection.execute(select(access_grant).where(access_grant.c.id == grant_id)).one_or_none()
    return _grant(row) if row else None


def find_for(connection: Connection, subject: str, pattern: Pattern) -> Grant | None:
    found = select(access_grant).where(access_grant.c.subject == subject, access_grant.c.pattern == pattern.text)
    row = connection.execute(found).one_or_none()
    return _grant(row) if row else None


def insert_grant(connection: Connection, grant: Grant, by: str) -> int:
    """The id of the new row."""
    made = insert(access_grant).values(
        subject=grant.subject,
        pattern=grant.pattern.text,
        verbs=_dump(grant.verbs),
        created_at=now(),
        created_by=by,
    )
    return int(connection.execute(made.returning(access_grant.c.id)).scalar_one())


def set_verbs(connection: Connection, grant_id: int, verbs: Collection[Action]) -> None:
    connection.execute(update(access_grant).where(access_grant.c.id == grant_id).values(verbs=_dump(verbs)))


def delete_grant(connection: Connection, grant_id: int) -> None:
    connection.execute(delete(access_grant).where(access_grant.c.id == grant_id))


def delete_of_subject(connection: Connection, subject: str) -> None:
    connection.execute(delete(access_grant).where(access_grant.c.subject == subject))


def has_administrator(connection: Connection) -> bool:
    """Whether some user who may log in administers everything, by a grant of their own or of a group."""
    granted = exists().where(
        access_grant.c.pattern == ALL.text,
        or_(access_grant.c.verbs == Action.ADMIN, access_grant.c.verbs.endswith(f",{Action.ADMIN}")),
        or_(
            access_grant.c.subject == "user:" + user_account.c.name,
            # of this very user: SQLAlchemy would look for any, since two selects stand around it
            exists()
            .where(
                and_(
                    group_member.c.user_name == user_account.c.name,
                    access_grant.c.subject == "group:" + group_member.c.group_name,
                )
            )
            .correlate(user_account, access_grant),
        ),
    )
    return (
        connection.scalar(select(user_account.c.id).where(user_account.c.disabled_at.is_(None), granted).limit(1))
        is not None
    )
