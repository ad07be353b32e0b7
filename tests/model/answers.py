"""Answers that the spec page wants, and the small rules that make them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from tests.model.content import IMMUTABLE, Document
from tests.model.ranges import Ranges

PAGE_LIMIT = 1000


@dataclass(frozen=True)
class Expected:
    """An answer. `parts`: of a multipart body; `document`: the body as JSON; `missing`: digests in the errors."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    parts: Sequence[tuple[str, bytes]] = ()
    document: Any = None
    code: str = ""
    missing: Sequence[str] = ()


class Refusal(Exception):
    """The expected answer is this error."""

    def __init__(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.expected = Expected(status, headers or {}, code=code)


class BlobsMissing(Refusal):
    def __init__(self, missing: Iterable[str]) -> None:
        super().__init__(400, "MANIFEST_BLOB_UNKNOWN")
        self.expected = Expected(400, code="MANIFEST_BLOB_UNKNOWN", missing=list(dict.fromkeys(missing)))


@dataclass(frozen=True)
class Sent:
    """A body: where the client says that it belongs, how long it says it is, whether in one sized piece."""

    data: bytes = b""
    start: int | None = None
    declared: int | None = None
    sized: bool = True


@dataclass(frozen=True)
class Conditions:
    """Digests in If-Match and If-None-Match; "*" is any, None not sent."""

    match: str | None = None
    none_match: str | None = None

    def check(self, current: str | None) -> None:
        if self.match is not None and not _matches(self.match, current):
            raise Refusal(412, "DENIED")
        if self.none_match is not None and _matches(self.none_match, current):
            raise Refusal(412, "DENIED")


def _matches(wanted: str, current: str | None) -> bool:
    return current is not None and wanted in ("*", current)


def in_ranges(data: bytes, headers: Mapping[str, str], wanted: Ranges | None) -> Expected:
    size = len(data)
    selected = wanted.selected(size) if wanted else None
    if selected is None:
        return Expected(200, {**headers, "Content-Length": str(size)}, data)
    if not selected:
        raise Refusal(416, "SIZE_INVALID", {"Content-Range": f"bytes */{size}"})
    parts = [(f"bytes {one.start}-{one.stop - 1}/{size}", data[one.start : one.stop]) for one in selected]
    if len(parts) > 1:
        return Expected(206, {name: text for name, text in headers.items() if name != "Content-Type"}, parts=parts)
    told, body = parts[0]
    return Expected(206, {**headers, "Content-Range": told, "Content-Length": str(len(body))}, body)


def check_lengths(sent: Sent) -> None:
    if sent.sized and sent.declared is not None and sent.declared != len(sent.data):
        raise Refusal(400, "SIZE_INVALID")


def check_movable(tag: str) -> None:
    if fnmatchcase(tag, IMMUTABLE):
        raise Refusal(403, "DENIED")


def created(name: str, digest: str) -> Expected:
    return Expected(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})


def identity(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}


def location(name: str, upload_id: str, offset: int) -> str:
    return f"/v2/{name}/blobs/uploads/{upload_id}?offset={offset}"


def algorithm(digest: str) -> str:
    return digest.partition(":")[0]


def page(names: Iterable[str], path: str, n: int | None, last: str | None) -> tuple[list[str], dict[str, str]]:
    """Byte order, after `last`, at most n; Link while there is more (spec page, section 3.6)."""
    after = sorted((name for name in names if name > (last or "")), key=str.encode)
    limit = PAGE_LIMIT if n is None else min(n, PAGE_LIMIT)
    if limit == 0 or len(after) <= limit:
        return after[:limit], {}
    escaped = quote(after[limit - 1], safe="")
    return after[:limit], {"Link": f'</v2/{path}?n={limit}&last={escaped}>; rel="next"'}


def referrer(digest: str, document: Document) -> dict[str, Any]:
    entry: dict[str, Any] = {"mediaType": document.media_type, "digest": digest, "size": len(document.payload)}
    if document.artifact_type:
        entry["artifactType"] = document.artifact_type
    if document.annotations:
        entry["annotations"] = dict(document.annotations)
    return entry
