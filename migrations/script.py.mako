"""${message}

Old code keeps running on the new schema during an upgrade: add first, take away one release later. Say how long
it locks a table of a million rows.
"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
