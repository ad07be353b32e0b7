"""Ports for servers whose address others must know before they start."""

import secrets
import socket
from contextlib import suppress

# Below those that the system gives to clients: one that tries to connect to a dead server's port may be given that
# very port, is then connected with itself, and the next server finds its address taken
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A loopback port where nobody listens now."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
