"""`digestry serve`."""

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from registry import host, metrics, sockets
from registry.access.users import FIRST_ADMINISTRATOR
from registry.assembly import Seat, new_instance, open_registry
from registry.cli.checks import check_together
from registry.cli.options import ConfigFile, Flags, settings
from registry.config import Settings, auth_mode
from registry.domain.errors import RegistryError
from registry.domain.problems import Problem
from registry.metadata.database import UnsafeDatabaseError
from registry.metadata.instances import Instance
from registry.metadata.schema import HEAD, current_revision
from registry.runtime import runtime_folder
from registry.supervisor import STORE_FAILED, Supervisor
from registry.telemetry import set_up
from storage.errors import StorageError
from storage.failure import FailureMark

log = logging.getLogger("registry")


# What may be wrong with a machine or with data; their texts say all
_REFUSALS = (host.HostError, Problem, StorageError, RegistryError, UnsafeDatabaseError, DBAPIError, OSError)


def serve(*, config: ConfigFile = None, flags: Flags = ()) -> int:
    """Check the settings and the machine, then serve; return the exit code."""
    mark = FailureMark()
    chosen = _read(config, flags)
    try:
        return _serve(chosen, lambda old: _read(config, flags, old), mark)
    except _REFUSALS as error:
        told = error.orig if isinstance(error, DBAPIError) else error
        log.error("the registry can't start: %s", told)  # noqa: TRY400 - its text says all
        return STORE_FAILED if mark.reason else 1


def _read(config: Path | None, flags: tuple[str, ...], old: Settings | None = None) -> Settings:
    """The settings as they are now; raise SettingsError. The log follows them from here on.

    With `old`, those that are in force: what a running server can't change stays, and all is judged together.
    """
    loaded = settings(config, flags)
    chosen = _with_the_places_of(old, loaded.settings) if old else loaded.settings
    warnings = [*loaded.warnings, *check_together(chosen)]
    if chosen != loaded.settings:
        warnings.append("http.addr and where the data lies stay as they are until a restart")
    if old and auth_mode(old).startswith("open") and not auth_mode(chosen).startswith("open"):
        warnings.append("everybody must log in now; `digestry user add NAME --admin` makes an administrator")
    set_up(chosen.log.level, chosen.log.formatter)
    for warning in warnings:
        log.warning(warning)
    return chosen


def _with_the_places_of(old: Settings, fresh: Settings) -> Settings:
    """Sockets are bound, and locks are held, for where the server was started."""
    storage = replace(fresh.storage, driver=old.storage.driver, filesystem=old.storage.filesystem)
    http = replace(fresh.http, addr=old.http.addr)
    return replace(fresh, http=http, storage=storage, database=old.database)


def _serve(chosen: Settings, read_again: Callable[[Settings], Settings], mark: FailureMark) -> int:
    path, root = chosen.database.path, chosen.storage.filesystem.rootdirectory
    host.raise_descriptor_limit()
    host.check_owned([path, root])
    host.check_local(path)
    _name_foreign_data(root)
    for folder in (path.parent, root):
        host.make_ours(folder)
    with host.locked(path.with_name(f"{path.name}.lock"), path), host.locked(root / "lock", root):
        if not _upgrade(path):
            return 1
        instance = new_instance()
        asyncio.run(_recover(chosen, instance, mark))
        listening = _listen(chosen.http.addr)
        try:
            asyncio.run(_administer(chosen, mark))
            with runtime_folder() as folder:
                metrics.share(folder)
                return Supervisor(chosen, listening, instance, read_again, mark).run()
        finally:
            sockets.close(chosen.http.addr, listening)


def _listen(addr: str) -> list[socket.socket]:
    try:
        return sockets.listen(addr)
    except OSError as error:
        raise host.HostError(f"can't listen on {addr}: {error.strerror}") from error


async def _recover(chosen: Settings, instance: Instance, mark: FailureMark) -> None:
    registry = open_registry(chosen, seat=Seat(instance, instance.id), mark=mark)
    try:
        await registry.recover()
    finally:
        await registry.close()


async def _administer(chosen: Settings, mark: FailureMark) -> None:
    """Make the first administrator, once nothing is in the way any more: the password is shown only once."""
    if auth_mode(chosen) != "required":
        return
    registry = open_registry(chosen, mark=mark)
    try:
        secret = await registry.access.users.first_administrator(chosen.auth.adminsecret)
    finally:
        await registry.close()
    if secret is not None:
        _tell_first_administrator(secret, is_chosen=bool(chosen.auth.adminsecret))


def _tell_first_administrator(secret: str, *, is_chosen: bool) -> None:
    """To the terminal, not to the log: what is shown once must not be kept."""
    shown = "the password in auth.adminsecret" if is_chosen else f"this password, shown only now:\n\n    {secret}\n"
    print(
        f"Nobody administered this registry: the user {FIRST_ADMINISTRATOR} does now. Log in with {shown}\n"
        f"Another one: digestry user password {FIRST_ADMINISTRATOR}",
        file=sys.stderr,
        flush=True,
    )


def _name_foreign_data(root: Path) -> None:
    if (root / "docker" / "registry" / "v2").is_dir():
        log.warning("%s holds the data of another registry (docker/registry/v2); it is not served", root)


def _upgrade(path: Path) -> bool:
    """Bring the database to our schema, in a process of its own: Alembic would stay in memory for ever."""
    if current_revision(path) == HEAD:
        return True
    command = [sys.executable, "-m", "registry", "db", "upgrade", "--set", f"database.url=sqlite:///{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    message = (done.stdout + done.stderr).strip()
    log.log(logging.ERROR if done.returncode else logging.INFO, message)
    return done.returncode == 0
