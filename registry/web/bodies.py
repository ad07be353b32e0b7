"""Bodies on their way in: nothing is asked for before every check has passed, nothing is inflated."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs

from aiohttp.web_exceptions import HTTPException
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_request import BaseRequest

from registry.domain.errors import BodyCutOff, ManifestTooLarge, RequestInvalid

# A form's; a token request has ten
FIELDS_LIMIT = 100


def declared_length(request: BaseRequest) -> int | None:
    """How long the body says it is; 0 when there is none, None when only its end will tell."""
    if not request.body_exists:
        return 0
    return request.content_length


async def pieces(request: BaseRequest) -> AsyncIterator[bytes]:
    """The body as it arrives; raise BodyCutOff when the client leaves, RequestInvalid when it sends nonsense."""
    await _invite(request)
    while True:
        try:
            piece = await request.content.readany()
        except RequestPayloadError as error:
            raise RequestInvalid("the body's transfer coding is broken") from error
        except (ConnectionError, HTTPException, OSError) as error:
            raise BodyCutOff() from error
        if not piece:
            return
        yield piece


async def read_manifest(declared: int | None, pieces: AsyncIterator[bytes], limit: int) -> bytes:
    """The whole body; raise ManifestTooLarge as soon as it exceeds `limit` bytes."""
    if (declared or 0) > limit:
        raise ManifestTooLarge()
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > limit:
            raise ManifestTooLarge()
    return bytes(body)


async def read_form(request: BaseRequest, limit: int) -> dict[str, list[str]]:
    """A body of application/x-www-form-urlencoded; raise RequestInvalid."""
    body = bytearray()
    async for piece in pieces(request):
        body += piece
        if len(body) > limit:
            raise RequestInvalid("the form is too large")
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_LIMIT)
    except ValueError as error:
        raise RequestInvalid("the body is no form of UTF-8 fields") from error


async def _invite(request: BaseRequest) -> None:
    """A client that sent `Expect: 100-continue` waits for this (RFC 9110 section 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
