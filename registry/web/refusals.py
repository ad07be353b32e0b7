"""What aiohttp's parser complains of, as the registry's own errors; and what it lets through and we do not."""

from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.http_parser import RawRequestMessage

from registry.domain.errors import (
    HeadTooLarge,
    RegistryError,
    RequestInvalid,
    TransferCodingUnsupported,
    Unsupported,
    UriTooLong,
    VersionUnsupported,
)

# Long names, many `tag=` and long bearer tokens need more than the usual 8 KiB. The two differ, because the number is
# all by which the parser's complaint tells a target from a field.
TARGET_LIMIT = 32 * 1024
FIELD_LIMIT = 24 * 1024
FIELDS_LIMIT = 128
HEAD_LIMIT = 128 * 1024


def complaint(error: BaseException | None) -> RegistryError:
    """The answer to a request that can't be parsed."""
    if isinstance(error, LineTooLong):
        return UriTooLong() if error.args[1] == TARGET_LIMIT else HeadTooLarge()
    text = error.message if isinstance(error, BadHttpMessage) else ""
    if text.startswith("Too many headers"):
        return HeadTooLarge()
    if "`Transfer-Encoding`" in text.partition("\n")[0]:
        return TransferCodingUnsupported()
    return RequestInvalid()


def objection(message: RawRequestMessage) -> RegistryError | None:
    """What is wrong with a request that aiohttp would serve."""
    if message.version not in (HttpVersion11, HttpVersion10):
        return VersionUnsupported()
    if message.method == "CONNECT":
        return Unsupported("this is no proxy", headers={"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"})
    if message.chunked:
        codings = message.headers.getall("Transfer-Encoding")
        if [coding.lower() for coding in codings] != ["chunked"]:
            return TransferCodingUnsupported()
        if message.version != HttpVersion11:  # RFC 9112 section 6.1: such framing is faulty
            return RequestInvalid()
    return None
