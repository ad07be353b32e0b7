"""Secrets that we make: `rbt_<id>_<43 random characters>_<check digits>` for robots, `rft_<…>` to refresh a login.

The prefix lets scanners of leaked secrets find them, the check digits let anybody see a typing error.
"""

import secrets
import string
import zlib
from hashlib import sha256

ROBOT_PREFIX = "rbt"
REFRESH_PREFIX = "rft"

_ALPHABET = string.ascii_letters + string.digits
# 62 ** 43 is more than 2 ** 256
_RANDOM_LENGTH = 43
_ID_LENGTH = 12


def make_secret(prefix: str) -> tuple[str, str]:
    """A new secret, and the id in it that may be shown."""
    secret_id = _random(_ID_LENGTH)
    body = f"{prefix}_{secret_id}_{_random(_RANDOM_LENGTH)}"
    return f"{body}_{_check_digits(body)}", secret_id


def secret_id_of(prefix: str, text: str) -> str | None:
    """The id in a secret; None for what is not whole."""
    body, _, digits = text.rpartition("_")
    parts = body.split("_")
    if len(parts) != 3 or parts[0] != prefix or not text.isascii() or digits != _check_digits(body):
        return None
    return parts[1]


def hash_of(secret: str) -> str:
    """What we store of a secret: it is random enough for a fast hash."""
    return sha256(secret.encode()).hexdigest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _check_digits(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
