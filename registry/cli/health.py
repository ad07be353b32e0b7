"""`digestry health`."""

import json
import socket
import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Annotated

import msgspec
from cyclopts import Parameter

from registry.cli.options import AsJson, ConfigFile, Flags, settings
from registry.config import HttpSettings

TIMEOUT_SECONDS = 5.0

Write = Annotated[bool, Parameter(name="--write", negative="", help="Also ask whether pushes are accepted.")]


class _Answer(msgspec.Struct):
    """What /readyz says."""

    reasons: list[str]


def health(*, write: Write = False, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Ask the registry that serves on this machine whether it is ready; exit code 1 if not.

    It is found by `http.addr`, so give the settings that `serve` was given.
    """
    reasons = _reasons(settings(config, flags).settings.http, "/readyz?write=1" if write else "/readyz")
    if as_json:
        print(json.dumps({"ready": not reasons, "reasons": reasons}))
    else:
        print(f"not ready: {'; '.join(reasons)}" if reasons else "ready")
    return 1 if reasons else 0


def _reasons(http: HttpSettings, path: str) -> list[str]:
    try:
        with closing(HTTPConnection("localhost")) as connection:
            _connect(connection, http)
            connection.request("GET", path)
            answer = connection.getresponse()
            return msgspec.json.decode(answer.read(), type=_Answer).reasons
    except (OSError, HTTPException) as error:
        return [f"{http.addr} does not answer: {error}"]
    except msgspec.MsgspecError:
        return [f"{http.addr} answers {answer.status}, not as a registry of ours"]


def _connect(connection: HTTPConnection, http: HttpSettings) -> None:
    if http.addr.startswith("unix:"):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(TIMEOUT_SECONDS)
        connection.sock.connect(http.addr.removeprefix("unix:"))
    else:
        host, _, port = http.addr.rpartition(":")
        # The words for every address, "", 0.0.0.0 and [::], lead to loopback here
        connection.sock = socket.create_connection((host.strip("[]") or None, int(port)), TIMEOUT_SECONDS)
    if http.tls.certificate:
        connection.sock = _tls().wrap_socket(connection.sock)


def _tls() -> ssl.SSLContext:
    """The certificate is for the name that clients use, which is not the one asked here: nothing secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
