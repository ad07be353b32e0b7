"""What happened: one append-only table that is tag history, audit trail and outbox (design P15)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, insert, literal, null, select

from registry.domain.access import Caller
from registry.domain.names import Digest, RepositoryName
from registry.metadata.columns import now
from registry.metadata.models import event


@dataclass(frozen=True, slots=True)
class Scene:
    """Who does something, and in which repository."""

    caller: Caller
    repository_id: int
    repository: RepositoryName


def append(
    connection: Connection,
    scene: Scene,
    action: str,
    *,
    tag: str | None = None,
    old: Digest | None = None,
    new: Digest | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Record an act, in the transaction that does it."""
    _insert(
        connection,
        scene.caller,
        action,
        repository_id=scene.repository_id,
        repository=scene.repository,
        tag=tag,
        old_digest=old,
        new_digest=new,
        details=_json(details) if details else None,
    )


def append_each(connection: Connection, scene: Scene, action: str, columns: Sequence[str], rows: Select[Any]) -> None:
    """Record an act for each row, whose values are those of `columns`."""
    constants = {
        **_cause(scene.caller, action),
        "repository_id": scene.repository_id,
        "repository": str(scene.repository),
    }
    told = rows.subquery()
    values = [now(), *(literal(value) if value is not None else null() for value in constants.values()), *told.c]
    connection.execute(insert(event).from_select(["at", *constants, *columns], select(*values)))


def append_access(connection: Connection, caller: Caller, action: str, details: Mapping[str, object]) -> None:
    """Record what concerns no repository, such as a new user; `details` never holds a secret."""
    _insert(connection, caller, action, details=_json(details))


def append_denial(connection: Connection, caller: Caller, repository: RepositoryName, action: str) -> None:
    """Record that somebody known was refused, whether or not there is such a repository."""
    _insert(connection, caller, "access.denied", repository=repository or None, details=json.dumps({"action": action}))


def _insert(connection: Connection, caller: Caller, action: str, **columns: object) -> None:
    connection.execute(insert(event).values(at=now(), **_cause(caller, action), **columns))


def _cause(caller: Caller, action: str) -> dict[str, str | None]:
    return {
        "identity": caller.identity.name,
        "action": action,
        "request_id": caller.request_id or None,
        "address": caller.address or None,
        "credential": caller.identity.credential or None,
    }


def _json(details: Mapping[str, object]) -> str:
    return json.dumps(details, ensure_ascii=False, sort_keys=True)
