"""What settings mean together, beyond the form of each."""

from pathlib import Path
from urllib.parse import urlsplit

from registry.addresses import is_loopback
from registry.config import Settings, SettingsError, auth_mode, serves_this_machine
from registry.tls import tls_context, tls_warning
from registry.values import written_duration

HOUR = 3_600_000


def check_together(chosen: Settings) -> list[str]:
    """Warnings; raise SettingsError for what no server may start with."""
    return [*_exposure(chosen), *_auth(chosen), *_tls(chosen), *_gc(chosen)]


def _exposure(chosen: Settings) -> list[str]:
    """Open to everybody is for one's own machine, unless one says that it is meant."""
    mode = auth_mode(chosen)
    if serves_this_machine(chosen.http) or not mode.startswith("open"):
        return []
    if mode == "open":
        problem = (
            f"http.addr {chosen.http.addr} is reachable from other machines, by itself or through the proxy that "
            "http.host or http.trustedproxies tell of, and auth.mode is open: anybody could push and delete. "
            "Listen on 127.0.0.1 only, or set auth.mode=required, or open-anywhere if that is meant"
        )
        raise SettingsError([problem])
    return [f"auth.mode is open-anywhere: everybody who reaches {chosen.http.addr} may push and delete"]


def _auth(chosen: Settings) -> list[str]:
    auth, mode = chosen.auth, auth_mode(chosen)
    if mode == "htpasswd" and not auth.htpasswd.path:
        raise SettingsError(["auth.mode is htpasswd: auth.htpasswd.path must name the file (`htpasswd -Bc FILE USER`)"])
    if mode.startswith("open"):
        return [f"auth.htpasswd.path is not asked: auth.mode is {mode}"] if auth.htpasswd.path else []
    if auth.htpasswd.path and not Path(auth.htpasswd.path).is_file():
        raise SettingsError([f"auth.htpasswd.path: there is no file {auth.htpasswd.path}"])
    if chosen.http.host.startswith("http:") and not auth.plainhttp and not is_loopback(_name(chosen.http.host)):
        raise SettingsError([f"http.host is {chosen.http.host}: clients would send passwords in the clear; use https"])
    if auth.plainhttp:
        return ["auth.plainhttp: passwords are taken over plain HTTP; whoever listens on the way has them"]
    return []


def _name(host: str) -> str:
    return urlsplit(host).hostname or ""


def _tls(chosen: Settings) -> list[str]:
    """The workers read the files again; here they can still be refused."""
    context = tls_context(chosen)
    warning = tls_warning(context, chosen) if context is not None else ""
    return [warning] if warning else []


def _gc(chosen: Settings) -> list[str]:
    """Any value is safe for images that are whole; short ones make pushes start over and restored databases break."""
    risks = {
        "gc.lease": (chosen.gc.lease, "what a slow push has sent may be gone before its manifest comes"),
        "gc.trash": (chosen.gc.trash, "a database that is set back further than that may name bytes that are gone"),
    }
    return [f"{key} is {written_duration(time)}: {risk}" for key, (time, risk) in risks.items() if time < HOUR]
