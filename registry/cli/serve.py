"""`digestry serve`."""

import asyncio
import logging
import platform
import signal
import subprocess
import sys
from pathlib import Path

from aiohttp import web

from registry.app import listens_on_loopback, make_runner
from registry.assembly import open_registry
from registry.background import background
from registry.cli.options import ConfigFile, Flags, settings
from registry.config import Settings, SettingsError
from registry.metadata.schema import HEAD, current_revision
from registry.telemetry import set_up
from registry.web.protocol import Runner

log = logging.getLogger("registry")

BACKLOG = 1024


def serve(*, config: ConfigFile = None, flags: Flags = ()) -> int:
    """Serve the registry until SIGTERM or Ctrl-C; then finish what runs and stop."""
    loaded = settings(config, flags)
    chosen = loaded.settings
    set_up(chosen.log.level, chosen.log.formatter)
    for warning in loaded.warnings:
        log.warning(warning)
    _check_exposure(chosen)
    _name_foreign_data(chosen.storage.filesystem.rootdirectory)
    if not _upgrade(chosen.database.path):
        return 1
    return asyncio.run(_serve(chosen))


async def _serve(chosen: Settings) -> int:
    registry = open_registry(chosen)
    try:
        await registry.recover()
        runner = make_runner(registry)
        await runner.setup()
        async with background(registry):
            address = await _listen(runner, chosen.http.addr)
            log.info("listening on %s", address, extra={"address": address})
            await _stop_signal()
            log.info("stopping: finishing the requests that run")
            await runner.cleanup()
    finally:
        await registry.close()
    return 0


async def _listen(runner: Runner, addr: str) -> str:
    """Start listening; return the address with the port that was really taken."""
    if addr.startswith("unix:"):
        await web.UnixSite(runner, addr.removeprefix("unix:"), backlog=BACKLOG).start()
        return addr
    host, _, port = addr.rpartition(":")
    await web.TCPSite(runner, host.strip("[]") or None, int(port), backlog=BACKLOG).start()
    taken = runner.addresses[0][1]
    return f"http://{host or platform.node()}:{taken}"


async def _stop_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


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
