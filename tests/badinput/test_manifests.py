"""Bad manifests and bodies (table b-3), and what the registry must take although it looks bad."""

import asyncio
import base64
import copy
import gzip
import hashlib
import io
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.support.images import (
    DOCKER,
    OCI,
    descriptor,
    digest_of,
    encode,
    image,
    image_manifest,
    index_manifest,
)
from tests.support.server import LiveServer
from tests.support.wire import (
    ALIVE,
    ALIVE_NAME,
    ALIVE_TAG,
    Answer,
    assert_no_traceback,
    assert_refused,
    assert_serving,
    chunk,
    get_manifest,
    head,
    nothing_stored,
    push_blob,
    push_image,
    push_manifest,
    put_manifest,
    query,
    raw,
    request,
    tags,
)

Json = dict[str, Any]

LIMIT = 4 * 1024 * 1024
NAME = "m"
CONFIG = b'{"m":1}'
LAYER = b"m"
NOWHERE = descriptor(OCI.layer, b"pushed nowhere")
REFERENCES = 10_000
NESTING = 8


@pytest.fixture(scope="module", autouse=True)
def parts(server: LiveServer) -> None:
    """The blobs of `document`, so that nothing but the manifest itself can be at fault."""
    push_blob(server, NAME, CONFIG)
    push_blob(server, NAME, LAYER)


def document(**changes: Any) -> Json:
    """A good image manifest with these fields set."""
    return {**json.loads(image_manifest(CONFIG, [LAYER])), **changes}


def without(*names: str, **changes: Any) -> Json:
    return {name: value for name, value in document(**changes).items() if name not in names}


def index(*children: Json, **changes: Any) -> Json:
    return {**json.loads(index_manifest(children)), **changes}


def spelled(field: str, text: str) -> bytes:
    """A good manifest whose one layer has this JSON text at `field`, whatever it is."""
    marked = copy.deepcopy(document())
    marked["layers"][0][field] = "MARK"
    return encode(marked).replace(b'"MARK"', text.encode())


def with_text(text: str | bytes, field: str = "unknown") -> bytes:
    """A good manifest with this JSON text as the value of a field, by default of one that nobody knows."""
    octets = text if isinstance(text, bytes) else text.encode()
    return encode(document(**{field: "MARK"})).replace(b'"MARK"', octets)


def padded(size: int) -> bytes:
    """A good manifest of exactly this many bytes."""
    missing = size - len(encode(document(annotations={"pad": ""})))
    return encode(document(annotations={"pad": "x" * missing}))


def assert_refused_manifest(server: LiveServer, payload: bytes, content_type: str = OCI.manifest) -> None:
    with nothing_stored(server):
        answer = put_manifest(server, NAME, "refused", payload, content_type)
    assert_refused(server, answer, 400, "MANIFEST_INVALID")


def assert_taken(server: LiveServer, payload: bytes, content_type: str = OCI.manifest) -> Answer:
    """Push by tag; what comes back by digest is what was sent."""
    answer = put_manifest(server, NAME, "taken", payload, content_type)
    assert answer.status == 201, answer.story
    stored = get_manifest(server, NAME, digest_of(payload))
    assert (stored.status, stored.body) == (200, payload), stored.story
    return answer


# M-01: size


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 100_000, 2 * LIMIT])
def test_m01_more_than_the_limit(server: LiveServer, size: int, chunked: bool) -> None:
    headers = {"Content-Type": OCI.manifest}
    target = f"/v2/{NAME}/manifests/large"
    with nothing_stored(server):
        answer = request(server, "PUT", target, padded(size), headers=headers, chunked=chunked)
    assert_refused(server, answer, 413, "MANIFEST_INVALID")


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        pytest.param({"Content-Length": str(2**40)}, b"{", id="declared"),
        pytest.param({"Transfer-Encoding": "chunked"}, chunk(b" " * 65536) * 80, id="never ending"),
    ],
)
def test_m01_reading_stops_at_the_limit(server: LiveServer, framing: Mapping[str, str], body: bytes) -> None:
    headers = {"Content-Type": OCI.manifest, **framing}
    answer = raw(server, head("PUT", f"/v2/{NAME}/manifests/large", headers) + body)
    assert_refused(server, answer, 413, "MANIFEST_INVALID")


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_m01_exactly_the_limit(server: LiveServer, chunked: bool) -> None:
    payload = padded(LIMIT)
    headers = {"Content-Type": OCI.manifest}
    answer = request(server, "PUT", f"/v2/{NAME}/manifests/m01", payload, headers=headers, chunked=chunked)
    assert answer.status == 201, answer.story
    assert get_manifest(server, NAME, "m01").body == payload


# M-02 to M-07: JSON


@pytest.mark.parametrize("content_type", [OCI.manifest, OCI.index, "application/json", ""])
@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b'"x"', b"{}", b"1", b"true", b"{", b'{"schemaVersion":2}', b"not json", b"[{}]"],
)
def test_m02_no_manifest_at_all(server: LiveServer, payload: bytes, content_type: str) -> None:
    assert_refused_manifest(server, payload, content_type)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"[" * 4_000_000, id="4 M brackets"),
        pytest.param(b'{"a":' * 800_000, id="800 k braces"),
        pytest.param(with_text("[" * 32 + "]" * 32), id="33 levels"),
        pytest.param(with_text('{"a":' * 40 + "1" + "}" * 40), id="41 objects"),
        pytest.param(with_text("[" * 2000 + "]" * 2000), id="2001 levels"),
        pytest.param(with_text("[" * 100_000 + "]" * 100_000), id="100 k levels"),
        pytest.param(with_text('{"a":' * 100_000 + "1" + "}" * 100_000), id="100 k objects"),
        pytest.param(with_text("[" * 200_000), id="200 k levels, open"),
    ],
)
def test_m03_nested_too_deeply(server: LiveServer, payload: bytes) -> None:
    assert_refused_manifest(server, payload)


