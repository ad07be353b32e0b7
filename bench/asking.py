"""Single requests over one connection, timed by the client."""

import http.client
import time
from typing import NamedTuple

from bench.pushes import TIMEOUT_SECONDS, UnexpectedAnswerError


class Answer(NamedTuple):
    seconds: float
    body: bytes


class Asker:
    """One connection that is kept alive."""

    def __init__(self, host: str) -> None:
        self._http = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        self._http.close()

    def ask(self, method: str, target: str, body: bytes | None = None) -> Answer:
        """`body` is JSON. Raise UnexpectedAnswerError for anything but a success."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        began = time.perf_counter()
        self._http.request(method, target, body, headers)
        response = self._http.getresponse()
        received = response.read()
        answer = Answer(time.perf_counter() - began, received)
        if response.status >= 300:
            raise UnexpectedAnswerError(f"{method} {target}: {response.status} {answer.body[:300]!r}")
        return answer
