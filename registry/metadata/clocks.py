"""What was seen of the machine's clock since it was started."""

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from registry.clock import ClockState
from registry.metadata.columns import later_of
from registry.metadata.database import on_full_disk
from registry.metadata.models import clock_state


def find(connection: Connection, boot: str) -> ClockState | None:
    columns = select(clock_state.c.difference, clock_state.c.trusted_from)
    row = connection.execute(columns.where(clock_state.c.boot == boot)).one_or_none()
    return ClockState(*row) if row else None


@on_full_disk
def note(connection: Connection, boot: str, state: ClockState) -> None:
    """Record it; of several processes that saw a jump, the one that waits longest is believed."""
    made = upsert(clock_state).values(boot=boot, difference=state.difference, trusted_from=state.trusted_from)
    connection.execute(
        made.on_conflict_do_update(
            index_elements=[clock_state.c.boot],
            set_={
                "difference": made.excluded.difference,
                "trusted_from": later_of(clock_state.c.trusted_from, made.excluded.trusted_from),
            },
        )
    )