def test_m03_nested_deeply(server: LiveServer) -> None:
    assert_taken(server, with_text("[" * 20 + "]" * 20))


# the layer has one byte: nothing but its spelling is wrong with most of these
BAD_SIZES = {
    "exponent": "1e0",
    "float": "1.0",
    "bool": "true",
    "string": '"1"',
    "negative": "-1",
    "2^53": str(2**53),
    "2^63": str(2**63),
    "2^64": str(2**64),
    "null": "null",
    "list": "[1]",
    "leading zero": "01",
    "hex": "0x1",
    "4 M digits": "1" * 4_000_000,
}


@pytest.mark.parametrize("text", BAD_SIZES.values(), ids=BAD_SIZES.keys())
def test_m04_size_that_is_no_size(server: LiveServer, text: str) -> None:
    assert_refused_manifest(server, spelled("size", text))


@pytest.mark.parametrize("digits", [21, 4300, 5000, 4_000_000])
def test_m04_long_number_elsewhere(server: LiveServer, digits: int) -> None:
    assert_refused_manifest(server, with_text("1" * digits))


@pytest.mark.parametrize("version", [1, 3, "2", 2.0, True, None, [2]], ids=repr)
def test_m04_schema_version(server: LiveServer, version: object) -> None:
    assert_refused_manifest(server, encode(document(schemaVersion=version)))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("place", ["size", "unknown"])
def test_m05_constants_that_json_lacks(server: LiveServer, place: str, constant: str) -> None:
    payload = spelled("size", constant) if place == "size" else with_text(constant)
    assert_refused_manifest(server, payload)


TWICE = {
    "top": encode(document())[:-1] + b',"mediaType":"application/vnd.oci.image.manifest.v1+json"}',
    "top, escaped": encode(document())[:-1] + b',"\\u006cayers":[]}',
    "descriptor": spelled("size", f'{len(LAYER)},"size":{len(LAYER)}'),
    "annotations": with_text('{"a":"1","a":"1"}', "annotations"),
    "unknown field": with_text('{"a":1,"a":1}'),
    "deep": with_text('[[[{"b":{"a":1,"a":2}}]]]'),
}


@pytest.mark.parametrize("payload", TWICE.values(), ids=TWICE.keys())
def test_m06_a_key_twice(server: LiveServer, payload: bytes) -> None:
    assert_refused_manifest(server, payload)


def renamed(old: str, new: str) -> bytes:
    return encode(document()).replace(f'"{old}"'.encode(), f'"{new}"'.encode(), 1)


OTHER_CASE = {
    "MediaType added": encode(document(MediaType=OCI.index)),
    "Manifests added": encode(document(Manifests=[])),
    "SUBJECT added": encode(document(SUBJECT=descriptor(OCI.manifest, b"{}"))),
    "layerS added": encode(document(layerS=[])),
    "Layers instead": renamed("layers", "Layers"),
    "schemaversion instead": renamed("schemaVersion", "schemaversion"),
    "Digest in a descriptor": spelled("Digest", f'"{digest_of(LAYER)}"'),
    "SIZE in a descriptor": spelled("SIZE", "1"),
    "long s in size": spelled("\N{LATIN SMALL LETTER LONG S}ize", "1"),
}


@pytest.mark.parametrize("payload", OTHER_CASE.values(), ids=OTHER_CASE.keys())
def test_m06_a_field_in_another_case(server: LiveServer, payload: bytes) -> None:
    assert_refused_manifest(server, payload)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(encode(document(annotations={"a": "1", "A": "2"})), id="annotations"),
        pytest.param(with_text('{"a":1,"A":2}'), id="unknown fields"),
        pytest.param(with_text("1.5"), id="float in an unknown field"),
    ],
)
def test_m06_free_keys(server: LiveServer, payload: bytes) -> None:
    assert_taken(server, payload)


GOOD = encode(document())
BAD_TEXT = {
    "utf-16": GOOD.decode().encode("utf-16"),
    "utf-16-le": GOOD.decode().encode("utf-16-le"),
    "utf-16-be": GOOD.decode().encode("utf-16-be"),
    "utf-32": GOOD.decode().encode("utf-32"),
    "utf-32-le": GOOD.decode().encode("utf-32-le"),
    "bom": GOOD.decode().encode("utf-8-sig"),
    "invalid utf-8": with_text(b'"\xff"'),
    "overlong": with_text(b'"\xc0\xaf"'),
    "surrogate in utf-8": with_text(b'"\xed\xa0\x80"'),
    "latin-1": with_text('"\N{LATIN SMALL LETTER E WITH ACUTE}"'.encode("latin-1")),
    "lone high surrogate": with_text('"\\ud800"'),
    "lone low surrogate": with_text('"\\udc00"'),
    "surrogates swapped": with_text('"\\udc00\\ud800"'),
    "surrogate as a key": with_text('{"\\udfff":1}'),
    "nul": with_text('"a\\u0000b"'),
    "nul as a key": with_text('{"\\u0000":1}'),
    "raw control character": with_text(b'"a\x01b"'),
    "raw newline": with_text(b'"a\nb"'),
    "object after": GOOD + b"{}",
    "letter after": GOOD + b" x",
    "nul after": GOOD + b"\x00",
    "comma after": GOOD + b",",
    "comma inside": GOOD[:-1] + b",}",
    "comment": GOOD + b"// good",
    "single quotes": GOOD.replace(b'"', b"'"),
}


