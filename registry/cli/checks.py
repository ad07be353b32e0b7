"""What settings mean together, beyond the form of each."""

from registry.addresses import listens_on_loopback
from registry.config import Settings, SettingsError, auth_mode
from registry.tls import tls_context, tls_warning


def check_together(chosen: Settings) -> list[str]:
    """Warnings; raise SettingsError for what no server may start with."""
    return [*_exposure(chosen), *_auth(chosen), *_tls(chosen)]


def _exposure(chosen: Settings) -> list[str]:
    """Open to everybody is for one's own machine, unless one says that it is meant."""
    addr, mode = chosen.http.addr, auth_mode(chosen)
    if listens_on_loopback(addr) or not mode.startswith("open"):
        return []
    if mode == "open":
        problem = (
            f"http.addr {addr} is reachable from other machines and auth.mode is open: anybody could push and delete. "
            "Listen on 127.0.0.1, or set auth.mode=required, or open-anywhere if that is meant"
        )
        raise SettingsError([problem])
    return [f"auth.mode is open-anywhere: everybody who reaches {addr} may push and delete"]


def _auth(chosen: Settings) -> list[str]:
    auth, mode = chosen.auth, auth_mode(chosen)
    if mode == "htpasswd" and not auth.htpasswd.path:
        raise SettingsError(["auth.mode is htpasswd: auth.htpasswd.path must name the file (`htpasswd -Bc FILE USER`)"])
    if mode.startswith("open"):
        return [f"auth.htpasswd.path is not asked: auth.mode is {mode}"] if auth.htpasswd.path else []
    if auth.plainhttp:
        return ["auth.plainhttp: passwords are taken over plain HTTP; whoever listens on the way has them"]
    return []


def _tls(chosen: Settings) -> list[str]:
    """The workers read the files again; here they can still be refused."""
    context = tls_context(chosen)
    warning = tls_warning(context, chosen) if context is not None else ""
    return [warning] if warning else []
