"""A browser visits pages of strangers, and sends our requests from where it stands, with passwords that it was told.

Writes that such a page can make it send are refused: a foreign Origin, a cross-site fetch, and, in open mode on
loopback, a Host that is neither loopback nor configured (DNS rebinding).
"""

from urllib.parse import SplitResult, urlsplit

from aiohttp.web_request import BaseRequest

from registry.addresses import is_loopback
from registry.domain.errors import Denied


class BrowserGuard:
    """`loopback_only`: nobody but this machine is meant to reach the registry. `host` is `http.host`."""

    def __init__(self, *, loopback_only: bool, host: str) -> None:
        self._loopback_only = loopback_only
        self._host = urlsplit(host).netloc

    def check(self, request: BaseRequest) -> None:
        """Raise Denied for what a foreign page may have caused."""
        headers = request.headers
        host = headers.get("Host", "")
        if headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise Denied("requests from a page of another site are refused")
        origin = headers.get("Origin")
        if origin is not None and (_split(origin).netloc or "nowhere") not in (host, self._host):
            raise Denied("requests with a foreign Origin are refused")
        self._check_host(host)

    def check_page(self, request: BaseRequest) -> None:
        """The same for pages, to which anybody may set a link: what comes of it is shown to nobody but the reader."""
        headers = request.headers
        if headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document":
            self._check_host(headers.get("Host", ""))
        else:
            self.check(request)

    def _check_host(self, host: str) -> None:
        if self._loopback_only and host != self._host and not is_loopback(_split(f"//{host}").hostname or ""):
            raise Denied("in open mode this needs a loopback Host, or the one in http.host")


def _split(url: str) -> SplitResult:
    """What is no address has no host."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
