"""Requests to a registry that may die at any moment."""

import http.client
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from email.message import Message
from typing import NamedTuple

TIMEOUT_SECONDS = 30.0
RESTART_SECONDS = 30.0
POLL_SECONDS = 0.01

_OFFSET = re.compile(r"0-(-?\d+)")


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


class GoneError(Exception):
    """The server went away before it had answered."""


class UnexpectedAnswerError(Exception):
    """The server answered a correct request with something else than it should."""


class Connection:
    """Requests over one connection, each answer read whole. After GoneError the next request connects again."""

    def __init__(self, host: str) -> None:
        self._http = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)

    def ask(
        self,
        method: str,
        path: str,
        expected: Sequence[int],
        *,
        body: bytes | Iterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        told = dict(headers or {})
        if not isinstance(body, bytes):
            told["Transfer-Encoding"] = "chunked"
        try:
            self._http.request(method, path, body, told, encode_chunked=not isinstance(body, bytes))
            response = self._http.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except TimeoutError as error:
            self._http.close()
            raise UnexpectedAnswerError(f"{method} {path}: no answer within {TIMEOUT_SECONDS} s") from error
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise GoneError(f"{method} {path}: {error!r}") from error
        if answer.status not in expected:
            raise UnexpectedAnswerError(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer

    def wait(self) -> None:
        """Return as soon as the server answers again."""
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                self.ask("GET", "/v2/", [200])
            except GoneError:
                if time.monotonic() > deadline:
                    raise UnexpectedAnswerError(f"the server is not back within {RESTART_SECONDS} s") from None
                time.sleep(POLL_SECONDS)
            else:
                return

    def close(self) -> None:
        self._http.close()


def told_offset(answer: Answer) -> int:
    matched = _OFFSET.fullmatch(answer.headers["Range"] or "")
    if matched is None:
        raise UnexpectedAnswerError(f"no Range of an upload: {answer.headers['Range']!r}")
    return int(matched[1]) + 1
