"""How often one may try a password, and ask at all."""

import ipaddress
import math

from limits import RateLimitItem, parse
from limits.strategies import FixedWindowRateLimiter

from registry.access.windows import Windows
from registry.domain.errors import TooManyRequests


class RateLimits:
    """Limits such as "10/minute", each "" for none; ValueError for what is no such text.

    `failures`: failed logins of one name from one address; `addressfailures`: of one address; `address` and
    `subject`: requests of each.
    """

    def __init__(self, windows: Windows, *, failures: str, addressfailures: str, address: str, subject: str) -> None:
        self._windows = windows
        self._limiter = FixedWindowRateLimiter(windows)
        self._failures = _limit(failures, "failures")
        self._address_failures = _limit(addressfailures, "addressfailures")
        self._address = _limit(address, "address")
        self._subject = _limit(subject, "subject")

    def check_login(self, address: str, name: str) -> None:
        """Raise TooManyRequests when too many logins have failed."""
        network = _network(address)
        for limit, key in ((self._failures, (network, name)), (self._address_failures, (network,))):
            if limit is not None and not self._limiter.test(limit, *key):
                raise self._refusal("too many logins failed; retry after the time in Retry-After", limit, *key)

    def login_failed(self, address: str, name: str) -> bool:
        """Count it; return whether this one was the last that the address had."""
        network = _network(address)
        if self._failures is not None:
            self._limiter.hit(self._failures, network, name)
        limit = self._address_failures
        if limit is None:
            return False
        had_one = self._limiter.test(limit, network)
        self._limiter.hit(limit, network)
        return had_one and not self._limiter.test(limit, network)

    def check_address(self, address: str) -> None:
        """Count a request, whoever sent it; raise TooManyRequests when there are too many from this address."""
        if self._address is not None:
            self._count(self._address, _network(address))

    def check_subject(self, subject: str) -> None:
        """Count a request of somebody known; raise TooManyRequests when there are too many of theirs."""
        if self._subject is not None:
            self._count(self._subject, subject)

    def _count(self, limit: RateLimitItem, key: str) -> None:
        if not self._limiter.hit(limit, key):
            raise self._refusal(TooManyRequests.message, limit, key)

    def _refusal(self, message: str, limit: RateLimitItem, *key: str) -> TooManyRequests:
        wait = self._limiter.get_window_stats(limit, *key).reset_time - self._windows.clock()
        return TooManyRequests(message, headers={"Retry-After": str(max(1, math.ceil(wait)))})


def _limit(text: str, namespace: str) -> RateLimitItem | None:
    if not text:
        return None
    limit = parse(text)
    limit.namespace = namespace
    return limit


def _network(address: str) -> str:
    """What counts as one: an address; of IPv6 the /64, which is one network's to use freely; else the text itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Address(int(found) >> 64 << 64))
