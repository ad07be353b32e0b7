"""Proxies in front of us that tell the truth about who sent a request."""

import ipaddress
from collections.abc import Sequence

# How the peer of a unix socket is called; it has no address
UNIX = "unix"


class TrustedProxies:
    """The entries of `http.trustedproxies`: addresses, networks and `unix`."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._unix = UNIX in entries
        self._networks = [ipaddress.ip_network(entry, strict=False) for entry in entries if entry != UNIX]

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The last address that someone we trust has seen; `forwarded` are the values of X-Forwarded-For."""
        known = peer
        for hop in reversed(",".join(forwarded).split(",")):
            if not self.trusts(known):
                break
            address = _parsed(hop.strip())
            if address is None:
                break
            known = str(address)
        return known

    def trusts(self, peer: str) -> bool:
        if peer == UNIX:
            return self._unix
        address = _parsed(peer)
        return address is not None and any(address in network for network in self._networks)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
