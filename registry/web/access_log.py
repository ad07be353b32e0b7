"""One line a request, and its count. No query string: it may carry what nobody else should read."""

import logging
import re

from aiohttp.abc import AbstractAccessLogger
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from registry import metrics
from registry.web.requests import IDENTITY, ROUTE, UNPARSED, client_address, request_id

# Answered all day long by machines that only want to know how we are
_SILENT = ("/livez", "/readyz", "/healthz", "/startupz", "/metrics")
# Names have at most 255 characters, and little stands around them
_TEXT_LIMIT = 512
_USERINFO = re.compile(r"(^|//)[^/]*@")


class AccessLog(AbstractAccessLogger):
    """aiohttp makes one a connection."""

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        path = _path(request.raw_path)
        if path in _SILENT:
            return
        route = request.get(ROUTE, "other")
        received, sent = request.content.total_bytes, _sent(request, response)
        metrics.request_answered(request.method, route, response.status, time, received, sent)
        if UNPARSED in request or not self.logger.isEnabledFor(logging.INFO):
            return
        fields = {
            "http.request.id": request_id(request),
            "http.request.method": request.method,
            "http.request.uri": _plain(path),
            "http.request.remoteaddr": client_address(request),
            "http.request.useragent": _plain(request.headers.get("User-Agent", "")),
            "http.response.status": response.status,
            "http.response.written": sent,
            "http.response.duration": round(time, 6),
        }
        if (identity := request.get(IDENTITY)) is not None:
            fields["auth.user.name"] = identity
        self.logger.info("request", extra=fields)


def _path(target: str) -> str:
    """Without the query, and without the user and password that a target with a host may have."""
    path = target.partition("?")[0]
    return _USERINFO.sub(r"\1", path) if "@" in path else path


def _sent(request: BaseRequest, response: StreamResponse) -> int:
    """Bytes of content; aiohttp's own count has the head in it, and not what sendfile sent."""
    return 0 if request.method == "HEAD" else response.content_length or 0


def _plain(text: str) -> str:
    """Short, and without what could break a line or a terminal."""
    short = text[:_TEXT_LIMIT]
    return short if short.isprintable() else short.encode("unicode_escape").decode("ascii")
