"""The one place that reaches into aiohttp's server: how connections become requests, and who answers them.

Everything here leans on names that aiohttp keeps to itself, which is why pyproject.toml pins it exactly.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo
from aiohttp.web_request import BaseRequest
from aiohttp.web_runner import BaseRunner

from registry.domain.errors import BodyTooSlow, RegistryError, RequestInvalid
from registry.web.access_log import AccessLog
from registry.web.deadlines import Deadlines, Pace, cut, outgoing
from registry.web.errors import error_response
from registry.web.limited_log import LimitedLog
from registry.web.proxies import UNIX, TrustedProxies
from registry.web.refusals import FIELD_LIMIT, FIELDS_LIMIT, HEAD_LIMIT, TARGET_LIMIT, complaint, objection
from registry.web.requests import PROXIES, UNPARSED, request_id, stamp

log = logging.getLogger(__name__)

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]

API_PREFIX = "/v2"
# What a connection buffers before it stops reading is twice this
READ_BUFFER = 64 * 1024
# Chunks below this size, once so many bytes came, are meant to hurt (reliability H-04)
SMALLEST_CHUNK = 64
CHUNK_FRAME = len(b"40\r\n\r\n")
FREE_FRAMING = 64 * 1024
# Connections that a sweep looks at before others get their turn
SWEEP_BATCH = 256

DRAIN_POLL_SECONDS = 0.05
# What handlers get to notice that their connection was cut off
CUT_OFF_SECONDS = 5.0

# The connection ends with this answer: what follows the request's head can't be told from a next request
_LAST = web.RequestKey("last", bool)


class Protocol(RequestHandler):
    """One connection. Answers what can't be parsed in the registry's own form, and keeps the deadlines."""

    __slots__ = (
        "_answered",
        "_base",
        "_body",
        "_deadlines",
        "_head_bytes",
        "_head_since",
        "_owner",
        "_reading",
        "_received",
        "_refusals",
        "_secure",
        "_sending",
    )

    def __init__(self, server: "_Server", **options: Any) -> None:
        super().__init__(server, **options)
        self._deadlines = server.deadlines
        self._refusals = server.refusals
        self._owner = server
        self._answered = self._secure = False
        self._body: StreamReader = EMPTY_PAYLOAD
        # How fast the client sends the body, and reads the answer
        self._sending: Pace | None = None
        self._reading: Pace | None = None
        self._received = self._base = self._head_bytes = 0
        self._head_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._secure = transport.get_extra_info("sslcontext") is not None
        self._head_since = self._loop.time()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._answered and not self._body.is_eof():
            self._body.feed_eof()  # else aiohttp waits for the rest of a refused body, and a stop waits for aiohttp

    def drain(self) -> None:
        """End behind the request that runs, now when none does. aiohttp's own way drops the rest of its body."""
        if self._current_request is None and not self._messages:
            self.force_close()

    def begin(self, body: StreamReader) -> None:
        """A request is taken up: its head is complete, `body` may still be on its way."""
        self._body, self._answered = body, False
        self._base = self._received - body.total_bytes
        self._head_since, self._head_bytes = None, 0
        self._sending = self._reading = None

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if self._close or self._force_close:
            return
        if self._messages:
            if isinstance(self._messages[-1][0], _ErrInfo):
                self._break_bodies()
            elif self._head_bytes + len(data) > HEAD_LIMIT:
                self._weigh_heads()
        elif self._waiter is not None:
            self._count_head(len(data))
        elif not self._body.is_eof():
            self._check_framing(self._body)

    def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        if self._owner.draining:
            resp.force_close()
        body = request.content
        if not body.is_eof() and (
            body.exception() is not None
            or _LAST in request
            or (not body.total_bytes and "Expect" in request.headers)  # never invited, it may never come
        ):
            resp.force_close()
            body.feed_eof()  # else aiohttp reads on for a while, and stumbles over the exception
            self._close = True
        self._answered = True
        return super().finish_response(request, resp, start_time)

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
            log.error("request %s failed", request_id(request), exc_info=exc)
            return last_response(request, RegistryError())
        error = complaint(exc)
        request[UNPARSED] = True
        self._tell(f"a request can't be parsed: {type(exc).__name__}", request, {"http.response.status": error.status})
        return last_response(request, error)

    def enforce(self, transport: asyncio.Transport, elapsed: float) -> None:
        """Look once whether the client keeps us waiting too long; `elapsed` since the last look."""
        if self._secure and transport.is_closing():
            return  # its farewell has a limit of its own (web/site.py)
        sock = transport.get_extra_info("socket")
        limits, request = self._deadlines, self._current_request
        if self._waiter is not None and not self._waiter.done() and self._head_since is not None:
            if self._loop.time() + limits.sweep > self._head_since + limits.head:
                self._tell("a connection was closed: no complete request came", request, {})
                transport.abort()
        elif transport.get_write_buffer_size() or (request is not None and request.writer.output_size):
            self._reading = self._reading or Pace(limits.window, limits.rate)
            progress = outgoing(sock)
            if progress is not None and progress.pending and self._reading.too_slow(elapsed, progress.acknowledged):
                self._tell("a connection was closed: the answer was taken too slowly", request, {})
                cut(sock)
        elif not self._body.is_eof() and self._body._waiter is not None:  # else the pause is ours
            self._sending = self._sending or Pace(limits.window, limits.rate, limits.grace)
            if self._sending.too_slow(elapsed, self._body.total_bytes):
                self._fail(self._body, BodyTooSlow())

    def _count_head(self, size: int) -> None:
        if self._head_since is None and size:
            self._head_since = self._loop.time()
        self._head_bytes += size
        if self._head_bytes > HEAD_LIMIT:
            self._messages.append(_too_large())
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def _weigh_heads(self) -> None:
        """So much came at once that a head may be too large although its fields are not."""
        for number, (message, _) in enumerate(self._messages):
            if not isinstance(message, _ErrInfo) and sum(map(_size, message.raw_headers)) > HEAD_LIMIT:
                self._messages[number] = _too_large()

    def _break_bodies(self) -> None:
        """The parser has given up, and tells it only behind the last head: who reads a body must learn it too."""
        for body in (self._body, *(body for _, body in self._messages)):
            self._fail(body, RequestPayloadError("the transfer coding is broken"))

    def _fail(self, body: StreamReader, error: Exception) -> None:
        """Tell whoever reads the body; once its request is answered, that is only aiohttp, which reads to its end."""
        if body.is_eof() or body.exception() is not None:
            return
        if body is self._body and self._answered:
            body.feed_eof()
            self._close = True
        else:
            body.set_exception(error)

    def _check_framing(self, body: StreamReader) -> None:
        """Weigh what is not content: chunk sizes, their extensions, trailers."""
        received = self._received - self._base
        if received < FREE_FRAMING or self._reading_paused:  # paused: what was received is not all parsed
            return
        framing = received - body.total_bytes
        if (framing - CHUNK_FRAME) * SMALLEST_CHUNK > body.total_bytes * CHUNK_FRAME:
            self._fail(body, RequestInvalid("the chunks are too small; send larger ones"))

    def _tell(self, event: str, request: BaseRequest | None, fields: dict[str, object]) -> None:
        peer = self.peername
        fields["http.request.remoteaddr"] = peer[0] if isinstance(peer, tuple) else UNIX
        if request is not None:
            fields["http.request.id"] = request_id(request)
        self._refusals.info(event, fields)


