"""Every refusal that a client can meet: one class per answer, with the spec's code and the HTTP status.

RegistryError
├── BlobUnknown, BlobUploadUnknown, ManifestUnknown, NameUnknown           404
├── BlobUploadInvalid, DigestInvalid, NameInvalid, SizeInvalid             400
│   ├── DigestUnsupported (DigestInvalid: an algorithm we do not compute)  400
│   ├── UploadOutOfOrder (BlobUploadInvalid)                               416
│   ├── RangeNotSatisfiable (SizeInvalid)                                  416
│   └── BodyCutOff (SizeInvalid: the client left)                          400
│       └── BodyTooSlow                                                    408
├── ManifestInvalid, ManifestBlobUnknown                                   400
│   ├── TagInvalid (ManifestInvalid)                                       400
│   └── ManifestTooLarge (ManifestInvalid)                                 413
├── Unauthorized 401, Denied 403, TooManyRequests                          429
│   └── PreconditionFailed (Denied)                                        412
├── Unsupported                                                            405
│   ├── EndpointUnknown (Unsupported)                                      404
│   ├── EncodingUnsupported (Unsupported)                                  415
│   ├── UriTooLong, HeadTooLarge (Unsupported)                        414, 431
│   ├── TransferCodingUnsupported, VersionUnsupported (Unsupported)   501, 505
│   └── PageInvalid, RequestInvalid (Unsupported: HTTP we don't guess at)  400
├── Unavailable (code UNKNOWN; retry later)                                503
└── BlobUnreadable (code UNKNOWN)                                          500
Codes are the closed list of the distribution spec, "Error Codes"; UNKNOWN is only for 5xx.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeAlias

Detail: TypeAlias = "str | int | None | list[Detail] | dict[str, Detail]"

ENTRIES_LIMIT = 100


class RegistryError(Exception):
    """An answer other than success. `message` says what to do next; it never repeats raw input."""

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500
    message: str = "the registry failed; the request id in X-Request-Id leads to its log"

    def __init__(
        self,
        message: str | None = None,
        *,
        detail: Detail = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or self.message)
        if message is not None:
            self.message = message
        self.detail = detail
        self.headers: Mapping[str, str] = headers or {}

    def entries(self) -> list[dict[str, Detail]]:
        """The members of `errors` in the answer's body."""
        return [self._entry(self.detail)]

    def _entry(self, detail: Detail) -> dict[str, Detail]:
        entry: dict[str, Detail] = {"code": self.code, "message": self.message}
        if detail is not None:
            entry["detail"] = detail
        return entry


class BlobUnknown(RegistryError):
    code, status = "BLOB_UNKNOWN", 404
    message = "this repository has no such blob"


class BlobUploadInvalid(RegistryError):
    code, status = "BLOB_UPLOAD_INVALID", 400
    message = "this request does not fit the upload; GET its location for the current state"


class UploadOutOfOrder(BlobUploadInvalid):
    """The upload has `offset` bytes, and this request does not continue there."""

    status = 416
    message = "the chunk does not start where the upload ends; continue at the Range of this answer"

    def __init__(self, offset: int, message: str | None = None) -> None:
        super().__init__(message, detail={"offset": offset})
        self.offset = offset


class BlobUploadUnknown(RegistryError):
    code, status = "BLOB_UPLOAD_UNKNOWN", 404
    message = "no such upload in this repository; it may have expired: start again with POST"


class DigestInvalid(RegistryError):
    code, status = "DIGEST_INVALID", 400
    message = "the digest is malformed or does not match the content"


class DigestUnsupported(DigestInvalid):
    message = "digests of this algorithm are not supported; use sha256 or sha512"


class ManifestInvalid(RegistryError):
    code, status = "MANIFEST_INVALID", 400
    message = "the manifest is not valid"


class TagInvalid(ManifestInvalid):
    message = "a tag has 1 to 128 letters, digits, '_', '.' and '-', and starts with none of the last two"