@pytest.mark.parametrize("payload", BAD_TEXT.values(), ids=BAD_TEXT.keys())
def test_m07_text_that_is_not_strict(server: LiveServer, payload: bytes) -> None:
    assert_refused_manifest(server, payload)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(with_text('"\\ud83d\\udc33"'), id="surrogate pair"),
        pytest.param(with_text('"\N{SPOUTING WHALE}"'), id="utf-8"),
        pytest.param(with_text('"\\\\u0000 \\\\ud800"'), id="escaped escapes"),
        pytest.param(b" \n\t" + GOOD + b"\r\n  ", id="white space"),
        pytest.param(json.dumps(document(), indent=3).encode(), id="indented"),
    ],
)
def test_m07_text_that_is(server: LiveServer, payload: bytes) -> None:
    assert_taken(server, payload)


# M-08 to M-10: what it claims to be

MIXED_UP = {
    "header says index": (OCI.index, document()),
    "header says docker": (DOCKER.manifest, document()),
    "body says index": (OCI.manifest, document(mediaType=OCI.index)),
    "body says docker": (OCI.manifest, document(mediaType=DOCKER.manifest)),
    "docker without mediaType": (DOCKER.manifest, without("mediaType")),
    "body with parameters": (OCI.manifest, document(mediaType=f"{OCI.manifest}; charset=utf-8")),
    "body in upper case": (OCI.manifest, document(mediaType=OCI.manifest.upper())),
    "body with crlf": (OCI.manifest, document(mediaType=f"{OCI.manifest}\r\nX-Injected: 1")),
    "body not a string": (OCI.manifest, document(mediaType=[OCI.manifest])),
    "html": ("text/html", document()),
    "svg": ("image/svg+xml", document()),
    "svg, twice": ("image/svg+xml", document(mediaType="image/svg+xml")),
    "markup": ("text/<script>", document(mediaType="text/<script>")),
    "octet-stream": ("application/octet-stream", without("mediaType")),
    "4 KiB": ("application/" + "x" * 4096, document()),
    "two types": (f"{OCI.manifest}, {OCI.index}", document()),
    "dead artifact type": (
        "application/vnd.oci.artifact.manifest.v1+json",
        document(mediaType="application/vnd.oci.artifact.manifest.v1+json"),
    ),
    "only parameters": ("; charset=utf-8", without("mediaType")),
    "neither": ("", without("mediaType")),
    "layer type with crlf": (OCI.manifest, document(layers=[{**NOWHERE, "mediaType": "a/b\r\nc: d"}])),
    "layer type not a type": (OCI.manifest, document(layers=[{**NOWHERE, "mediaType": "<script>"}])),
    "config without a type": (OCI.manifest, document(config={"digest": digest_of(CONFIG), "size": 7})),
}


@pytest.mark.parametrize(("content_type", "claimed"), MIXED_UP.values(), ids=MIXED_UP.keys())
def test_m08_types_that_do_not_fit(server: LiveServer, content_type: str, claimed: Json) -> None:
    assert_refused_manifest(server, encode(claimed), content_type)


def test_m08_neither_type_and_no_header(server: LiveServer) -> None:
    with nothing_stored(server):
        answer = request(server, "PUT", f"/v2/{NAME}/manifests/refused", encode(without("mediaType")))
    assert_refused(server, answer, 400, "MANIFEST_INVALID")


@pytest.mark.parametrize(
    ("headers", "claimed"),
    [
        pytest.param({}, document(), id="no header"),
        pytest.param({"Content-Type": ""}, document(), id="empty header"),
        pytest.param({"Content-Type": f"{OCI.manifest}; charset=utf-8"}, document(), id="parameters"),
        pytest.param({"Content-Type": OCI.manifest.upper()}, document(), id="upper case"),
        pytest.param({"Content-Type": OCI.manifest}, without("mediaType"), id="no mediaType"),
    ],
)
def test_m08_types_that_do(server: LiveServer, headers: Mapping[str, str], claimed: Json) -> None:
    pushed = request(server, "PUT", f"/v2/{NAME}/manifests/m08", encode(claimed), headers=headers)
    assert pushed.status == 201, pushed.story
    assert get_manifest(server, NAME, "m08").headers["Content-Type"] == OCI.manifest


def test_m08_strange_artifact_types_reach_no_header(server: LiveServer) -> None:
    subject = descriptor(OCI.manifest, b"subject of m08")
    payload = encode(document(artifactType="a\r\nX-Injected: <script>", subject=subject))
    pushed = put_manifest(server, NAME, "m08-artifact", payload)
    assert pushed.status in {201, 400}, pushed.story
    listed = request(server, "GET", f"/v2/{NAME}/referrers/{subject['digest']}")
    assert listed.status == 200, listed.story
    assert "X-Injected" not in (*pushed.headers, *listed.headers)
    assert_no_traceback(server)


