"""A base image from this machine's own Debian: Python with venv and what it needs, as its packages list them."""

import os
import subprocess
import tarfile
from pathlib import Path

PACKAGES = ("python3-venv", "coreutils", "dash", "ca-certificates")
# Not in any package: merged folders, and how this machine's pip finds and trusts its index
OTHERS = ("/bin", "/lib", "/lib64", "/sbin", "/tmp", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
LEFT_OUT = ("/usr/share/doc/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/man/")


def write_base_image(path: Path) -> Path:
    """Write what `docker import` takes."""
    with tarfile.open(path, "w") as archive:
        for file in sorted(_files()):
            archive.add(file, recursive=False)
    return path


def _files() -> set[Path]:
    """Every path at its real place: packages still name /bin/sh, which is /usr/bin/sh."""
    listed = _output("dpkg-query", "--listfiles", *_closure()).splitlines()
    named = {Path(name) for name in (*listed, *OTHERS) if not name.startswith(LEFT_OUT)}
    return {file.parent.resolve() / file.name for file in named if os.path.lexists(file)}


def _closure() -> list[str]:
    """The packages with all that they depend on."""
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    without = [f"--no-{kind}" for kind in kinds]
    lines = _output("apt-cache", "depends", "--recurse", "--installed", *without, *PACKAGES).splitlines()
    return sorted({line for line in lines if line[0] not in " <|"})


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
