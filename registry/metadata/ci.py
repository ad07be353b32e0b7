"""CI: rules, the keys of issuers, and which tokens were used."""

import json
from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, insert, or_, select
from sqlalchemy.dialects.sqlite import insert as upsert

from registry.domain.ci import Rule
from registry.domain.paging import PageRequest
from registry.metadata.access_models import ci_issuer, ci_login, ci_rule
from registry.metadata.columns import now
from registry.metadata.database import on_full_disk

NO_KEYS = '{"keys":[]}'


def _rule(row: Row[tuple[object, ...]]) -> Rule:
    return Rule(
        name=row.name,
        provider=row.provider,
        issuer=row.issuer,
        audience=row.audience,
        claims={claim: tuple(values) for claim, values in json.loads(row.claims).items()},
        lifetime=row.lifetime,
        reuse=row.reuse,
        created_by=row.created_by,
        created_at=row.created_at,
        id=row.id,
    )


def list_rules(connection: Connection, page: PageRequest) -> list[Rule]:
    """By name; one more than the page when there is."""
    found = select(ci_rule).where(ci_rule.c.name > page.last).order_by(ci_rule.c.name).limit(page.limit + 1)
    return [_rule(row) for row in connection.execute(found)]


def rules_of_issuer(connection: Connection, issuer: str) -> list[Rule]:
    """By name."""
    found = select(ci_rule).where(ci_rule.c.issuer == issuer).order_by(ci_rule.c.name)
    return [_rule(row) for row in connection.execute(found)]


def all_rules(connection: Connection) -> list[Rule]:
    """By name."""
    return [_rule(row) for row in connection.execute(select(ci_rule).order_by(ci_rule.c.name))]


def find_rule(connection: Connection, name: str) -> Rule | None:
    row = connection.execute(select(ci_rule).where(ci_rule.c.name == name)).one_or_none()
    return _rule(row) if row else None


def insert_rule(connection: Connection, rule: Rule) -> int:
    """The id of the new row."""
    made = insert(ci_rule).values(
        name=rule.name,
        provider=rule.provider,
        issuer=rule.issuer,
        audience=rule.audience,
        claims=json.dumps(rule.claims, ensure_ascii=False, separators=(",", ":")),
        lifetime=rule.lifetime,
        reuse=rule.reuse,
        created_at=now(),
        created_by=rule.created_by,
    )
    return int(connection.execute(made.returning(ci_rule.c.id)).scalar_one())


def delete_rule(connection: Connection, name: str) -> bool:
    """False when there is no such rule."""
    return connection.execute(delete(ci_rule).where(ci_rule.c.name == name)).rowcount == 1


# --- keys of issuers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IssuerRow:
    """`keys` is a JSON Web Key Set; `age` how many milliseconds ago it came, `tried` how many since the last try."""

    keys: str
    age: int | None
    tried: int

    @property
    def has_answered(self) -> bool:
        """Whether the last try brought keys; one that still runs has not."""
        return self.age is not None and self.age <= self.tried


def find_issuer(connection: Connection, issuer: str) -> IssuerRow | None:
    found = select(ci_issuer.c["keys"], now() - ci_issuer.c.fetched_at, now() - ci_issuer.c.tried_at)
    row = connection.execute(found.where(ci_issuer.c.issuer == issuer)).one_or_none()
    return IssuerRow(*row) if row else None


def take_turn(connection: Connection, issuer: str, pause: int) -> bool:
    """Whether the caller may ask the issuer now: nobody has within `pause` milliseconds, and others see that it has."""
    made = upsert(ci_issuer).values(issuer=issuer, keys=NO_KEYS, tried_at=now())
    taken = connection.execute(
        made.on_conflict_do_update(
            index_elements=[ci_issuer.c.issuer],
            set_={"tried_at": now()},
            # a clock that was set back would never let anybody
            where=or_(ci_issuer.c.tried_at <= now() - pause, ci_issuer.c.tried_at > now()),
        )
    )
    return taken.rowcount == 1


def put_keys(connection: Connection, issuer: str, keys: str) -> None:
    """Replace the keys; only who had the turn does."""
    made = upsert(ci_issuer).values(issuer=issuer, keys=keys, fetched_at=now(), tried_at=now())
    connection.execute(
        made.on_conflict_do_update(
            index_elements=[ci_issuer.c.issuer], set_={"keys": made.excluded["keys"], "fetched_at": now()}
        )
    )


# --- used tokens -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """The first use of a token, `age` milliseconds ago; `address`: from where it may be used again."""

    age: int
    address: str | None


def use_jti(connection: Connection, issuer: str, jti: str, expires_at: int, address: str | None) -> Use | None:
    """Note that a token was used, until it is void by itself; return the use before, which stays."""
    used = {"issuer": issuer, "jti": jti, "used_at": now(), "address": address, "expires_at": expires_at}
    is_first = connection.execute(upsert(ci_login).values(used).on_conflict_do_nothing()).rowcount == 1
    return None if is_first else find_use(connection, issuer, jti)


def find_use(connection: Connection, issuer: str, jti: str) -> Use | None:
    found = select(now() - ci_login.c.used_at, ci_login.c.address)
    row = connection.execute(found.where(ci_login.c.issuer == issuer, ci_login.c.jti == jti)).one_or_none()
    return Use(*row) if row else None


@on_full_disk
def remove_expired_logins(connection: Connection, limit: int) -> int:
    """How many were removed."""
    over = select(ci_login.c.issuer, ci_login.c.jti).where(ci_login.c.expires_at <= now()).limit(limit)
    removed = 0
    for issuer, jti in connection.execute(over).all():
        gone = delete(ci_login).where(ci_login.c.issuer == issuer, ci_login.c.jti == jti)
        removed += connection.execute(gone).rowcount
    return removed