DOCKER_IMAGE: Json = json.loads(image_manifest(CONFIG, [LAYER], flavour=DOCKER))
TWO_IN_ONE = {
    "image with manifests": (OCI.manifest, document(manifests=[])),
    "image with null manifests": (OCI.manifest, document(manifests=None)),
    "index with layers": (OCI.index, index(layers=[])),
    "index with config": (OCI.index, index(config=descriptor(OCI.config, CONFIG))),
    "index with both": (OCI.index, {**document(), **index()}),
    "no type of its own, read as index": (OCI.index, without("mediaType", manifests=[])),
    "no type of its own, read as image": (OCI.manifest, without("mediaType", manifests=[])),
    "image without config": (OCI.manifest, without("config")),
    "index without manifests": (OCI.index, without("config", "layers", mediaType=OCI.index)),
    "docker with subject": (DOCKER.manifest, {**DOCKER_IMAGE, "subject": descriptor(OCI.manifest, b"{}")}),
    "docker with artifactType": (DOCKER.manifest, {**DOCKER_IMAGE, "artifactType": "a/b"}),
    "docker with manifests": (DOCKER.manifest, {**DOCKER_IMAGE, "manifests": []}),
    "docker list with layers": (DOCKER.index, index(mediaType=DOCKER.index, layers=[])),
    "layers an object": (OCI.manifest, document(layers={})),
    "config a list": (OCI.manifest, document(config=[descriptor(OCI.config, CONFIG)])),
    "subject a string": (OCI.manifest, document(subject=digest_of(CONFIG))),
    "annotations a list": (OCI.manifest, document(annotations=["a"])),
    "annotation a number": (OCI.manifest, document(annotations={"a": 1})),
    "layer with md5": (OCI.manifest, document(layers=[{**NOWHERE, "digest": "md5:" + "0" * 32}])),
    "layer with half a digest": (OCI.manifest, document(layers=[{**NOWHERE, "digest": "sha256:<script>"}])),
    "layer without digest": (OCI.manifest, document(layers=[{"mediaType": OCI.layer, "size": 1}])),
}


@pytest.mark.parametrize(("content_type", "claimed"), TWO_IN_ONE.values(), ids=TWO_IN_ONE.keys())
def test_m09_one_kind_of_manifest_only(server: LiveServer, content_type: str, claimed: Json) -> None:
    assert_refused_manifest(server, encode(claimed), content_type)


SCHEMA_1: Json = {
    "schemaVersion": 1,
    "name": NAME,
    "tag": "v1",
    "architecture": "amd64",
    "fsLayers": [{"blobSum": digest_of(LAYER)}],
    "history": [{"v1Compatibility": "{}"}],
}
SIGNED = {**SCHEMA_1, "signatures": [{"header": {"alg": "ES256"}, "signature": "x", "protected": "x"}]}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/json",
        OCI.manifest,
        DOCKER.manifest,
        "",
    ],
)
@pytest.mark.parametrize("claimed", [SCHEMA_1, SIGNED], ids=["unsigned", "signed"])
def test_m10_schema_1(server: LiveServer, claimed: Json, content_type: str) -> None:
    assert_refused_manifest(server, encode(claimed), content_type)


# M-11 to M-13, M-18, M-19: what it refers to


def assert_missing(server: LiveServer, answer: Answer, *digests: str) -> None:
    """One entry for each digest that the repository lacks."""
    assert_refused(server, answer, 400, "MANIFEST_BLOB_UNKNOWN")
    assert sorted(entry["detail"]["digest"] for entry in answer.errors) == sorted(digests)


def test_m11_blob_of_another_repository(server: LiveServer) -> None:
    elsewhere = push_blob(server, "m11/elsewhere", b"m11")
    answers: dict[str, Answer] = {}
    for layer in (descriptor(OCI.layer, b"m11"), {**NOWHERE, "size": 3}):
        with nothing_stored(server):
            answers[layer["digest"]] = put_manifest(server, NAME, "m11", encode(document(layers=[layer])))
        assert_missing(server, answers[layer["digest"]], layer["digest"])
    theirs, nobodys = answers[elsewhere], answers[NOWHERE["digest"]]
    assert theirs.body.replace(elsewhere.encode(), NOWHERE["digest"].encode()) == nobodys.body
    assert sorted(theirs.headers.keys()) == sorted(nobodys.headers.keys())


def test_m11_each_missing_part_is_named(server: LiveServer) -> None:
    absent = [descriptor(OCI.layer, b"absent %d" % number) for number in range(3)]
    claimed = document(config=absent[0], layers=[descriptor(OCI.layer, LAYER), *absent[1:], absent[2]])
    with nothing_stored(server):
        answer = put_manifest(server, NAME, "m11", encode(claimed))
    assert_missing(server, answer, *(layer["digest"] for layer in absent))


def test_m11_missing_children_of_an_index(server: LiveServer) -> None:
    absent = [descriptor(OCI.manifest, b"absent %d" % number) for number in range(2)]
    with nothing_stored(server):
        answer = put_manifest(server, NAME, "m11", encode(index(*absent)), OCI.index)
    assert_missing(server, answer, *(child["digest"] for child in absent))


