"""What settings mean together, beyond the form of each."""

from registry.app import listens_on_loopback
from registry.config import Settings, SettingsError
from registry.tls import tls_context, tls_warning


def check_together(chosen: Settings) -> list[str]:
    """Warnings; raise SettingsError for what no server may start with."""
    return [*_exposure(chosen), *_tls(chosen)]


def _exposure(chosen: Settings) -> list[str]:
    """Open to everybody is for one's own machine, unless one says that it is meant."""
    addr = chosen.http.addr
    if listens_on_loopback(addr):
        return []
    if chosen.auth.mode == "open":
        problem = (
            f"http.addr {addr} is reachable from other machines and auth.mode is open: anybody could push and delete. "
            "Listen on 127.0.0.1, or set auth.mode=open-anywhere if that is meant"
        )
        raise SettingsError([problem])
    return [f"auth.mode is open-anywhere: everybody who reaches {addr} may push and delete"]


def _tls(chosen: Settings) -> list[str]:
    """The workers read the files again; here they can still be refused."""
    context = tls_context(chosen)
    warning = tls_warning(context, chosen) if context is not None else ""
    return [warning] if warning else []
