"""One line a request. No query string: it may carry what nobody else should read."""

import logging

from aiohttp.abc import AbstractAccessLogger
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from registry.web.requests import SENT, request_id

# Answered all day long by machines that only want to know if we live
_SILENT = ("/livez", "/readyz", "/healthz", "/startupz")


class AccessLog(AbstractAccessLogger):
    """aiohttp makes one a connection."""

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        if request.path in _SILENT:
            return
        self.logger.info(
            "request",
            extra={
                "http.request.id": request_id(request),
                "http.request.method": request.method,
                "http.request.uri": request.rel_url.raw_path,
                "http.request.remoteaddr": request.remote,
                "http.request.useragent": request.headers.get("User-Agent", ""),
                "http.response.status": response.status,
                "http.response.written": request.get(SENT, response.body_length),
                "http.response.duration": round(time, 6),
            },
        )