def test_m12_an_index_can_not_wait_for_its_child(server: LiveServer) -> None:
    """A cycle needs a digest that is not there yet: the first index of it is refused."""
    later = index(descriptor(OCI.index, b"the other index"))
    with nothing_stored(server):
        answer = put_manifest(server, NAME, "m12", encode(later), OCI.index)
    assert_missing(server, answer, digest_of(b"the other index"))


def test_m12_nesting_of_indexes(server: LiveServer) -> None:
    payload, media_type = encode(document()), OCI.manifest
    push_manifest(server, NAME, payload)
    for _ in range(NESTING):
        payload, media_type = encode(index(descriptor(media_type, payload))), OCI.index
        push_manifest(server, NAME, payload, media_type=media_type)
    assert_refused_manifest(server, encode(index(descriptor(media_type, payload))), OCI.index)


def test_m12_too_many_children(server: LiveServer) -> None:
    push_manifest(server, NAME, GOOD)
    child = descriptor(OCI.manifest, GOOD)
    assert_refused_manifest(server, encode(index(*[child] * (REFERENCES + 1))), OCI.index)


def test_m12_many_children(server: LiveServer) -> None:
    push_manifest(server, NAME, GOOD)
    payload = encode(index(*[descriptor(OCI.manifest, GOOD)] * REFERENCES))
    assert_taken(server, payload, OCI.index)


def test_m12_many_missing_children(server: LiveServer) -> None:
    absent = [descriptor(OCI.manifest, b"%d" % number) for number in range(REFERENCES)]
    with nothing_stored(server):
        answer = put_manifest(server, NAME, "m12", encode(index(*absent)), OCI.index)
    assert_refused(server, answer, 400, "MANIFEST_BLOB_UNKNOWN")


def resized(data: bytes, media_type: str, by: int) -> Json:
    return {**descriptor(media_type, data), "size": len(data) + by}


@pytest.mark.parametrize("by", [-1, 1, 2**40])
def test_m13_size_of_a_part(server: LiveServer, by: int) -> None:
    assert_refused_manifest(server, encode(document(config=resized(CONFIG, OCI.config, by))))
    assert_refused_manifest(server, encode(document(layers=[resized(LAYER, OCI.layer, by)])))


@pytest.mark.parametrize("by", [-1, 1])
def test_m13_size_of_a_child(server: LiveServer, by: int) -> None:
    push_manifest(server, NAME, GOOD)
    assert_refused_manifest(server, encode(index(resized(GOOD, OCI.manifest, by))), OCI.index)


def test_m13_two_sizes_of_one_digest(server: LiveServer) -> None:
    both = [descriptor(OCI.layer, LAYER), resized(LAYER, OCI.layer, 1)]
    assert_refused_manifest(server, encode(document(layers=both)))
    assert_refused_manifest(server, encode(document(layers=both[::-1])))


def test_m13_one_layer_twice(server: LiveServer) -> None:
    assert_taken(server, encode(document(layers=[descriptor(OCI.layer, LAYER)] * 3)))


def referrers(server: LiveServer, name: str, subject: str) -> list[Json]:
    """All pages of a referrers list, each of which one client must be able to read."""
    found: list[Json] = []
    target = f"/v2/{name}/referrers/{subject}"
    while target:
        page = request(server, "GET", target)
        assert (page.status, page.headers.get_content_type()) == (200, OCI.index), page.story
        assert len(page.body) <= LIMIT
        found += page.document["manifests"]
        target = next_target(page)
    return found


def next_target(page: Answer) -> str:
    target, _, relation = (page.headers["Link"] or "").partition(">; ")
    assert relation in {"", 'rel="next"'}, page.story
    return target.removeprefix("<")


def test_m14_subject_that_is_not_there(server: LiveServer) -> None:
    subject = descriptor(OCI.manifest, b"subject of m14")
    pushed = assert_taken(server, encode(document(subject=subject)))
    assert pushed.headers["OCI-Subject"] == subject["digest"]
    listed = referrers(server, NAME, subject["digest"])
    assert [entry["digest"] for entry in listed] == [pushed.headers["Docker-Content-Digest"]]


async def test_m15_referrers_come_in_pages(server: LiveServer) -> None:
    """3,000 of them: the 100,000 of the table is a command's work."""
    subject = descriptor(OCI.manifest, b"subject of m15")
    payloads = [
        encode(document(subject=subject, annotations={"number": str(number), "pad": "x" * 2000}))
        for number in range(3000)
    ]
    async with ClientSession(server.url) as session:
        statuses = await put_all(session, payloads)
    assert set(statuses) == {201}
    listed = await asyncio.to_thread(referrers, server, NAME, subject["digest"])
    assert sorted(entry["digest"] for entry in listed) == sorted(map(digest_of, payloads))
    assert sum(len(encode(entry)) for entry in listed) > LIMIT


async def put_all(session: ClientSession, payloads: Sequence[bytes], reference: str = "") -> list[int]:
    """PUT these manifests by `reference` or else their digests, 64 at a time."""
    turn = asyncio.Semaphore(64)

    async def put(payload: bytes) -> int:
        async with turn:
            return await put_status(session, reference or digest_of(payload), payload)

    return await asyncio.gather(*map(put, payloads))


async def put_status(session: ClientSession, reference: str, payload: bytes, media_type: str = OCI.manifest) -> int:
    target, headers = f"/v2/{NAME}/manifests/{reference}", {"Content-Type": media_type}
    async with session.put(target, data=io.BytesIO(payload), headers=headers) as answer:
        await answer.read()
        return answer.status


