"""What happened: one append-only table that is tag history, audit trail and outbox (design P15)."""

from dataclasses import dataclass

from sqlalchemy import Connection, insert

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
) -> None:
    """Record an act, in the transaction that does it."""
    connection.execute(
        insert(event).values(
            at=now(),
            identity=scene.caller.identity.name,
            action=action,
            repository_id=scene.repository_id,
            repository=scene.repository,
            tag=tag,
            old_digest=old,
            new_digest=new,
            request_id=scene.caller.request_id,
        )
    )
