"""Where things lie in the folder: the only place that turns ids and digests into paths.

<root>/
  sha256/
    00/ … ff/                 made at start, so that publishing never makes a folder
      <hex>.<upload id>       a blob; the id makes the key one that was never used before
  sha512/ …
  staging/
    <upload id>.<version>     a segment: what one lease of an upload wrote
    <upload id>.joined        several segments, made one while publishing
"""

import re

from storage.backend import Segment, Staged
from storage.digest import ALGORITHMS, Digest

STAGING = "staging"
FAN_OUT = tuple(f"{algorithm}/{byte:02x}" for algorithm in ALGORITHMS for byte in range(256))

_KEY = re.compile(r"(sha256|sha512)/[0-9a-f]{2}/([0-9a-f]+)\.[0-9a-f]{32}")
_STAGED = re.compile(r"([0-9a-f]{32})\.(?:([0-9]+)|joined)")


def blob_key(digest: Digest, upload_id: str) -> str:
    return f"{digest.algorithm}/{digest.encoded[:2]}/{digest.encoded}.{upload_id}"


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def segment_name(upload_id: str, segment: Segment) -> str:
    return f"{STAGING}/{upload_id}.{segment.version}"


def joined_name(upload_id: str) -> str:
    return f"{STAGING}/{upload_id}.joined"


def parse_staged_name(name: str, size: int) -> Staged | None:
    """What a file in staging is, None for a stranger. A joined one has no segments of its own."""
    matched = _STAGED.fullmatch(name)
    if matched is None:
        return None
    return Staged(matched[1], (Segment(int(matched[2]), size),) if matched[2] else ())
