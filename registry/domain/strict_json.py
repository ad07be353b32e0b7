"""JSON as every reader reads it: what two parsers could understand differently is refused.

The standard library takes duplicate keys, NaN, UTF-16, lone surrogates and numbers of any length; Go clients
read those otherwise or not at all, and a manifest must mean one thing (reliability: type confusion).
"""

import json
import re
from typing import TypeAlias

from registry.domain.errors import ManifestInvalid

Json: TypeAlias = "str | int | float | bool | None | list[Json] | dict[str, Json]"
JsonObject: TypeAlias = "dict[str, Json]"

DEPTH_LIMIT = 32
DIGITS_LIMIT = 20
# 4 MiB of `{}` would take 100 MiB to parse; 39,000 descriptors in 4 MiB have 200,000 separators
VALUES_LIMIT = 500_000

_ESCAPED = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def parse_object(payload: bytes) -> JsonObject:
    """Return the object that `payload` spells in UTF-8; raise ManifestInvalid."""
    if sum(payload.count(separator) for separator in (b",", b"{", b"[")) > VALUES_LIMIT:
        raise ManifestInvalid("the manifest has too many JSON values")
    try:
        text = payload.decode("utf-8")
        value: Json = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_constant,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise ManifestInvalid("the manifest is not UTF-8") from error
    except RecursionError as error:
        raise ManifestInvalid(f"the manifest is nested deeper than {DEPTH_LIMIT} levels") from error
    except ValueError as error:  # json.JSONDecodeError is one
        raise ManifestInvalid("the manifest is not JSON") from error
    if not isinstance(value, dict):
        raise ManifestInvalid("the manifest is not a JSON object")
    _check(value, text_too=_ESCAPED.search(text) is not None)
    return value


def _unique(pairs: list[tuple[str, Json]]) -> JsonObject:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ManifestInvalid("an object of the manifest has a key twice")
    return made


def _constant(name: str) -> Json:
    raise ManifestInvalid(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > DIGITS_LIMIT:
        raise ManifestInvalid(f"the manifest has a number of more than {DIGITS_LIMIT} digits")
    return int(digits)


def _check(value: Json, *, text_too: bool) -> None:
    """Refuse what is nested too deeply and, where escapes suggest it, NUL and lone surrogates."""
    level: list[Json] = [value]
    for _ in range(DEPTH_LIMIT):
        below: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                if text_too:
                    _check_text("".join(item))
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif text_too and isinstance(item, str):
                _check_text(item)
        if not below:
            return
        level = below
    raise ManifestInvalid(f"the manifest is nested deeper than {DEPTH_LIMIT} levels")


def _check_text(text: str) -> None:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ManifestInvalid("a string of the manifest has a NUL or half a surrogate pair")