def _size(field: tuple[bytes, bytes]) -> int:
    return len(field[0]) + len(field[1])


def _too_large() -> tuple[_ErrInfo, StreamReader]:
    error = LineTooLong(b"", HEAD_LIMIT)
    return _ErrInfo(400, error, error.message), EMPTY_PAYLOAD


class ApiRequest(BaseRequest):
    """A request to `/v2/`: below the application, so it has no router and no signals, but a stamp."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        stamp(self, response)
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"


class _Server(web.Server):
    """Gives `/v2/` to its dispatcher as plain requests, and everything else to the application."""

    def __init__(
        self,
        api: Handler,
        app: web.Application,
        deadlines: Deadlines,
        proxies: TrustedProxies | None,
        **options: Any,
    ) -> None:
        super().__init__(self._answer, request_factory=self._make, **options)
        self.deadlines = deadlines
        # Each connection ends behind its next answer
        self.draining = False
        self.refusals = LimitedLog(log)
        self._api = api
        self._app = app
        self._proxies = proxies

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)

    async def sweep_forever(self) -> None:
        """Hold all connections to their deadlines."""
        last = self._loop.time()
        while True:
            await asyncio.sleep(self.deadlines.sweep)
            # A loop that was busy has not looked, so its clients are not to blame for more than two periods
            now = self._loop.time()
            elapsed, last = min(now - last, 2 * self.deadlines.sweep), now
            self.refusals.renew()
            for number, (connection, transport) in enumerate(list(self._connections.items()), 1):
                if isinstance(connection, Protocol):
                    try:
                        connection.enforce(transport, elapsed)
                    except Exception:
                        log.exception("a connection could not be checked")
                if number % SWEEP_BATCH == 0:
                    await asyncio.sleep(0)

    def _make(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> BaseRequest:
        if isinstance(protocol, Protocol):
            protocol.begin(payload)
        request: BaseRequest
        if is_api(message.path):
            request = ApiRequest(message, payload, protocol, writer, task, self._loop)
        else:
            request = self._app._make_request(message, payload, protocol, writer, task)
        if self._proxies is not None:
            request[PROXIES] = self._proxies
        return request

    async def _answer(self, request: BaseRequest) -> web.StreamResponse:
        error = objection(request._message)
        if error is not None:
            request._version = HttpVersion11  # the version of an answer is ours
            return last_response(request, error)
        if isinstance(request, web.Request):
            return await self._app._handle(request)
        return await self._api(request)


class Runner(BaseRunner):
    """Runs the API and the application behind one socket."""

    __slots__ = ("_api", "_app", "_deadlines", "_proxies", "_sweeping")

    def __init__(
        self,
        api: Handler,
        app: web.Application,
        *,
        deadlines: Deadlines,
        proxies: TrustedProxies | None = None,
    ) -> None:
        super().__init__(shutdown_timeout=CUT_OFF_SECONDS, handle_signals=False)
        self._api = api
        self._app = app
        self._deadlines = deadlines
        self._proxies = proxies
        self._sweeping: asyncio.Task[None] | None = None

    async def drain(self, seconds: float) -> None:
        """Accept no more, and let what runs finish; what takes longer is cut off, uploads at what they have got."""
        for site in list(self.sites):
            await site.stop()
        server = cast(_Server, self.server)
        server.draining = True
        for connection in server.connections:
            cast(Protocol, connection).drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while server.connections:  # noqa: ASYNC110 - aiohttp tells nobody when one ends
                    await asyncio.sleep(DRAIN_POLL_SECONDS)
        for connection in server.connections:
            if connection.transport is not None:
                cut(connection.transport.get_extra_info("socket"))
        await self.cleanup()

    async def shutdown(self) -> None:
        await self._app.shutdown()

    async def _make_server(self) -> web.Server:
        loop = asyncio.get_running_loop()
        self._app._set_loop(loop)
        self._app.on_startup.freeze()
        await self._app.startup()
        self._app.freeze()
        server = _Server(
            self._api,
            self._app,
            self._deadlines,
            self._proxies,
            access_log_class=AccessLog,
            auto_decompress=False,
            keepalive_timeout=self._deadlines.idle,
            lingering_time=self._deadlines.linger,
            max_line_size=TARGET_LIMIT,
            max_field_size=FIELD_LIMIT,
            max_headers=FIELDS_LIMIT,
            read_bufsize=READ_BUFFER,
        )
        self._sweeping = asyncio.create_task(server.sweep_forever())
        return server

    async def _cleanup_server(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        await self._app.cleanup()


def last_response(request: BaseRequest, error: RegistryError) -> web.StreamResponse:
    """An answer after which the connection is closed."""
    request[_LAST] = True
    response = error_response(error)
    stamp(request, response)
    response.force_close()
    return response


def is_api(target: str) -> bool:
    """Whether a request target is the distribution API's, also in absolute form (`GET http://host/v2/…`)."""
    path = target.partition("?")[0]
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path == API_PREFIX or path.startswith(API_PREFIX + "/")
