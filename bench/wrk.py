"""wrk, the load generator of Debian: requests a second over many connections."""

import re
import shutil
import subprocess
from collections.abc import Mapping

THREADS = 2

_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_FAILURE = re.compile(r"^\s*(?:Non-2xx or 3xx responses|Socket errors): .*$", re.MULTILINE)


class LoadError(Exception):
    """wrk's figures can't be used."""


def requests_a_second(url: str, seconds: int, connections: int, headers: Mapping[str, str]) -> float:
    """Ask for `url` all the time. Raises LoadError if anything but successes came back."""
    program = shutil.which("wrk")
    if program is None:
        raise LoadError("no wrk on this machine; run `sudo make test-deps`")
    told = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    size = ["--threads", str(THREADS), "--connections", str(connections), "--duration", f"{seconds}s"]
    done = subprocess.run([program, *size, *told, url], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    return rate(done.stdout)


def rate(output: str) -> float:
    """The requests a second that wrk tells. Raises LoadError if some failed."""
    if failure := _FAILURE.search(output):
        raise LoadError(failure[0].strip())
    found = _RATE.search(output)
    if found is None or not float(found[1]):
        raise LoadError(f"wrk tells no rate:\n{output}")
    return float(found[1])
