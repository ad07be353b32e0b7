"""What wrk prints, taken apart."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from bench.wrk import LoadError, rate, requests_a_second
from tests.support.tools import require

GOOD = """\
Running 2s test @ http://127.0.0.1:5000/v2/bench/manifests/latest
  2 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.20ms  605.02us  14.21ms   88.28%
    Req/Sec     7.33k   474.72     8.04k    77.50%
  29194 requests in 2.00s, 33.94MB read
Requests/sec:  14584.37
Transfer/sec:     16.95MB
"""


def test_rate() -> None:
    assert rate(GOOD) == 14584.37


@pytest.mark.parametrize(
    "line", ["Non-2xx or 3xx responses: 3", "  Socket errors: connect 0, read 1, write 0, timeout 0"]
)
def test_a_rate_with_failures_is_none(line: str) -> None:
    with pytest.raises(LoadError, match=line.strip()):
        rate(GOOD.replace("Requests/sec", f"{line}\nRequests/sec"))


@pytest.mark.parametrize("output", ["", GOOD.replace("14584.37", "0.00")])
def test_no_rate(output: str) -> None:
    with pytest.raises(LoadError, match="no rate"):
        rate(output)


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.headers["X-Wanted"] == "yes" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_real_wrk(url: str) -> None:
    require("wrk")
    assert requests_a_second(url, 1, 2, {"X-Wanted": "yes"}) > 0
    with pytest.raises(LoadError, match="Non-2xx"):
        requests_a_second(url, 1, 2, {})
