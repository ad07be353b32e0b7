"""`digestry serve`."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from registry import host, metrics, sockets
from registry.app import listens_on_loopback
from registry.assembly import Seat, new_instance, open_registry
from registry.cli.options import ConfigFile, Flags, settings
from registry.config import Settings, SettingsError
from registry.metadata.instances import Instance
from registry.metadata.schema import HEAD, current_revision
from registry.runtime import runtime_folder
from registry.supervisor import Supervisor
from registry.telemetry import set_up
from registry.tls import tls_context, tls_warning
from storage.errors import StorageError
from storage.failure import FailureMark

log = logging.getLogger("registry")


def serve(*, config: ConfigFile = None, flags: Flags = ()) -> int:
    """Check the settings and the machine, then serve; return the exit code."""
    loaded = settings(config, flags)
    chosen = loaded.settings
    set_up(chosen.log.level, chosen.log.formatter)
    for warning in loaded.warnings:
        log.warning(warning)
    _check_exposure(chosen)
    _check_tls(chosen)
    try:
        return _serve(chosen, lambda: _read_again(config, flags))
    except (host.HostError, StorageError) as error:
        log.error("%s", error)  # noqa: TRY400 - its text says all
        return 1


def _serve(chosen: Settings, read_again: Callable[[], Settings]) -> int:
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
        instance, mark = new_instance(), FailureMark()
        asyncio.run(_recover(chosen, instance))
        try:
            listening = sockets.listen(chosen.http.addr)
        except OSError as error:
            raise host.HostError(f"can't listen on {chosen.http.addr}: {error.strerror}") from error
        try:
            with runtime_folder() as folder:
                metrics.share(folder)
                return Supervisor(chosen, listening, instance, read_again, mark).run()
        finally:
            sockets.close(chosen.http.addr, listening)


def _read_again(config: Path | None, flags: tuple[str, ...]) -> Settings:
    chosen = settings(config, flags).settings
    _check_exposure(chosen)
    _check_tls(chosen)
    return chosen


async def _recover(chosen: Settings, instance: Instance) -> None:
    registry = open_registry(chosen, seat=Seat(instance, instance.id))
    try:
        await registry.recover()
    finally:
        await registry.close()


def _check_exposure(chosen: Settings) -> None:
    """Open to everybody is for one's own machine, unless one says that it is meant."""
    if listens_on_loopback(chosen.http.addr):
        return
    if chosen.auth.mode == "open":
        problem = (
            f"http.addr {chosen.http.addr} is reachable from other machines and auth.mode is open: anybody could "
            "push and delete. Listen on 127.0.0.1, or set auth.mode=open-anywhere if that is meant"
        )
        raise SettingsError([problem])
    log.warning("auth.mode is open-anywhere: everybody who reaches %s may push and delete", chosen.http.addr)


def _check_tls(chosen: Settings) -> None:
    """The workers read the files again; the parent tells what is wrong with them while it can still refuse."""
    context = tls_context(chosen)
    if context is not None and (warning := tls_warning(context, chosen)):
        log.warning(warning)


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
