"""A client that behaves: pulls one manifest again and again, and says how long each pull took.

A process of its own, so that it waits for nothing but the server: `good_client HOST TARGET SECONDS` prints JSON.
"""

import json
import statistics
import sys
import time
from http.client import HTTPConnection, HTTPException

# Enough to reach every worker
CONNECTIONS = 8
PAUSE_SECONDS = 0.002


def measure(host: str, target: str, seconds: float) -> dict[str, float]:
    """Milliseconds, over all connections in turn."""
    connections = [HTTPConnection(host, timeout=30) for _ in range(CONNECTIONS)]
    times: list[float] = []
    failed, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection = connections[len(times) % CONNECTIONS]
        began = time.perf_counter()
        try:
            connection.request("GET", target, headers={"Accept": "*/*"})
            answer = connection.getresponse()
            answer.read()
            failed += answer.status != 200
        except (HTTPException, OSError):
            failed += 1
            connection.close()
        times.append((time.perf_counter() - began) * 1000)
        time.sleep(PAUSE_SECONDS)
    for connection in connections:
        connection.close()
    cuts = statistics.quantiles(times, n=100)
    return {"pulls": len(times), "failed": failed, "p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