STRANGE: dict[str, dict[str, str]] = {
    "10,000 keys": {f"key {number}": str(number) for number in range(10_000)},
    "1 MiB value": {"large": "x" * 1024 * 1024},
    "1 MiB key": {"x" * 1024 * 1024: "large"},
    "markup": {"<script>alert(1)</script>": "<img src=x onerror=alert(1)>"},
    "terminal": {"ansi": "\x1b[2J\x1b]0;owned\x07", "bell": "\x07"},
    "right to left": {"rtl": "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe"},
    "prototype": {"__proto__": "polluted", "constructor": "polluted"},
    "template": {"jinja": "{{7*7}} {% raw %} ${7*7}"},
    "line breaks": {"a": "b\r\nX-Injected: 1"},
    "empty": {"": ""},
}


@pytest.mark.parametrize("annotations", STRANGE.values(), ids=STRANGE.keys())
def test_m16_annotations_are_kept_verbatim(server: LiveServer, annotations: Mapping[str, str]) -> None:
    offset = server.log.stat().st_size
    subject = descriptor(OCI.manifest, encode(annotations))
    pushed = assert_taken(server, encode(document(subject=subject, annotations=annotations)))
    assert [entry["annotations"] for entry in referrers(server, NAME, subject["digest"])] == [annotations]
    assert "X-Injected" not in pushed.headers
    with server.log.open("rb") as log:
        log.seek(offset)
        written = log.read()
    assert [mark for mark in (b"\x1b", b"onerror", b"u001b", b"polluted", b"7*7") if mark in written] == []


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """An address where a fetch would be noticed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def test_m17_urls_are_never_fetched(server: LiveServer, trap: socket.socket) -> None:
    urls = [
        f"http://127.0.0.1:{trap.getsockname()[1]}/layer",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ]
    payload = encode(document(layers=[{**NOWHERE, "urls": urls}]))
    assert_taken(server, payload)
    answer = request(server, "GET", f"/v2/{NAME}/blobs/{NOWHERE['digest']}")
    assert_refused(server, answer, 404, "BLOB_UNKNOWN")
    with pytest.raises(BlockingIOError):
        trap.accept()


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_m18_foreign_layer_may_stay_away(server: LiveServer, media_type: str) -> None:
    assert_taken(server, encode(document(layers=[{**NOWHERE, "mediaType": media_type}])))


def data_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def embedding(data: object) -> bytes:
    """A manifest whose layer's descriptor has this `data`."""
    return encode(document(layers=[{**descriptor(OCI.layer, LAYER), "data": data}]))


WRONG_DATA = {
    "other content": data_of(LAYER[:-1] + b"?"),
    "shorter": data_of(LAYER[:-1]),
    "longer": data_of(LAYER + b"?"),
    "empty": "",
    "not base64": "<script>",
    "base64 with a space": data_of(LAYER)[:2] + " " + data_of(LAYER)[2:],
    "without padding": data_of(LAYER).rstrip("="),
    "not a string": 7,
    "a list": [data_of(LAYER)],
}


@pytest.mark.parametrize("data", WRONG_DATA.values(), ids=WRONG_DATA.keys())
def test_m19_data_that_is_not_the_content(server: LiveServer, data: object) -> None:
    assert_refused_manifest(server, embedding(data))


def test_m19_data_that_is(server: LiveServer) -> None:
    assert_taken(server, embedding(data_of(LAYER)))


# M-20 to M-25: tags and deletes


@pytest.mark.parametrize("query", ["", "?tag=v1", "?tag=moved&tag=v1"])
@pytest.mark.parametrize("digest", [digest_of(GOOD + b"  "), f"sha512:{hashlib.sha512(b'').hexdigest()}"])
def test_m20_body_of_another_digest(server: LiveServer, digest: str, query: str) -> None:
    moved = tags(server, ALIVE_NAME)
    with nothing_stored(server):
        answer = put_manifest(server, ALIVE_NAME, f"{digest}{query}", ALIVE.manifest)
    assert_refused(server, answer, 400, "DIGEST_INVALID")
    assert tags(server, ALIVE_NAME) == moved == [ALIVE_TAG]


def test_m20_known_manifest_under_another_digest(server: LiveServer) -> None:
    other = encode(document(annotations={"m20": "other"}))
    push_manifest(server, NAME, other, "m20")
    with nothing_stored(server):
        answer = put_manifest(server, NAME, f"{digest_of(GOOD)}?tag=m20", other)
    assert_refused(server, answer, 400, "DIGEST_INVALID")
    assert get_manifest(server, NAME, "m20").body == other


def numbered(number: int, **changes: Any) -> bytes:
    return encode(document(annotations={"number": str(number)}, **changes))


@pytest.fixture(scope="module")
def immutable(immutable_server: LiveServer) -> LiveServer:
    """With the parts of `document` and the tag `v1` on manifest number 1."""
    push_blob(immutable_server, NAME, CONFIG)
    push_blob(immutable_server, NAME, LAYER)
    push_manifest(immutable_server, NAME, numbered(1), "v1")
    return immutable_server


