"""Where connections come in."""

import asyncio

from aiohttp import web

# A TLS client gets this long to shake hands, and to take leave
HANDSHAKE_SECONDS = 15.0
FAREWELL_SECONDS = 5.0


class Site(web.SockSite):
    """A listening socket; with TLS, clients may not take their time to shake hands."""

    async def start(self) -> None:
        await super(web.SockSite, self).start()
        server = self._runner.server
        assert server is not None
        limited = self._ssl_context is not None
        self._server = await asyncio.get_running_loop().create_server(
            server,
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if limited else None,
            ssl_shutdown_timeout=FAREWELL_SECONDS if limited else None,
        )