class ManifestTooLarge(ManifestInvalid):
    status = 413
    message = "a manifest has at most 4 MiB"


class ManifestBlobUnknown(RegistryError):
    """The manifest names content that the repository does not hold: one entry for each missing digest."""

    code, status = "MANIFEST_BLOB_UNKNOWN", 400
    message = "the manifest references content that this repository does not hold; push it first"

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__()
        self.missing = missing

    def entries(self) -> list[dict[str, Detail]]:
        return [self._entry({"digest": digest}) for digest in self.missing[:ENTRIES_LIMIT]]


class ManifestUnknown(RegistryError):
    code, status = "MANIFEST_UNKNOWN", 404
    message = "this repository has no such manifest"


class NameInvalid(RegistryError):
    code, status = "NAME_INVALID", 400
    message = (
        "a repository name has at most 255 characters: lowercase components of letters and digits, "
        "joined inside by '.', '_', '__' or '-', and to each other by '/'"
    )


class NameUnknown(RegistryError):
    code, status = "NAME_UNKNOWN", 404
    message = "no such repository"


class SizeInvalid(RegistryError):
    code, status = "SIZE_INVALID", 400
    message = "the length of the content differs from what was declared"


class BodyCutOff(SizeInvalid):
    """The client left in the middle: nobody reads this answer, what came is kept."""

    message = "the connection ended before the body did"


class BodyTooSlow(BodyCutOff):
    status = 408
    message = "the body came too slowly; what has come is kept, ask the upload for its status and go on there"


class RangeNotSatisfiable(SizeInvalid):
    status = 416
    message = "the requested range lies outside the blob"


class Unauthorized(RegistryError):
    """`scopes`: what a token must be for, where it is more than the route says."""

    code, status = "UNAUTHORIZED", 401
    message = "log in first: this needs an identity, or a token for the scope in WWW-Authenticate"

    def __init__(self, message: str | None = None, *, scopes: str = "") -> None:
        super().__init__(message)
        self.scopes = scopes


class Denied(RegistryError):
    """`action`: what was refused, where that is not just what the route needs."""

    code, status = "DENIED", 403
    message = "access to this resource is denied"
    action: str = ""


class PreconditionFailed(Denied):
    status = 412
    message = "the tag or manifest is not in the state that If-Match or If-None-Match asks for"


class TooManyRequests(RegistryError):
    code, status = "TOOMANYREQUESTS", 429
    message = "too many requests; retry after the time in Retry-After"


class Unsupported(RegistryError):
    code, status = "UNSUPPORTED", 405
    message = "this operation is not supported here"


class EndpointUnknown(Unsupported):
    status = 404
    message = "no such endpoint; repositories live under /v2/<name>/"


class EncodingUnsupported(Unsupported):
    status = 415
    message = "send the manifest without Content-Encoding: its digest covers the plain bytes"


class PageInvalid(Unsupported):
    status = 400
    message = "n is a number of entries, 0 or more"


class UriTooLong(Unsupported):
    status = 414
    message = "the request target is too long"


class HeadTooLarge(Unsupported):
    status = 431
    message = "the request has too many header fields, or too long ones"


class TransferCodingUnsupported(Unsupported):
    status = 501
    message = "the only transfer coding here is chunked"


class VersionUnsupported(Unsupported):
    status = 505
    message = "this server speaks HTTP/1.1"


class RequestInvalid(Unsupported):
    status = 400
    message = "this is not a request that HTTP/1.1 allows"


class Unavailable(RegistryError):
    code, status = "UNKNOWN", 503
    message = "the registry can't do this now; retry after the time in Retry-After"

    def __init__(self, message: str | None = None, *, retry_after: int = 60) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class BlobUnreadable(RegistryError):
    message = "the stored bytes of this blob can't be read; the request id in X-Request-Id leads to the log"
