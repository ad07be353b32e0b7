"""How a command opens the registry: alone or beside a server, as the user whose data it is."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from registry.assembly import Registry, open_registry
from registry.cli.options import settings
from registry.config import Settings
from registry.domain.errors import NameUnknown, RegistryError
from registry.domain.problems import Problem
from registry.host import HostError, check_owned
from registry.metadata.database import UnsafeDatabaseError
from registry.metadata.schema import HEAD, current_revision
from storage.errors import StorageError

# Their texts say all
_REFUSALS = (HostError, Problem, RegistryError, StorageError, UnsafeDatabaseError, DBAPIError, OSError)


def run_on(
    config: Path | None,
    flags: tuple[str, ...],
    action: Callable[[Registry], Awaitable[int | None]],
    *,
    as_json: bool = False,
) -> int:
    """Run `action` on the registry of these settings; the exit code is what it returns, 0 for None.

    What refuses or fails is told on stderr, as JSON on stdout, and the code is 1. Raises SettingsError.
    """
    chosen = settings(config, flags).settings
    try:
        _check(chosen)
        code = asyncio.run(_run(chosen, action))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough (docs.python.org/3/library/signal.html, "Note on SIGPIPE")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _REFUSALS as error:
        told = str(error.orig if isinstance(error, DBAPIError) else error)
        if isinstance(error, NameUnknown):
            told += "; `digestry repository list` shows those that are here, `digestry trash list` what was deleted"
        print(json.dumps({"error": told}) if as_json else f"digestry: {told}", file=None if as_json else sys.stderr)
        return 1
    return code or 0


def _check(chosen: Settings) -> None:
    path = chosen.database.path
    if not path.exists():
        raise HostError(f"there is no database at {path.absolute()}; run this where serve runs, or give --config")
    check_owned([path, chosen.storage.filesystem.rootdirectory])
    if (found := current_revision(path)) != HEAD:
        raise HostError(f"{path} has schema {found}, not {HEAD}; see `digestry db status`")


async def _run(chosen: Settings, action: Callable[[Registry], Awaitable[int | None]]) -> int | None:
    registry = open_registry(chosen)
    try:
        return await action(registry)
    finally:
        await registry.close()
