"""The keeper: a process without sockets that does the periodic work for all workers, so that it slows no request."""

import asyncio
import signal

from registry.background import background
from registry.post import Post, linked


def keep(post: Post) -> None:
    """Work until SIGTERM."""
    for listening in post.sockets:  # held open here, they would not refuse clients once the workers are gone
        listening.close()
    # Not asyncio.run: it would wait for a thread that copies a large database
    asyncio.new_event_loop().run_until_complete(_keep(post))


async def _keep(post: Post) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    registry = post.open()
    try:
        await post.relieve(registry)
        async with linked(post.channel), background(registry):
            await stop.wait()
    finally:
        await registry.close()
