"""The deadlines are for clients only: what the server itself takes its time for is nobody's fault.

Handlers of the test's own stand where the API does.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest

from registry.web.bodies import pieces
from registry.web.deadlines import Deadlines
from registry.web.protocol import Runner
from registry.web.site import Site

SHORT = Deadlines(head=0.4, idle=5.0, grace=0.2, window=0.6, rate=1024, sweep=0.05)
REAL = Deadlines()
PATIENCE = 2 * (SHORT.grace + SHORT.window)
MIB = 1024 * 1024

Handler: TypeAlias = Callable[[BaseRequest], Coroutine[Any, Any, web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, deadlines: Deadlines = SHORT) -> AsyncIterator[tuple[Runner, str, int]]:
    """A server whose API is this handler, and where it listens."""
    runner = Runner(handler, web.Application(), deadlines=deadlines)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await Site(runner, listening, backlog=100).start()
    try:
        yield runner, *listening.getsockname()
    finally:
        await runner.cleanup()


async def exchange(host: str, port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
        await writer.wait_closed()


def post(size: int) -> bytes:
    return b"POST /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size


async def test_a_body_that_we_do_not_read_in_time() -> None:
    async def slow_disk(request: BaseRequest) -> web.StreamResponse:
        received = 0
        async for piece in pieces(request):
            if not received:
                await asyncio.sleep(PATIENCE)
            received += len(piece)
        return web.Response(text=str(received))

    async with serving(slow_disk) as (_, host, port):
        answer = await exchange(host, port, post(MIB) + bytes(MIB))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(str(MIB).encode())


async def test_a_body_that_is_invited_late() -> None:
    async def slow_database(request: BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(PATIENCE)
        return web.Response(text="".join([piece.decode() async for piece in pieces(request)]))

    async with serving(slow_database) as (_, host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(post(4).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"body")


async def test_an_answer_that_takes_long() -> None:
    async def slow(request: BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(PATIENCE)
        return web.Response(text="done")

    async with serving(slow) as (_, host, port):
        answer = await exchange(host, port, b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"done")


async def test_an_answer_that_we_send_slowly() -> None:
    async def dripping(request: BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 4
        await response.prepare(request)
        for _ in range(4):
            await response.write(b"a")
            await asyncio.sleep(PATIENCE / 4)
        return response

    async with serving(dripping) as (_, host, port):
        answer = await exchange(host, port, b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"aaaa")


@pytest.mark.parametrize("size", [64 * MIB, MIB * 4], ids=["sendfile", "one write"])
async def test_a_drain_ends_answers_that_nobody_reads(tmp_path: Path, size: int) -> None:
    """No task is left waiting, no descriptor is left open, and the loop has nothing to complain of."""
    path, begun, done = tmp_path / "blob", asyncio.Event(), asyncio.Event()
    with path.open("wb") as made:
        made.truncate(size)

    async def sending(request: BaseRequest) -> web.StreamResponse:
        try:
            response = web.StreamResponse()
            response.content_length = size
            await response.prepare(request)
            assert request.transport is not None
            begun.set()
            if size > 4 * MIB:
                with path.open("rb") as file:
                    await asyncio.get_running_loop().sendfile(request.transport, file)
            else:
                await response.write(bytes(size))
            return response
        finally:
            done.set()

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with serving(sending) as (runner, host, port):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, (host, port))
            client.send(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
            await begun.wait()
            assert not done.is_set()
            async with asyncio.timeout(10):
                await runner.drain(0.1)
            assert done.is_set()
    assert complaints == []


async def test_who_left_after_a_refusal_holds_nobody_up() -> None:
    """The rest of the body was still to come; a stop would wait for it."""

    async def refuse(request: BaseRequest) -> web.StreamResponse:
        return web.Response(status=403)

    async with serving(refuse, REAL) as (runner, host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"PUT /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegun")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 403")
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(REAL.linger / 2):
            await runner.drain(REAL.linger)
