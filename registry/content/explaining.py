"""Why a digest is still here: what keeps it from the garbage collection, in words."""

from collections.abc import Iterator

from sqlalchemy import Connection

from registry.domain.names import Digest
from registry.domain.times import rfc3339
from registry.metadata import retention
from registry.metadata.columns import current_time
from registry.metadata.retention import Holder

# Of each kind; one is enough to keep it
NAMED = 20


def explain(connection: Connection, digest: Digest, keep: int, doomed_keep: int) -> list[str]:
    """One line a reason; empty when there is no such digest. Times in milliseconds."""
    holding_manifest = retention.manifest_holders(connection, digest, NAMED)
    holding_blob = retention.blob_holders(connection, digest, NAMED)
    reasons = [
        *(f"manifest: {holder.name} has it; untagged ones stay too" for holder in holding_manifest if holder.is_live),
        *_of_holders(connection, digest, [*holding_manifest, *holding_blob], keep),
        *_of_bytes(connection, digest, doomed_keep),
    ]
    return reasons or (["nothing: the next run takes it"] if holding_blob else [])


def _of_holders(connection: Connection, digest: Digest, holders: list[Holder], keep: int) -> Iterator[str]:
    now = current_time(connection)
    for holder in holders:
        name, repository_id = holder.name, holder.repository_id
        where = f"{name} (deleted)" if holder.is_deleted else name
        for tag in retention.tags(connection, repository_id, digest, NAMED):
            yield f"tag {where}:{tag} points to it"
        for parent in retention.parents(connection, repository_id, digest, NAMED):
            hidden = ", which is in the trash" if parent.is_hidden else ""
            yield f"manifest {where}@{parent.digest} needs it{hidden}"
        if holder.is_hidden or holder.is_deleted:
            until = retention.restorable_until(connection, repository_id, digest, keep)
            if until is not None:
                yield f"trash: it can be restored in {name} until {rfc3339(until)}"
        if holder.left > 0:
            yield f"lease: {where} keeps it at least until {rfc3339(now + holder.left)}"


def _of_bytes(connection: Connection, digest: Digest, doomed_keep: int) -> Iterator[str]:
    if retention.state(connection, digest) == "quarantined":
        yield "quarantined: its bytes are wrong or lost; the next push of it brings good ones"
    for doom in retention.dooms(connection, digest):
        yield f"doomed ({doom.reason}): its bytes at {doom.key} go after {rfc3339(doom.doomed_at + doomed_keep)}"
