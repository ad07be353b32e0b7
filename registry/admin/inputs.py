"""Bodies and queries: read strictly, so that nobody sets what is not theirs to set (CVE-2019-16097) or asks in vain."""

from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType, convert

from registry import values
from registry.access.passwords import BYTES_LIMIT, SHORTEST
from registry.domain.errors import ManifestInvalid
from registry.domain.grants import ACCOUNT_LIMIT
from registry.domain.names import NAME_LIMIT
from registry.domain.problems import Invalid, Problem
from registry.domain.strict_json import parse_object
from registry.domain.times import parse_rfc3339
from registry.web.bodies import declared_length, pieces

BODY_LIMIT = 64 * 1024
JSON = "application/json"

# What is `extra` stands in the document only: the services check it, and say in words what is wrong
Name = Annotated[
    str,
    Meta(
        description="letters and digits, joined inside by '.', '_', '-', '@' or '+'",
        extra_json_schema={"maxLength": ACCOUNT_LIMIT, "pattern": "^[A-Za-z0-9]+(?:[._@+-][A-Za-z0-9]+)*$"},
    ),
]
Password = Annotated[
    str,
    Meta(
        description="at most 72 bytes of UTF-8, without control characters",
        extra_json_schema={"minLength": SHORTEST, "maxLength": BYTES_LIMIT},
    ),
]
Duration = Annotated[
    str,
    Meta(
        description="a time such as 90s, 15m, 24h or 90d",
        examples=["90d"],
        extra_json_schema={"pattern": "^[0-9]{1,9}(?:ms|s|m|h|d)$"},
    ),
]

RepositoryText = Annotated[
    str,
    Meta(
        description="a repository's name",
        examples=["team/app"],
        extra_json_schema={"maxLength": NAME_LIMIT, "pattern": "^[a-z0-9]+(?:[._/-]+[a-z0-9]+)*$"},
    ),
]
TagText = Annotated[str, Meta(examples=["v1"], extra_json_schema={"pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"})]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]

T = TypeVar("T")


class Input(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients send: the fields that they may set, and no others."""


class NoQuery(Input, frozen=True, kw_only=True):
    """Of operations that take no query."""


class TooLarge(Problem):
    status, title = 413, "content too large"


class WrongType(Problem):
    status, title = 415, "unsupported media type"


async def read_body(request: web.Request, wanted: type[T]) -> T:
    """A JSON object of this type; raise Invalid, TooLarge or WrongType."""
    if request.content_type != JSON:
        raise WrongType(f"send the body as {JSON}")
    if (declared_length(request) or 0) > BODY_LIMIT:
        raise TooLarge(f"a body has at most {BODY_LIMIT // 1024} KiB")
    body = bytearray()
    async for piece in pieces(request):
        body += piece
        if len(body) > BODY_LIMIT:
            raise TooLarge(f"a body has at most {BODY_LIMIT // 1024} KiB")
    try:
        found = parse_object(bytes(body))
    except ManifestInvalid as error:
        raise Invalid(
            "the body is one JSON object in UTF-8: each key once, no NUL, nested 32 levels at most"
        ) from error
    return _converted(found, wanted, strict=True)


def read_query(request: web.Request, wanted: type[T]) -> T:
    """The query as this type; raise Invalid."""
    given = request.rel_url.query
    if len(set(given)) != len(given):
        raise Invalid("a query has each field once")
    return _converted(dict(given), wanted, strict=False)


def milliseconds(field: str, text: str) -> int:
    """A Duration; raise Invalid."""
    try:
        return values.duration(text)
    except ValueError as error:
        raise Invalid(f"{field}: {error}") from error


def moment(field: str, text: str | UnsetType) -> int | None:
    """A Time in milliseconds, None without one; raise Invalid."""
    if text is UNSET:
        return None
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise Invalid(f"{field} is a time with its zone, such as 2026-08-01T12:00:00Z") from error


def _converted(found: Any, wanted: type[T], *, strict: bool) -> T:
    try:
        return convert(found, wanted, strict=strict)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from error
