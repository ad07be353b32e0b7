"""From a request target to what it names: the vectors of the spec page, section 12, and their neighbours."""

import pytest

from registry.api.routes import ENDPOINTS
from registry.api.routing import FIELDS_LIMIT, Route, parse_target
from registry.domain.errors import DigestInvalid, EndpointUnknown, ManifestUnknown, NameInvalid, RequestInvalid
from registry.domain.names import RepositoryName

HEX = "0" * 64
LONG = "a" * 230


@pytest.mark.parametrize(
    ("target", "route", "name", "argument"),
    [
        ("/v2", Route.PING, "", ""),
        ("/v2/", Route.PING, "", ""),
        ("/v2/?n=1", Route.PING, "", ""),
        ("/v2/_catalog", Route.CATALOG, "", ""),
        ("/v2/a/manifests/b/manifests/latest", Route.MANIFEST, "a/manifests/b", "latest"),
        ("/v2/tags/list/tags/list", Route.TAGS, "tags/list", ""),
        ("/v2/x/blobs/uploads/tags/list", Route.TAGS, "x/blobs/uploads", ""),
        ("/v2/x/blobs/uploads/", Route.UPLOADS, "x", ""),
        ("/v2/x/blobs/uploads", Route.UPLOADS, "x", ""),
        ("/v2/x/blobs/uploads/?digest=d", Route.UPLOADS, "x", ""),
        ("/v2/x/blobs/uploads/0123?offset=0", Route.UPLOAD, "x", "0123"),
        ("/v2/x/blobs/uploads/blobs/uploads/", Route.UPLOADS, "x/blobs/uploads", ""),
        ("/v2/x/blobs/uploads/manifests/v1", Route.MANIFEST, "x/blobs/uploads", "v1"),
        (f"/v2/x/blobs/sha256:{HEX}", Route.BLOB, "x", f"sha256:{HEX}"),
        (f"/v2/x/blobs/sha256%3A{HEX}", Route.BLOB, "x", f"sha256:{HEX}"),
        (f"/v2/{LONG}/blobs/sha512:{HEX}{HEX}", Route.BLOB, LONG, f"sha512:{HEX}{HEX}"),
        ("/v2/x/referrers/notadigest", Route.REFERRERS, "x", "notadigest"),
        ("/v2/_catalog/tags/list", Route.TAGS, "_catalog", ""),
        ("http://elsewhere/v2/a/tags/list?n=2", Route.TAGS, "a", ""),
    ],
)
def test_what_a_target_names(target: str, route: Route, name: str, argument: str) -> None:
    found = parse_target(target)
    assert (found.route, found.name, found.argument) == (route, name, argument)


@pytest.mark.parametrize("target", ["/v2/x", "/v2/x/", "/v2/x/tags", "/v2/x/list", "/v2/x/blob/y", "/v2/_catalog/"])
def test_what_names_nothing(target: str) -> None:
    with pytest.raises(EndpointUnknown):
        parse_target(target)


@pytest.mark.parametrize(
    "target",
    [
        "/v2/X/manifests/t",
        "/v2/x//y/manifests/t",
        "/v2//manifests/t",
        "/v2/../manifests/t",
        "/v2/a/../b/manifests/t",
        "/v2/a%00/manifests/t",
        "/v2/a%2Fb/manifests/t",
        "/v2/a%252Fb/manifests/t",
        "/v2/_catalog/tags/list",
    ],
)
def test_names_that_no_repository_has(target: str) -> None:
    with pytest.raises(NameInvalid):
        RepositoryName.parse(parse_target(target).name)


def read(target: str, method: str) -> str:
    """The end of the path as the route reads it."""
    found = parse_target(target)
    reader = ENDPOINTS[found.route, method].reference
    assert reader is not None
    return reader(found.argument)


def test_a_digest_may_be_encoded() -> None:
    assert read(f"/v2/x/blobs/sha256%3A{HEX}", "GET") == f"sha256:{HEX}"


def test_references_that_nothing_can_have() -> None:
    with pytest.raises(ManifestUnknown):
        read("/v2/x/manifests/" + "a" * 129, "GET")
    with pytest.raises(DigestInvalid):
        read("/v2/x/referrers/notadigest", "GET")


def test_the_query_is_decoded_once_and_keeps_what_comes_twice() -> None:
    found = parse_target("/v2/x/blobs/uploads/?mount=a%253Ab&from=&tag=1&tag=2")
    assert found.query == {"mount": ["a%3Ab"], "from": [""], "tag": ["1", "2"]}


def test_too_many_query_fields() -> None:
    fields = "&".join(["a=b"] * FIELDS_LIMIT)
    assert len(parse_target(f"/v2/?{fields}").query["a"]) == FIELDS_LIMIT
    with pytest.raises(RequestInvalid):
        parse_target(f"/v2/?{fields}&a=b")
