"""One worker: a process that serves the sockets it inherited, until its parent says stop or is gone."""

import asyncio
import signal

from registry.app import make_runner
from registry.post import Post, linked
from registry.sockets import BACKLOG
from registry.tls import tls_context
from registry.web.site import Site

# How long requests that run may go on after SIGTERM
DRAIN_SECONDS = 30.0


def work(post: Post) -> None:
    """Serve until SIGTERM, then finish what runs."""
    asyncio.run(_serve(post))


async def _serve(post: Post) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    registry = post.open()
    try:
        await post.relieve(registry)
        runner = make_runner(registry)
        await runner.setup()
        context = tls_context(post.settings)
        for listening in post.sockets:
            # One at a time: workers that are busy take fewer of them
            await Site(runner, listening, backlog=1, ssl_context=context).start()
            listening.listen(BACKLOG)  # asyncio has set the kernel's queue to the same 1
        async with linked(post.channel):
            await stop.wait()
            await runner.drain(DRAIN_SECONDS)
    finally:
        await registry.close()