@pytest.mark.parametrize(
    "reference", ["v1", f"{digest_of(numbered(2))}?tag=v1", f"{digest_of(numbered(2))}?tag=free&tag=v1"]
)
def test_m21_immutable_tag_never_moves(immutable: LiveServer, reference: str) -> None:
    with nothing_stored(immutable):
        answer = put_manifest(immutable, NAME, reference, numbered(2))
    assert_refused(immutable, answer, 403, "DENIED")
    assert get_manifest(immutable, NAME, "v1").body == numbered(1)


def test_m21_same_digest_again(immutable: LiveServer) -> None:
    with nothing_stored(immutable):
        assert put_manifest(immutable, NAME, "v1", numbered(1)).status == 201


def test_m21_immutable_tag_stays(immutable: LiveServer) -> None:
    for reference in ("v1", digest_of(numbered(1))):
        with nothing_stored(immutable):
            answer = request(immutable, "DELETE", f"/v2/{NAME}/manifests/{reference}")
        assert_refused(immutable, answer, 403, "DENIED")
    assert get_manifest(immutable, NAME, "v1").status == 200


def test_m21_other_tags_move(immutable: LiveServer) -> None:
    push_manifest(immutable, NAME, numbered(1), "latest")
    push_manifest(immutable, NAME, numbered(2), "latest")
    assert get_manifest(immutable, NAME, "latest").body == numbered(2)
    assert request(immutable, "DELETE", f"/v2/{NAME}/manifests/latest").status == 202


async def test_m21_one_winner_of_a_race(immutable: LiveServer) -> None:
    """10 tags, 32 manifests racing for each."""
    payloads = [numbered(number) for number in range(32)]
    async with ClientSession(immutable.url) as session:
        for round_ in range(10):
            tag = f"v2.{round_}"
            statuses = await put_all(session, payloads, tag)
            assert sorted(statuses) == [201, *[403] * 31]
            winner = payloads[statuses.index(201)]
            async with session.get(f"/v2/{NAME}/manifests/{tag}") as answer:
                assert await answer.read() == winner
    assert_serving(immutable)


async def test_m22_every_push_to_one_tag_counts(server: LiveServer) -> None:
    """64 callers, 5 rounds."""
    async with ClientSession(server.url) as session:
        for round_ in range(5):
            tag = f"m22.{round_}"
            payloads = [numbered(number, unknown=round_) for number in range(64)]
            assert await put_all(session, payloads, tag) == [201] * 64
            async with session.get(f"/v2/{NAME}/manifests/{tag}") as answer:
                last = digest_of(await answer.read())
            assert_one_history(server, tag, set(map(digest_of, payloads)), last)
    assert_serving(server)


def assert_one_history(server: LiveServer, tag: str, pushed: set[str], last: str) -> None:
    """Each push moved the tag once, from where the one before had left it."""
    moves = query(server, "SELECT old_digest, new_digest FROM event WHERE tag = ? ORDER BY id", tag)
    old, new = zip(*moves, strict=True)
    assert (len(new), set(new), new[-1]) == (len(pushed), pushed, last)
    assert old == (None, *new[:-1])


async def test_m23_index_against_delete_of_its_child(server: LiveServer) -> None:
    """300 rounds; both orders of sending."""
    async with ClientSession(server.url) as session:
        for number in range(300):
            child = numbered(number, unknown="m23")
            assert await put_status(session, digest_of(child), child) == 201
            parent = encode(index(descriptor(OCI.manifest, child)))
            pair = [put_status(session, f"m23-{number}", parent, OCI.index), delete_status(session, child)]
            if number % 2:
                deleted, pushed = await asyncio.gather(*pair[::-1])
            else:
                pushed, deleted = await asyncio.gather(*pair)
            assert (pushed, deleted) in {(201, 405), (400, 202)}, number
            async with session.get(f"/v2/{NAME}/manifests/{digest_of(child)}") as answer:
                assert answer.status == (200 if pushed == 201 else 404)
    assert_serving(server)


async def delete_status(session: ClientSession, payload: bytes) -> int:
    async with session.delete(f"/v2/{NAME}/manifests/{digest_of(payload)}") as answer:
        await answer.read()
        return answer.status


def test_m24_child_of_a_live_index(server: LiveServer) -> None:
    child = numbered(24)
    push_manifest(server, NAME, child, "m24-child")
    parent = encode(index(descriptor(OCI.manifest, child)))
    push_manifest(server, NAME, parent, "m24", OCI.index)
    with nothing_stored(server):
        answer = request(server, "DELETE", f"/v2/{NAME}/manifests/{digest_of(child)}")
    assert_refused(server, answer, 405, "UNSUPPORTED")
    assert digest_of(parent) in answer.errors[0]["message"]
    assert get_manifest(server, NAME, digest_of(child)).body == child
    for payload in (parent, child):
        assert request(server, "DELETE", f"/v2/{NAME}/manifests/{digest_of(payload)}").status == 202
        assert get_manifest(server, NAME, digest_of(payload)).status == 404


@pytest.mark.parametrize("part", [0, 1], ids=["config", "layer"])
def test_m25_blob_of_a_live_manifest(server: LiveServer, part: int) -> None:
    name, content = f"m25/{part}", image("m25")
    push_image(server, name, content)
    target = f"/v2/{name}/blobs/{content.blobs[part].digest}"
    with nothing_stored(server):
        answer = request(server, "DELETE", target)
    assert_refused(server, answer, 405, "UNSUPPORTED")
    assert content.digest in answer.errors[0]["message"]
    assert request(server, "GET", target).body == content.blobs[part].data
    assert request(server, "DELETE", f"/v2/{name}/manifests/{content.digest}").status == 202
    assert request(server, "DELETE", target).status == 202
    assert request(server, "HEAD", target).status == 404


