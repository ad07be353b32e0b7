"""From a request target to what it names. The path is decoded once, and the last keyword in it decides.

Names hold slashes and may contain the keywords themselves: `/v2/a/manifests/b/manifests/latest` is the tag
`latest` of `a/manifests/b` (spec page, section 12).
"""

from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import parse_qs, unquote, urlsplit

from registry.domain.errors import EndpointUnknown, NameInvalid, RequestInvalid

# More is no list of tags, but work for the parser
FIELDS_LIMIT = 1000


class Route(Enum):
    """What a target is, whatever the method."""

    PING = auto()
    CATALOG = auto()
    TAGS = auto()
    MANIFEST = auto()
    BLOB = auto()
    UPLOADS = auto()
    UPLOAD = auto()
    REFERRERS = auto()


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed request target; `name` and `argument` are not validated yet."""

    route: Route
    name: str
    argument: str
    query: dict[str, list[str]]


def parse_target(raw: str) -> Target:
    """Raise EndpointUnknown, NameInvalid for a name that no client may send, RequestInvalid."""
    path, _, query = raw.partition("?")
    if not path.startswith("/"):
        path, query = _absolute_form(raw)
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=FIELDS_LIMIT) if query else {}
    except ValueError as error:
        raise RequestInvalid(f"the query has more than {FIELDS_LIMIT} fields") from error
    segments = path.split("/")[2:]
    if segments in ([], [""]):
        return Target(Route.PING, "", "", fields)
    if segments == ["_catalog"]:
        return Target(Route.CATALOG, "", "", fields)
    route, name, argument = _match(segments)
    return Target(route, "/".join(_decode(part) for part in name), unquote(argument), fields)


def _absolute_form(raw: str) -> tuple[str, str]:
    """`GET http://host/v2/…`, as proxies are asked; its host is not ours to believe."""
    parts = urlsplit(raw)
    return parts.path, parts.query


def _match(segments: list[str]) -> tuple[Route, list[str], str]:
    before, last = segments[-2:-1], segments[-1]
    if segments[-2:] == ["tags", "list"]:
        return Route.TAGS, segments[:-2], ""
    if before == ["manifests"]:
        return Route.MANIFEST, segments[:-2], last
    if before == ["referrers"]:
        return Route.REFERRERS, segments[:-2], last
    if segments[-3:-1] == ["blobs", "uploads"]:
        return (Route.UPLOAD if last else Route.UPLOADS), segments[:-3], last
    if segments[-2:] == ["blobs", "uploads"]:
        return Route.UPLOADS, segments[:-2], ""
    if before == ["blobs"]:
        return Route.BLOB, segments[:-2], last
    raise EndpointUnknown()


def _decode(segment: str) -> str:
    decoded = unquote(segment)
    if "/" in decoded:  # an encoded slash: `a%2Fb` is not the repository `a/b`
        raise NameInvalid()
    return decoded
