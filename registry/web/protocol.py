"""The one place that reaches into aiohttp's server: how connections become requests, and who answers them.

Everything here leans on names that aiohttp keeps to itself, which is why pyproject.toml pins it exactly.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_runner import BaseRunner

from registry.domain.errors import RegistryError, RequestInvalid, UriTooLong
from registry.web.access_log import AccessLog
from registry.web.errors import error_response
from registry.web.requests import stamp

log = logging.getLogger(__name__)

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]

API_PREFIX = "/v2"
# Bearer tokens, many `tag=` and long names need more than the usual 8 KiB
LINE_LIMIT = 32 * 1024
KEEPALIVE_SECONDS = 75.0
# What a connection buffers before it stops reading is twice this
READ_BUFFER = 64 * 1024


class Protocol(RequestHandler):
    """One connection. Answers what can't be parsed in the registry's own form, without a traceback."""

    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if status >= 500:
            log.error("a request failed", exc_info=exc)
            error = RegistryError()
        else:
            log.info("a request can't be parsed: %s", type(exc).__name__)
            error = UriTooLong() if isinstance(exc, LineTooLong) else RequestInvalid()
        response = error_response(error)
        response.force_close()
        return response


class ApiRequest(BaseRequest):
    """A request to `/v2/`: below the application, so it has no router and no signals, but a stamp."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        stamp(self, response)
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"


class _Server(web.Server):
    """Gives `/v2/` to its dispatcher as plain requests, and everything else to the application."""

    def __init__(self, api: Handler, app: web.Application, **options: Any) -> None:
        super().__init__(self._answer, request_factory=self._make, **options)
        self._api = api
        self._app = app

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)

    def _make(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> BaseRequest:
        if is_api(message.path):
            return ApiRequest(message, payload, protocol, writer, task, self._loop)
        return self._app._make_request(message, payload, protocol, writer, task)

    async def _answer(self, request: BaseRequest) -> web.StreamResponse:
        if isinstance(request, web.Request):
            return await self._app._handle(request)
        return await self._api(request)


class Runner(BaseRunner):
    """Runs the API and the application behind one socket."""

    __slots__ = ("_api", "_app")

    def __init__(self, api: Handler, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(shutdown_timeout=shutdown_timeout, handle_signals=False)
        self._api = api
        self._app = app

    async def shutdown(self) -> None:
        await self._app.shutdown()

    async def _make_server(self) -> web.Server:
        loop = asyncio.get_running_loop()
        self._app._set_loop(loop)
        self._app.on_startup.freeze()
        await self._app.startup()
        self._app.freeze()
        return _Server(
            self._api,
            self._app,
            access_log_class=AccessLog,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_SECONDS,
            max_line_size=LINE_LIMIT,
            max_field_size=LINE_LIMIT,
            read_bufsize=READ_BUFFER,
        )

    async def _cleanup_server(self) -> None:
        await self._app.cleanup()


def is_api(target: str) -> bool:
    """Whether a request target is the distribution API's."""
    path = target.partition("?")[0]
    return path == API_PREFIX or path.startswith(API_PREFIX + "/")
