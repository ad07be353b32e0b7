"""`digestry db upgrade|status`."""

import json

from registry.cli.options import AsJson, ConfigFile, Flags, settings
from registry.clock import wall_clock
from registry.metadata import snapshots
from registry.metadata.schema import HEAD, SchemaUnknownError, current_revision
from registry.metadata.schema import upgrade as upgrade_schema


def upgrade(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Bring the database to the schema of this version, after a copy of it. `serve` does it by itself on SQLite."""
    path = settings(config, flags).settings.database.path
    before = current_revision(path)
    try:
        if before not in (None, HEAD):
            snapshots.take_before(path, HEAD, wall_clock())
        upgrade_schema(path)
    except (SchemaUnknownError, snapshots.NoSpaceError) as error:
        print(json.dumps({"error": str(error)}) if as_json else f"digestry: {error}")
        return 1
    print(json.dumps({"from": before, "to": HEAD}) if as_json else f"{path} has schema {HEAD}")
    return 0


def status(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Say which schema the database has, and whether it is the one this version needs; exit code 1 if not."""
    path = settings(config, flags).settings.database.path
    found = current_revision(path)
    if as_json:
        print(json.dumps({"current": found, "needed": HEAD}))
    elif found is None:
        print(f"{path} has no schema yet; `digestry db upgrade` makes it")
    else:
        print(f"{path} has schema {found}; this version needs {HEAD}")
    return 0 if found == HEAD else 1
