"""Which addresses are this machine's own."""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit


# Asked for each request
@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listens_on_loopback(addr: str) -> bool:
    """Whether nobody but this machine can reach an address of `http.addr`."""
    return addr.startswith("unix:") or is_loopback(urlsplit(f"//{addr}").hostname or "")
