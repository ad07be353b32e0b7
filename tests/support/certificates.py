"""Certificates that tests make for servers of their own, by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path

    @property
    def flags(self) -> list[str]:
        return [f"http.tls.certificate={self.certificate}", f"http.tls.key={self.key}"]

    @property
    def variables(self) -> dict[str, str]:
        return {"REGISTRY_HTTP_TLS_CERTIFICATE": str(self.certificate), "REGISTRY_HTTP_TLS_KEY": str(self.key)}


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make(folder: Path, name: str, *options: str, kind: str = "ec") -> Pair:
    """A self-signed certificate and its key."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    sort = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else [kind]
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    protection = [] if "-passout" in options else ["-nodes"]
    openssl("req", "-x509", "-newkey", *sort, *protection, *files, "-subj", "/CN=localhost", "-addext", NAMES, *options)
    return pair
