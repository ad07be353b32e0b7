"""Bad names, references, digests and query values (table b-1), and the router's vectors (spec.md 12)."""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain.errors import NameInvalid
from registry.domain.names import RepositoryName
from tests.support.images import OCI, descriptor, digest_of, image, image_manifest
from tests.support.server import LiveServer
from tests.support.tools import require
from tests.support.wire import (
    ALIVE,
    ALIVE_NAME,
    ALIVE_TAG,
    Answer,
    assert_no_traceback,
    assert_refused,
    eventually,
    get_manifest,
    head,
    nothing_stored,
    push_blob,
    push_image,
    push_manifest,
    put_manifest,
    raw,
    request,
    snapshot,
    start_upload,
    tags,
)

SPEC_NAME = re.compile(
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"  # spec, "Pulling manifests"
)
LINE_LIMIT = 32 * 1024
HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"
UPLOAD_ID = "0123456789abcdef" * 2
PAYLOAD = image_manifest(b"{}", [])

ENDPOINTS = [
    ("GET", "manifests/t"),
    ("HEAD", "manifests/t"),
    ("PUT", "manifests/t"),
    ("DELETE", "manifests/t"),
    ("GET", f"blobs/{DIGEST}"),
    ("HEAD", f"blobs/{DIGEST}"),
    ("DELETE", f"blobs/{DIGEST}"),
    ("POST", "blobs/uploads/"),
    ("GET", f"blobs/uploads/{UPLOAD_ID}"),
    ("PATCH", f"blobs/uploads/{UPLOAD_ID}"),
    ("PUT", f"blobs/uploads/{UPLOAD_ID}?digest={DIGEST}"),
    ("DELETE", f"blobs/uploads/{UPLOAD_ID}"),
    ("GET", "tags/list"),
    ("GET", f"referrers/{DIGEST}"),
]


def at(template: str, digest: str) -> str:
    """A target with this digest in it, percent-encoded once."""
    return template.format(quote(digest, safe=":"))


def assert_refused_as(server: LiveServer, answer: Answer, *allowed: tuple[int, str]) -> None:
    """For rows that leave the choice between answers."""
    assert (answer.status, answer.code) in allowed, answer.story
    assert_refused(server, answer, answer.status, answer.code)


DOT_SEGMENTS = [
    pytest.param("/v2/../../etc/passwd/manifests/x", id="above the root"),
    pytest.param("/v2/../v2/wire/alive/manifests/v1", id="back into v2"),
    pytest.param("/v2/a/../wire/alive/manifests/v1", id="to a real name"),
    pytest.param("/v2/./wire/alive/manifests/v1", id="single dot"),
]


@pytest.mark.parametrize("target", DOT_SEGMENTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_n01_dot_segments_in_a_name(server: LiveServer, method: str, target: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, target, PAYLOAD if method == "PUT" else b"")
    assert_refused(server, answer, 400, "NAME_INVALID")


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(f"/v2/%2e%2e/%2e%2e/x/blobs/{DIGEST}", id="dots"),
        pytest.param(f"/v2/%2E%2E/%2E%2E/x/blobs/{DIGEST}", id="dots in upper case"),
        pytest.param(f"/v2/.%2e/x/blobs/{DIGEST}", id="one dot of two"),
        pytest.param(f"/v2/%2e%2e%2fx/blobs/{DIGEST}", id="dots and slash"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_n02_encoded_dot_segments(server: LiveServer, method: str, target: str) -> None:
    assert_refused(server, request(server, method, target), 400, "NAME_INVALID")


def test_n01_n02_no_file_outside_the_data_is_opened(server: LiveServer, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    strace = require("strace")["strace"]
    command = [strace, "-f", "-qq", "-e", "trace=open,openat,openat2", "-o", str(trace)]
    attached = [option for pid in server.workers for option in ("-p", str(pid))]
    with subprocess.Popen([*command, *attached]) as tracer:
        eventually(lambda: all(is_traced(pid) for pid in server.workers))
        for target in ("/v2/../../etc/passwd/manifests/x", f"/v2/%2e%2e/%2e%2e/etc/blobs/{DIGEST}"):
            assert request(server, "GET", target).status == 400
        alive = request(server, "GET", f"/v2/{ALIVE_NAME}/blobs/{ALIVE.blobs[0].digest}")
        tracer.terminate()
    assert alive.status == 200
    opened = re.findall(r'open\w*\([^"]*"([^"]*)"', trace.read_text())
    assert any(ALIVE.blobs[0].digest.removeprefix("sha256:") in path for path in opened)
    assert [path for path in opened if "passwd" in path or ".." in path] == []


def is_traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()


@pytest.fixture(scope="module")
def slashed(server: LiveServer) -> str:
    """A repository `n03/b` whose name an encoded slash must never reach."""
    push_image(server, "n03/b", image("n03"))
    return "n03%2Fb"


@pytest.mark.parametrize(("method", "rest"), ENDPOINTS)
def test_n03_encoded_slash_in_a_name(server: LiveServer, slashed: str, method: str, rest: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, f"/v2/{slashed}/{rest}", PAYLOAD if method == "PUT" else b"")
    assert_refused(server, answer, 400, "NAME_INVALID")


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/v2/n03%2fb/manifests/v1", id="lower case"),
        pytest.param("/v2/n03/b%2Fmanifests%2Fv1/manifests/v1", id="hides a keyword"),
    ],
)
def test_n03_more_encoded_slashes(server: LiveServer, slashed: str, target: str) -> None:
    assert slashed
    assert_refused(server, request(server, "GET", target), 400, "NAME_INVALID")


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/v2/a%252e%252e/manifests/t", id="dots"),
        pytest.param("/v2/wire%252Falive/manifests/v1", id="slash"),
        pytest.param("/v2/%2561/manifests/t", id="letter"),
        pytest.param("/v2/a%2500b/tags/list", id="nul"),
    ],
)
def test_n04_decoded_once_only(server: LiveServer, target: str) -> None:
    assert_refused(server, request(server, "GET", target), 400, "NAME_INVALID")


