"""Entity tags: an ETag is the quoted digest."""

from collections.abc import Collection

from registry.api.call import Call
from registry.content.conditions import ANY, Conditions


def etag(digest: str) -> str:
    return f'"{digest}"'


def conditions(call: Call) -> Conditions:
    """If-Match and If-None-Match of a write; what is no entity tag matches nothing."""
    return Conditions(_tags(call.header("If-Match")), _tags(call.header("If-None-Match")))


def is_known(call: Call, digest: str) -> bool:
    """Whether the client said that it has this already (RFC 9110 section 13.1.2)."""
    tags = _tags(call.header("If-None-Match"))
    return tags is not None and (ANY in tags or digest in tags)


def _tags(header: str | None) -> Collection[str] | None:
    if header is None:
        return None
    return {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