# M-28: the loop goes on


@pytest.mark.parametrize("element", ["{}", "[]", "0"])
async def test_m28_values_that_nobody_reads(server: LiveServer, element: str) -> None:
    values = (LIMIT - len(with_text("[]"))) // (len(element) + 1)
    payload = with_text(f"[{','.join([element] * values)}]")
    async with ClientSession(server.url) as session:
        refused = asyncio.create_task(put_status(session, "m28", payload))
        pings = [await ping(session)]
        while not refused.done():
            pings.append(await ping(session))
        assert (await refused, set(pings)) == (400, {200})
    await asyncio.to_thread(assert_refused_manifest, server, payload)


async def ping(session: ClientSession) -> int:
    async with session.get("/v2/") as answer:
        return answer.status


# H-08, H-17: headers of a manifest PUT and DELETE


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "gzip, gzip", "made-up"])
def test_h08_content_encoding(server: LiveServer, coding: str) -> None:
    payload = gzip.compress(GOOD) if coding == "gzip" else GOOD
    with nothing_stored(server):
        answer = put_manifest(server, NAME, "h08", payload, Content_Encoding=coding)
    assert_refused(server, answer, 415, "UNSUPPORTED")


OTHER = digest_of(b"another")
GARBAGE = ["", "garbage", '"', '"garbage"', "W/", '"sha256:abc"', "\xff"]


@pytest.fixture
def conditional(server: LiveServer) -> str:
    """A tag on manifest number 1."""
    push_manifest(server, NAME, numbered(1), "h17")
    return "h17"


@pytest.mark.parametrize("condition", [f'"{OTHER}"', OTHER, f'"{OTHER}", "{OTHER}"', *GARBAGE[1:]])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_h17_if_match_of_another_state(server: LiveServer, conditional: str, method: str, condition: str) -> None:
    headers = {"Content-Type": OCI.manifest, "If-Match": condition}
    target = f"/v2/{NAME}/manifests/{conditional}"
    with nothing_stored(server):
        answer = request(server, method, target, numbered(2) if method == "PUT" else b"", headers=headers)
    assert_refused(server, answer, 412, "DENIED")
    assert get_manifest(server, NAME, conditional).body == numbered(1)


@pytest.mark.parametrize("condition", ["*", f'"{digest_of(numbered(1))}"', digest_of(numbered(1))])
def test_h17_if_none_match_of_this_state(server: LiveServer, conditional: str, condition: str) -> None:
    with nothing_stored(server):
        answer = put_manifest(server, NAME, conditional, numbered(2), If_None_Match=condition)
    assert_refused(server, answer, 412, "DENIED")
    assert get_manifest(server, NAME, conditional).body == numbered(1)


@pytest.mark.parametrize("condition", ["*", f'"{OTHER}"'])
def test_h17_if_match_of_nothing(server: LiveServer, condition: str) -> None:
    with nothing_stored(server):
        answer = put_manifest(server, NAME, "h17-new", numbered(2), If_Match=condition)
    assert_refused(server, answer, 412, "DENIED")


@pytest.mark.parametrize("condition", ["*", '"{}"', "{}", f'"{OTHER}", "{{}}"'])
def test_h17_conditions_that_hold(server: LiveServer, conditional: str, condition: str) -> None:
    held = condition.format(digest_of(numbered(1)))
    assert put_manifest(server, NAME, conditional, numbered(2), If_Match=held).status == 201
    assert get_manifest(server, NAME, conditional).body == numbered(2)
    present = {"If-Match": f'"{digest_of(numbered(2))}"'}
    gone = request(server, "DELETE", f"/v2/{NAME}/manifests/{conditional}", headers=present)
    assert gone.status == 202, gone.story
    assert put_manifest(server, NAME, conditional, numbered(1), If_None_Match="*").status == 201


@pytest.mark.parametrize("condition", GARBAGE)
def test_h17_garbage_is_refused_or_ignored(server: LiveServer, conditional: str, condition: str) -> None:
    answer = put_manifest(server, NAME, conditional, numbered(2), If_None_Match=condition)
    kept = get_manifest(server, NAME, conditional).body
    assert (answer.status, kept) in {(201, numbered(2)), (412, numbered(1)), (400, numbered(1))}, answer.story
    assert_no_traceback(server)


async def test_h17_one_winner_of_a_conditional_race(server: LiveServer) -> None:
    """20 rounds of 16 pushes, all on the same known state."""
    async with ClientSession(server.url) as session:
        state = numbered(0, unknown="h17")
        assert await put_status(session, "h17-race", state) == 201
        for round_ in range(20):
            payloads = [numbered(number, unknown=f"h17 {round_}") for number in range(16)]
            statuses = await asyncio.gather(*(put_if(session, state, payload) for payload in payloads))
            assert sorted(statuses) == [201, *[412] * 15]
            state = payloads[statuses.index(201)]


async def put_if(session: ClientSession, state: bytes, payload: bytes) -> int:
    headers = {"Content-Type": OCI.manifest, "If-Match": f'"{digest_of(state)}"'}
    async with session.put(f"/v2/{NAME}/manifests/h17-race", data=payload, headers=headers) as answer:
        await answer.read()
        return answer.status
