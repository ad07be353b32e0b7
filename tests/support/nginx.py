"""nginx before a registry, with the example file that the documents ship."""

import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Pair, make
from tests.support.ports import free_port
from tests.support.tools import ROOT, require

EXAMPLE = ROOT / "docs" / "operations" / "nginx.conf"
START_SECONDS = 10.0
STOP_SECONDS = 10.0

# What surrounds a file of conf.d, with nothing of this machine's. The temporary folders have levels: whatever was
# kept for a moment leaves a folder behind
_MAIN = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    client_body_temp_path {folder}/kept/bodies 1 2;
    proxy_temp_path {folder}/kept/answers 1 2;
    fastcgi_temp_path {folder}/unused;
    uwsgi_temp_path {folder}/unused;
    scgi_temp_path {folder}/unused;
    include {folder}/registry.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running nginx: where clients find it, and the port where it looks for the registry."""

    host: str
    authority: Path
    folder: Path
    server_port: int
    pid: int

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    @property
    def variables(self) -> dict[str, str]:
        """What the registry behind it must be told."""
        return {
            "REGISTRY_HTTP_ADDR": f"127.0.0.1:{self.server_port}",
            "REGISTRY_HTTP_HOST": self.url,
            "REGISTRY_HTTP_TRUSTEDPROXIES": '["127.0.0.1"]',
        }

    @property
    def trusting(self) -> ssl.SSLContext:
        """What a client needs to believe it."""
        return ssl.create_default_context(cafile=self.authority)

    @property
    def log(self) -> str:
        """Its access log."""
        return (self.folder / "access.log").read_text("utf-8")

    @property
    def kept(self) -> list[str]:
        """Traces of bodies and answers that it wrote to a disk."""
        return [str(path) for path in (self.folder / "kept").glob("*/*")]

    @property
    def peak(self) -> int:
        """The most bytes of memory that its workers ever held."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii")
        return sum(_peak(int(pid)) for pid in children.split())


@contextmanager
def nginx_before(server_port: int, folder: Path) -> Iterator[Proxy]:
    """Run nginx on a free port until the block ends; the registry may come to `server_port` later.

    It ends too when the test process is killed.
    """
    nginx = require("nginx")["nginx"]
    (folder / "kept").mkdir(parents=True)
    port, pair = free_port(), make(folder, "nginx")
    (folder / "registry.conf").write_text(_adapted(port, server_port, folder, pair))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))
    command: list[str | Path] = [
        *("setpriv", "--pdeathsig", "TERM", nginx, "-p", folder),
        *("-e", folder / "error.log", "-c", folder / "nginx.conf"),
    ]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            proxy = Proxy(f"127.0.0.1:{port}", pair.certificate, folder, server_port, process.pid)
            _wait_until_ready(process, proxy)
            yield proxy
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _adapted(port: int, server_port: int, folder: Path, pair: Pair) -> str:
    """The example as its reader would change it. Each place must be there, once."""
    text = EXAMPLE.read_text("utf-8")
    for old, new in (
        ("server 127.0.0.1:5000;", f"server 127.0.0.1:{server_port};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("    listen [::]:443 ssl;\n", ""),
        ("server_name registry.example.com;", "server_name localhost 127.0.0.1;"),
        (" /etc/ssl/registry.example.com.pem;", f" {pair.certificate};"),
        (" /etc/ssl/registry.example.com.key;", f" {pair.key};"),
        ("access_log /var/log/nginx/registry.log ", f"access_log {folder}/access.log "),
    ):
        assert text.count(old) == 1, f"{EXAMPLE} has {text.count(old)} of {old!r}"
        text = text.replace(old, new)
    return text


def _wait_until_ready(process: subprocess.Popen[bytes], proxy: Proxy) -> None:
    """A port that somebody else took would not know the certificate."""
    deadline = time.monotonic() + START_SECONDS
    host, _, port = proxy.host.rpartition(":")
    while True:
        try:
            ssl.get_server_certificate((host, int(port)), ca_certs=str(proxy.authority), timeout=START_SECONDS)
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = [(proxy.folder / name).read_text(errors="replace") for name in ("output", "error.log")]
                raise RuntimeError(f"nginx did not start:\n{''.join(said)}") from error
            time.sleep(0.02)
        else:
            return


def _peak(pid: int) -> int:
    """In /proc's own words, the high water mark of the resident set."""
    rows = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    (kibibytes,) = [row.split()[1] for row in rows if row.startswith("VmHWM:")]
    return int(kibibytes) * 1024