UNPRINTABLE = ["%00", "%0d%0a", "%0a", "%0d", "%7f", "%ff%fe", "%20", "%zz", "%2", "%"]


@pytest.mark.parametrize("octets", UNPRINTABLE)
@pytest.mark.parametrize(("method", "rest"), [("GET", "manifests/t"), ("POST", "blobs/uploads/")])
def test_n05_octets_that_no_name_has(server: LiveServer, method: str, rest: str, octets: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, f"/v2/a{octets}b/{rest}")
    assert_refused(server, answer, 400, "NAME_INVALID")


def test_n05_one_log_line_stays_one_line(server: LiveServer) -> None:
    offset = server.log.stat().st_size
    answer = request(server, "GET", "/v2/a%0d%0aX-Injected:%201%0d%0ab/tags/list?last=%0aforged")
    assert "X-Injected" not in answer.headers
    with server.log.open("rb") as log:
        log.seek(offset)
        lines = log.read().splitlines()
    assert [line for line in lines if not line.startswith(b"{")] == []
    assert all(json.loads(line) for line in lines)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/v2//a/manifests/t", id="first"),
        pytest.param("/v2/a//b/manifests/t", id="middle"),
        pytest.param("/v2/a//manifests/t", id="last"),
        pytest.param("/v2//manifests/t", id="no name"),
        pytest.param("/v2/manifests/t", id="no name, no slash"),
        pytest.param("/v2/a///manifests/t", id="two"),
        pytest.param("//v2/wire/alive/manifests/v1", id="before v2"),
        pytest.param("/v2/wire/alive//manifests/v1", id="after a real name"),
        pytest.param("/v2/wire/alive/manifests//v1", id="before a tag"),
        pytest.param("/v2/wire/alive/manifests/v1/", id="after a tag"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_n06_empty_components(server: LiveServer, method: str, target: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, target)
    assert "Location" not in answer.headers
    if method == "HEAD":
        assert answer.status in {400, 404}, answer.story
    else:
        assert_refused_as(server, answer, (400, "NAME_INVALID"), (404, "UNSUPPORTED"))


@pytest.mark.parametrize("rest", [rest for method, rest in ENDPOINTS if method == "GET"])
def test_n06_empty_last_component(server: LiveServer, rest: str) -> None:
    assert_refused(server, request(server, "GET", f"/v2/a//{rest}"), 400, "NAME_INVALID")


BAD_NAMES = [
    "Ubuntu",
    "ubuntU",
    "a_",
    "_a",
    "-a",
    "a-",
    ".a",
    "a.",
    "a..b",
    "a___b",
    "a._b",
    "a-_b",
    "a/.b",
    "a/b_",
    "a/B/c",
    "a~b",
    "a+b",
    "a:b",
    "a@b",
    "a,b",
    "a*b",
    "a%3Cscript%3Eb",
    "a%22b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(
    ("method", "rest"), [("GET", "manifests/t"), ("PUT", "manifests/t"), ("POST", "blobs/uploads/")]
)
def test_n07_names_outside_the_grammar(server: LiveServer, method: str, rest: str, name: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, f"/v2/{name}/{rest}", PAYLOAD if method == "PUT" else b"")
    assert_refused(server, answer, 400, "NAME_INVALID")


@pytest.mark.parametrize(("method", "rest"), ENDPOINTS)
def test_n07_every_endpoint_checks_the_name(server: LiveServer, method: str, rest: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, f"/v2/a___b/{rest}", PAYLOAD if method == "PUT" else b"")
    assert_refused(server, answer, 400, "NAME_INVALID")


@pytest.mark.parametrize("name", ["a", "0", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c", "n07.x__y--z/0-1"])
def test_n07_names_inside_the_grammar(server: LiveServer, name: str) -> None:
    push_image(server, name, image("n07"))
    assert tags(server, name) == ["v1"]


def is_name(text: str) -> bool:
    try:
        return RepositoryName.parse(text) == text
    except NameInvalid:
        return False


ALPHABET = st.text("a0._-/", max_size=30)
STRANGERS = st.text("az09._-/A \n", max_size=30)
PIECES = st.lists(st.sampled_from(["a", "b9", "0c", ".", "_", "__", "--", "/"]), max_size=15).map("".join)


@settings(max_examples=2000, database=None, deadline=None)
@given(st.one_of(ALPHABET, STRANGERS, PIECES))
def test_n07_our_matcher_is_the_specs(text: str) -> None:
    assert is_name(text) == (SPEC_NAME.fullmatch(text) is not None)


NOT_ASCII = [
    pytest.param("\N{CYRILLIC SMALL LETTER A}", id="cyrillic"),
    pytest.param("\N{FULLWIDTH LATIN SMALL LETTER A}", id="full width"),
    pytest.param("e\N{COMBINING ACUTE ACCENT}", id="nfd"),
    pytest.param("\N{LATIN SMALL LETTER E WITH ACUTE}", id="nfc"),
    pytest.param("a\N{ARABIC-INDIC DIGIT ONE}", id="digit"),
    pytest.param("\N{KELVIN SIGN}", id="folds to k"),
]


@pytest.mark.parametrize("name", NOT_ASCII)
@pytest.mark.parametrize(("method", "rest"), [("GET", "tags/list"), ("POST", "blobs/uploads/")])
def test_n08_no_unicode_in_names(server: LiveServer, method: str, rest: str, name: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, f"/v2/{quote(name)}/{rest}")
    assert_refused(server, answer, 400, "NAME_INVALID")


@pytest.mark.parametrize("name", NOT_ASCII)
def test_n08_no_unicode_unencoded(server: LiveServer, name: str) -> None:
    answer = raw(server, head("GET", b"/v2/" + name.encode() + b"/tags/list"))
    assert_refused_as(server, answer, (400, "NAME_INVALID"), (400, "UNSUPPORTED"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a" * 256, id="256 characters"),
        pytest.param("a/" * 127 + "aa", id="256 characters in components"),
        pytest.param("/".join(["a"] * 2000), id="2000 components"),
        pytest.param("a" * 8192, id="8 KiB"),
        pytest.param("a-" * 15_000 + "!", id="30 kB, for backtracking"),
    ],
)
@pytest.mark.parametrize(("method", "rest"), [("GET", "manifests/t"), ("POST", "blobs/uploads/")])
def test_n09_long_names(server: LiveServer, method: str, rest: str, name: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, f"/v2/{name}/{rest}")
    assert_refused(server, answer, 400, "NAME_INVALID")


@pytest.mark.parametrize("name", ["a" * 255, "a/" * 127 + "a"], ids=["one component", "128 components"])
def test_n09_longest_names(server: LiveServer, name: str) -> None:
    digest = push_image(server, name, image("n09"))
    assert get_manifest(server, name, digest).status == 200


@pytest.mark.parametrize("length", [LINE_LIMIT + 1, 100 * 1024, 1024 * 1024])
@pytest.mark.parametrize("prefix", ["/v2/", f"/v2/{ALIVE_NAME}/tags/list?last="], ids=["path", "query"])
def test_n09_request_line_over_the_limit(server: LiveServer, prefix: str, length: int) -> None:
    assert_refused(server, request(server, "GET", prefix + "a" * length), 414, "UNSUPPORTED")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a-" * 512 * 1024 + "!", id="a-a-a-!"),
        pytest.param("a" * 1024 * 1024, id="aaa"),
        pytest.param("a" + "-" * 1024 * 1024, id="a---"),
        pytest.param("a/" * 512 * 1024, id="a/a/"),
    ],
)
def test_n09_no_backtracking(text: str) -> None:
    with pytest.raises(NameInvalid):
        RepositoryName.parse(text)


@pytest.mark.parametrize(
    "name",
    [
        "a/manifests/b",
        "a/manifests",
        "tags/list",
        "x/blobs/uploads",
        "blobs",
        "uploads",
        "manifests",
        "referrers",
        "x/referrers",
        "v2",
        "v2/v2",
        f"a/blobs/{UPLOAD_ID}",
    ],
)
def test_n10_names_made_of_our_words(server: LiveServer, name: str) -> None:
    content = image("n10")
    digest = push_image(server, name, content, "latest")
    assert get_manifest(server, name, "latest").body == content.manifest
    assert get_manifest(server, name, digest).body == content.manifest
    assert tags(server, name) == ["latest"]
    assert request(server, "GET", f"/v2/{name}/referrers/{digest}").status == 200
    for part in content.blobs:
        assert request(server, "GET", f"/v2/{name}/blobs/{part.digest}").body == part.data
    assert request(server, "GET", f"/v2/{name}/tags/list").document["name"] == name


@pytest.mark.parametrize("rest", [rest for method, rest in ENDPOINTS if method == "GET"])
def test_n10_the_catalog_is_no_repository(server: LiveServer, rest: str) -> None:
    assert_refused(server, request(server, "GET", f"/v2/_catalog/{rest}"), 400, "NAME_INVALID")


@pytest.mark.parametrize(
    "target",
    [
        "/v2/a",
        "/v2/a/",
        "/v2/a/b/c",
        "/v2/a/tags",
        "/v2/a/tags/list/more",
        "/v2/a/unknown/t",
        "/v2/a/manifests/b/c",
        "/v2/a/blobs/uploads/x/y",
        "/v2/a/_oci/ext/unknown",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_n10_no_such_route(server: LiveServer, method: str, target: str) -> None:
    assert_refused(server, request(server, method, target), 404, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v2/a/manifests/t"),
        ("PATCH", "/v2/a/manifests/t"),
        ("POST", f"/v2/a/blobs/{DIGEST}"),
        ("PUT", f"/v2/a/blobs/{DIGEST}"),
        ("PUT", "/v2/a/tags/list"),
        ("DELETE", "/v2/a/tags/list"),
        ("PUT", f"/v2/a/referrers/{DIGEST}"),
        ("POST", f"/v2/a/blobs/uploads/{UPLOAD_ID}"),
        ("PUT", "/v2/a/blobs/uploads/"),
        ("DELETE", "/v2/_catalog"),
        ("PUT", "/v2/"),
    ],
)
def test_n10_method_that_a_route_lacks(server: LiveServer, method: str, target: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, target)
    assert_refused(server, answer, 405, "UNSUPPORTED")
    allowed = {word.strip() for word in answer.headers["Allow"].split(",")}
    assert allowed
    assert method not in allowed


@pytest.mark.parametrize("end", ["uploads", "uploads/"])
def test_n10_uploads_with_and_without_slash(server: LiveServer, end: str) -> None:
    answer = request(server, "POST", f"/v2/n10/uploads/blobs/{end}")
    assert answer.status == 202, answer.story
    assert answer.location.startswith("/v2/n10/uploads/blobs/uploads/")
    assert request(server, "DELETE", answer.location).status == 204


def test_n10_encoded_colon_in_a_digest(server: LiveServer) -> None:
    part = ALIVE.blobs[0]
    answer = request(server, "GET", f"/v2/{ALIVE_NAME}/blobs/{quote(part.digest, safe='')}")
    assert (answer.status, answer.body) == (200, part.data)


def test_n10_referrers_of_no_digest(server: LiveServer) -> None:
    answer = request(server, "GET", "/v2/x/referrers/notadigest")
    assert_refused(server, answer, 400, "DIGEST_INVALID")


def test_n10_long_name_with_a_long_digest(server: LiveServer) -> None:
    name, data = "n" * 230, b"n10"
    digest = f"sha512:{hashlib.sha512(data).hexdigest()}"
    pushed = request(server, "POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
    assert pushed.status == 201, pushed.story
    assert request(server, "GET", f"/v2/{name}/blobs/{digest}").body == data


def test_n10_a_tag_twice_named(server: LiveServer) -> None:
    with nothing_stored(server):
        answer = put_manifest(server, ALIVE_NAME, "v1?tag=v2", ALIVE.manifest)
    assert_refused(server, answer, 400, "MANIFEST_INVALID")


BAD_TAGS = [
    pytest.param("", id="empty"),
    pytest.param("t" * 129, id="129 characters"),
    pytest.param(".a", id="starts with a dot"),
    pytest.param("-a", id="starts with a dash"),
    pytest.param("a%25b", id="percent"),
    pytest.param("a%7Fb", id="delete"),
    pytest.param("a%20b", id="space"),
    pytest.param("a+b", id="plus"),
    pytest.param("a~b", id="tilde"),
    pytest.param("a@b", id="at"),
    pytest.param("%5C", id="backslash"),
    pytest.param("a%2Fb", id="slash"),
    pytest.param("a%00b", id="nul"),
    pytest.param("a%0d%0ab", id="crlf"),
    pytest.param("v1%0a", id="line break after a real one"),
    pytest.param("%ff%fe", id="not utf-8"),
    pytest.param("%D0%B0", id="not ascii"),
]


@pytest.mark.parametrize("tag", BAD_TAGS)
def test_n11_push_to_a_bad_tag(server: LiveServer, tag: str) -> None:
    with nothing_stored(server):
        answer = put_manifest(server, ALIVE_NAME, tag, ALIVE.manifest)
    assert_refused(server, answer, 400, "MANIFEST_INVALID")


@pytest.mark.parametrize("tag", BAD_TAGS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_n11_bad_tags_are_unknown(server: LiveServer, method: str, tag: str) -> None:
    answer = request(server, method, f"/v2/{ALIVE_NAME}/manifests/{tag}")
    assert_refused(server, answer, 404, "MANIFEST_UNKNOWN")


def test_n11_longest_tag(server: LiveServer) -> None:
    tag = "_" + "T.-" * 42 + "t"
    assert len(tag) == 128
    push_image(server, "n11", image("n11"), tag)
    assert tags(server, "n11") == [tag]


@pytest.mark.parametrize("reference", ["sha256:abc", "sha256%3Aabc", "sha512:abc", "sha256:", ":abc", "a:b:c"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_n12_a_colon_makes_it_a_digest(server: LiveServer, method: str, reference: str) -> None:
    body = ALIVE.manifest if method == "PUT" else b""
    headers = {"Content-Type": OCI.manifest} if method == "PUT" else {}
    with nothing_stored(server):
        answer = request(server, method, f"/v2/{ALIVE_NAME}/manifests/{reference}", body, headers=headers)
    assert_refused(server, answer, 400, "DIGEST_INVALID")
    assert tags(server, ALIVE_NAME) == [ALIVE_TAG]


BAD_DIGESTS = [
    pytest.param(f"sha256:{HEX[:-1]}", id="63 digits"),
    pytest.param(f"sha256:{HEX}0", id="65 digits"),
    pytest.param(f"sha256:{HEX.upper()}", id="upper case"),
    pytest.param(f"sha256:{HEX[:-1]}g", id="not hex"),
    pytest.param(f"SHA256:{HEX}", id="algorithm in upper case"),
    pytest.param(f"sha512:{HEX}", id="sha512 too short"),
    pytest.param("sha256:", id="nothing"),
    pytest.param(f"sha256: {HEX}", id="space"),
    pytest.param(f"sha256::{HEX}", id="two colons"),
]
NO_DIGESTS = [
    pytest.param(f"sha256-{HEX}", id="dash"),
    pytest.param(HEX, id="bare hex"),
    pytest.param("a/b", id="slash"),
    pytest.param(f"{DIGEST}\n", id="line break"),
    pytest.param(f"{DIGEST}\0", id="nul"),
]
BLOB_PLACES = [
    ("GET", f"/v2/{ALIVE_NAME}/blobs/{{}}"),
    ("HEAD", f"/v2/{ALIVE_NAME}/blobs/{{}}"),
    ("DELETE", f"/v2/{ALIVE_NAME}/blobs/{{}}"),
    ("GET", f"/v2/{ALIVE_NAME}/referrers/{{}}"),
    ("POST", f"/v2/{ALIVE_NAME}/blobs/uploads/?digest={{}}"),
    ("POST", f"/v2/{ALIVE_NAME}/blobs/uploads/?mount={{}}&from=n13"),
]


@pytest.mark.parametrize("digest", [*BAD_DIGESTS, *NO_DIGESTS])
@pytest.mark.parametrize(("method", "template"), BLOB_PLACES)
def test_n13_malformed_digests(server: LiveServer, method: str, template: str, digest: str) -> None:
    with nothing_stored(server):
        answer = request(server, method, at(template, digest))
    assert_refused(server, answer, 400, "DIGEST_INVALID")


@pytest.mark.parametrize("digest", BAD_DIGESTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_n13_malformed_digests_of_manifests(server: LiveServer, method: str, digest: str) -> None:
    target = at(f"/v2/{ALIVE_NAME}/manifests/{{}}", digest)
    with nothing_stored(server):
        answer = request(server, method, target, ALIVE.manifest if method == "PUT" else b"")
    assert_refused(server, answer, 400, "DIGEST_INVALID")


@pytest.mark.parametrize("spell", [str.upper, str.capitalize, str.title])
def test_n13_one_digest_has_one_spelling(server: LiveServer, spell: Callable[[str], str]) -> None:
    answer = request(server, "GET", f"/v2/{ALIVE_NAME}/blobs/{spell(ALIVE.blobs[0].digest)}")
    assert_refused(server, answer, 400, "DIGEST_INVALID")


def test_n13_a_dash_makes_it_a_tag(server: LiveServer) -> None:
    tag = f"sha256-{HEX}"
    digest = push_image(server, "n13/tag", image("n13"), tag)
    assert get_manifest(server, "n13/tag", tag).headers["Docker-Content-Digest"] == digest


FOREIGN = [
    pytest.param("md5:" + HEX[:32], id="md5"),
    pytest.param("sha1:" + HEX[:40], id="sha1"),
    pytest.param("blake3:" + HEX, id="blake3"),
    pytest.param("sha384:" + HEX + HEX[:32], id="sha384"),
    pytest.param("a+b:c", id="made up"),
]


@pytest.mark.parametrize("digest", FOREIGN)
@pytest.mark.parametrize(
    ("method", "template"),
    [
        ("POST", f"/v2/{ALIVE_NAME}/blobs/uploads/?digest={{}}"),
        ("POST", f"/v2/{ALIVE_NAME}/blobs/uploads/?mount={{}}"),
        ("PUT", f"/v2/{ALIVE_NAME}/manifests/{{}}"),
    ],
)
def test_n14_foreign_algorithms_on_push(server: LiveServer, method: str, template: str, digest: str) -> None:
    headers = {"Content-Type": OCI.manifest}
    with nothing_stored(server):
        answer = request(server, method, at(template, digest), ALIVE.manifest, headers=headers)
    assert_refused(server, answer, 400, "DIGEST_INVALID")


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "SHA256", "sha256:", "%00"])
def test_n14_foreign_algorithm_announced(server: LiveServer, algorithm: str) -> None:
    with nothing_stored(server):
        answer = request(server, "POST", f"/v2/{ALIVE_NAME}/blobs/uploads/?digest-algorithm={algorithm}")
    assert_refused(server, answer, 400, "DIGEST_INVALID")


@pytest.mark.parametrize("digest", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("keyword", "code"), [("blobs", "BLOB_UNKNOWN"), ("manifests", "MANIFEST_UNKNOWN")])
def test_n14_foreign_algorithms_on_pull(server: LiveServer, keyword: str, code: str, method: str, digest: str) -> None:
    answer = request(server, method, at(f"/v2/{ALIVE_NAME}/{keyword}/{{}}", digest))
    assert_refused(server, answer, 404, code)


def test_n15_sha512_of_a_known_blob_is_its_own(server: LiveServer) -> None:
    data = b"n15: one content, two digests"
    short, long = push_blob(server, "n15", data), f"sha512:{hashlib.sha512(data).hexdigest()}"
    before = snapshot(server).rows
    pushed = request(server, "POST", f"/v2/n15/blobs/uploads/?digest={long}", data)
    assert (pushed.status, pushed.headers["Docker-Content-Digest"]) == (201, long)
    after = snapshot(server).rows
    assert (after["blob"], after["link"]) == (before["blob"] + 1, before["link"] + 1)
    assert request(server, "DELETE", f"/v2/n15/blobs/{short}").status == 202
    assert request(server, "HEAD", f"/v2/n15/blobs/{short}").status == 404
    kept = request(server, "GET", f"/v2/n15/blobs/{long}")
    assert (kept.body, kept.headers["Docker-Content-Digest"]) == (data, long)


TAGS = ["A", "_", "a", "b.c", "v1", "v10", "v2"]


@pytest.fixture(scope="module")
def tagged(server: LiveServer) -> str:
    content = image("n16")
    push_image(server, "n16", content, TAGS[0])
    for tag in TAGS[1:]:
        push_manifest(server, "n16", content.manifest, tag)
    return "n16"


LASTS = [
    pytest.param("", "", id="empty"),
    pytest.param("%00", "\0", id="nul"),
    pytest.param("v1%00", "v1\0", id="nul after a tag"),
    pytest.param("..%2F", "../", id="dots"),
    pytest.param("../", "../", id="dots unencoded"),
    pytest.param("v1", "v1", id="a tag"),
    pytest.param("v1.gone", "v1.gone", id="no tag"),
    pytest.param("a" * 30_000, "a" * 30_000, id="30 kB"),
    pytest.param("%0d%0aX-Injected:%201", "\r\n", id="crlf"),
    pytest.param("'%20OR%201=1--", "'", id="sql"),
    pytest.param("%25", "%", id="percent"),
    pytest.param("%ff%fe", "\N{REPLACEMENT CHARACTER}", id="not utf-8"),
    pytest.param("%F0%9F%90%B3", "\N{SPOUTING WHALE}", id="not ascii"),
]


@pytest.mark.parametrize(("last", "meant"), LASTS)
def test_n16_any_last_filters_the_tags(server: LiveServer, tagged: str, last: str, meant: str) -> None:
    answer = request(server, "GET", f"/v2/{tagged}/tags/list?last={last}")
    assert (answer.status, "X-Injected" in answer.headers) == (200, False), answer.story
    assert answer.document == {"name": tagged, "tags": [tag for tag in TAGS if tag > meant]}


@pytest.mark.parametrize(("last", "meant"), LASTS)
def test_n16_any_last_filters_the_catalog(server: LiveServer, tagged: str, last: str, meant: str) -> None:
    everything = request(server, "GET", "/v2/_catalog").document["repositories"]
    assert tagged in everything
    answer = request(server, "GET", f"/v2/_catalog?last={last}")
    assert answer.status == 200, answer.story
    assert answer.document == {"repositories": [name for name in everything if name > meant]}


@pytest.mark.parametrize("target", ["/v2/n16/tags/list", "/v2/_catalog"])
def test_n16_last_beyond_the_request_line(server: LiveServer, tagged: str, target: str) -> None:
    assert tagged
    answer = request(server, "GET", f"{target}?last={'a' * 100 * 1024}")
    assert_refused(server, answer, 414, "UNSUPPORTED")


@pytest.mark.parametrize(
    "query",
    [
        "n=-1",
        "n=abc",
        "n=1e9",
        "n=1.0",
        "n=0x10",
        "n=%2B1",
        "n=1_0",
        "n=%201",
        "n=",
        "n=%00",
        "n=%D9%A1",
        "n=1&n=2",
    ],
)
@pytest.mark.parametrize("target", ["/v2/n16/tags/list", "/v2/_catalog"])
def test_n17_n_that_is_no_number(server: LiveServer, tagged: str, target: str, query: str) -> None:
    assert tagged
    assert_refused(server, request(server, "GET", f"{target}?{query}"), 400, "UNSUPPORTED")


@pytest.mark.parametrize("target", ["/v2/n16/tags/list", "/v2/_catalog"])
def test_n17_no_entries(server: LiveServer, tagged: str, target: str) -> None:
    assert tagged
    answer = request(server, "GET", f"{target}?n=0")
    listed = answer.document.get("tags", answer.document.get("repositories"))
    assert (answer.status, listed, answer.headers["Link"]) == (200, [], None)


@pytest.fixture(scope="module")
def many_tags(server: LiveServer) -> list[str]:
    """One tag more than the largest page and some."""
    names = [f"t{number:04}" for number in range(1010)]
    content = image("n17")
    push_image(server, "n17", content, names[0])
    for first in range(0, len(names), 10):
        query = "&".join(f"tag={name}" for name in names[first : first + 10])
        answer = put_manifest(server, "n17", f"{content.digest}?{query}", content.manifest)
        assert answer.status == 201, answer.story
    return names


@pytest.mark.parametrize("n", ["1000", "1001", "1000000000", "9999999999999999999999", "1" + "0" * 5000])
def test_n17_large_n_is_clamped(server: LiveServer, many_tags: list[str], n: str) -> None:
    first = request(server, "GET", f"/v2/n17/tags/list?n={n}")
    assert (first.status, first.document["tags"]) == (200, many_tags[:1000])
    target, _, relation = first.headers["Link"].partition(">; ")
    assert relation == 'rel="next"'
    second = request(server, "GET", target.removeprefix("<"))
    assert (second.document["tags"], second.headers["Link"]) == (many_tags[1000:], None)


@pytest.fixture(scope="module")
def referred(server: LiveServer) -> bytes:
    """The start of a query for referrers, one of which no strange filter may show."""
    push_blob(server, "n18", b"{}")
    subject = descriptor(OCI.manifest, ALIVE.manifest)
    push_manifest(server, "n18", image_manifest(b"{}", [], subject=subject))
    return f"/v2/n18/referrers/{ALIVE.digest}?artifactType=".encode()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"a%0d%0aX-Injected:%201", id="crlf"),
        pytest.param(b"%3Cscript%3Ealert(1)%3C/script%3E", id="html"),
        pytest.param(b"<script>alert(1)</script>", id="html unencoded"),
        pytest.param(b"%00", id="nul"),
        pytest.param(b"%ff%fe", id="not utf-8"),
        pytest.param(b"x" * 30_000, id="30 kB"),
        pytest.param(b"", id="empty"),
        pytest.param(b"%25&artifactType=_", id="wildcards, twice"),
    ],
)
def test_n18_artifact_type_filters_or_is_refused(server: LiveServer, referred: bytes, value: bytes) -> None:
    answer = raw(server, head("GET", referred + value))
    assert "X-Injected" not in answer.headers
    assert answer.headers["OCI-Filters-Applied"] in {None, "artifactType"}
    if answer.status == 200:
        assert answer.document["manifests"] == [] or not value
        assert b"<script" not in answer.body
    else:
        assert_refused(server, answer, 400, answer.code)


def test_n18_artifact_type_beyond_the_request_line(server: LiveServer, referred: bytes) -> None:
    answer = raw(server, head("GET", referred + b"x" * 64 * 1024))
    assert_refused(server, answer, 414, "UNSUPPORTED")


@pytest.mark.parametrize("order", [1, -1], ids=["right first", "right last"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_n19_two_digests(server: LiveServer, method: str, order: int) -> None:
    data = b"n19"
    query = "&".join([f"digest={digest_of(data)}", f"digest={DIGEST}"][::order])
    target = "/v2/n19/blobs/uploads/" if method == "POST" else start_upload(server, "n19")
    with nothing_stored(server, but_uploads=True):
        answer = request(server, method, f"{target}{'&' if '?' in target else '?'}{query}", data)
    assert_refused(server, answer, 400, "DIGEST_INVALID")
    assert request(server, "HEAD", f"/v2/n19/blobs/{digest_of(data)}").status == 404


THOUSAND = "&".join(f"tag=t{number}" for number in range(1000))


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(THOUSAND, id="a thousand"),
        pytest.param("tag=good&tag=-bad&tag=fine", id="one invalid"),
        pytest.param("tag=good&tag=", id="one empty"),
        pytest.param(f"tag=good&tag={DIGEST}", id="one a digest"),
        pytest.param("tag=good&tag=" + "t" * 129, id="one too long"),
        pytest.param("tag=good&tag=a%00b", id="one with nul"),
    ],
)
def test_n20_all_tags_or_none(server: LiveServer, query: str) -> None:
    content = image("n20")
    for part in content.blobs:
        push_blob(server, "n20", part.data)
    with nothing_stored(server):
        answer = put_manifest(server, "n20", f"{content.digest}?{query}", content.manifest)
    assert_refused_as(server, answer, (400, "MANIFEST_INVALID"), (414, "UNSUPPORTED"))


def test_n20_duplicate_tags_collapse(server: LiveServer) -> None:
    content = image("n20")
    for part in content.blobs:
        push_blob(server, "n20/twice", part.data)
    answer = put_manifest(server, "n20/twice", f"{content.digest}?tag=a&tag=b&tag=a", content.manifest)
    assert answer.status == 201, answer.story
    assert tags(server, "n20/twice") == ["a", "b"]
    named = ",".join(answer.headers.get_all("OCI-Tag", []))
    assert [tag.strip() for tag in named.split(",")] == ["a", "b"]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("../secret", id="dots"),
        pytest.param("..%2Fsecret", id="dots encoded"),
        pytest.param("a" * 300, id="300 characters"),
        pytest.param("UPPER", id="bad name"),
        pytest.param("a%00b", id="nul"),
        pytest.param("%ff", id="not utf-8"),
        pytest.param("n21/target", id="itself, without the blob"),
        pytest.param("n21/unknown", id="unknown"),
    ],
)
def test_n21_bad_mount_sources_open_an_upload(server: LiveServer, source: str) -> None:
    digest = push_blob(server, "n21/source", b"n21")
    with nothing_stored(server, but_uploads=True):
        answer = request(server, "POST", f"/v2/n21/target/blobs/uploads/?mount={digest}&from={source}")
        assert answer.status == 202, answer.story
        assert request(server, "HEAD", f"/v2/n21/target/blobs/{digest}").status == 404
    assert request(server, "DELETE", answer.location).status == 204
    assert_no_traceback(server)


@pytest.mark.parametrize("name", ["N22/b", "n22/B"])
def test_n22_names_are_lower_case(server: LiveServer, name: str) -> None:
    push_image(server, "n22/b", image("n22"))
    assert_refused(server, get_manifest(server, name, "v1"), 400, "NAME_INVALID")


def test_n22_tags_differ_by_case(server: LiveServer) -> None:
    upper, lower = image("n22 upper"), image("n22 lower")
    push_image(server, "n22/tags", upper, "V1")
    push_image(server, "n22/tags", lower, "v1")
    assert tags(server, "n22/tags") == ["V1", "v1"]
    assert get_manifest(server, "n22/tags", "V1").body == upper.manifest
    assert request(server, "DELETE", "/v2/n22/tags/manifests/V1").status == 202
    assert get_manifest(server, "n22/tags", "v1").body == lower.manifest
    assert tags(server, "n22/tags") == ["v1"]
