"""Names, tags and references against the grammar of the spec."""

import itertools
import random
import re

import pytest

from registry.domain.errors import (
    BlobUnknown,
    DigestInvalid,
    DigestUnsupported,
    ManifestUnknown,
    NameInvalid,
    RegistryError,
    TagInvalid,
)
from registry.domain.names import (
    NAME_LIMIT,
    Digest,
    RepositoryName,
    Tag,
    known_digest,
    known_reference,
    parse_digest,
    parse_reference,
)

# As the spec writes it ("Pulling manifests"); slow on long strings, which is why ours is another one
SPEC = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
ALPHABET = "a0._-/A"
SHA256 = "sha256:" + "0" * 64
SHA512 = "sha512:" + "f" * 128


def is_name(text: str) -> bool:
    try:
        return RepositoryName.parse(text) == text
    except NameInvalid:
        return False


def test_n07_every_short_string_is_a_name_when_the_spec_says_so() -> None:
    shorts = ("".join(letters) for length in range(7) for letters in itertools.product(ALPHABET, repeat=length))
    assert [text for text in shorts if is_name(text) != bool(SPEC.fullmatch(text))] == []


def test_n07_random_strings_are_names_when_the_spec_says_so() -> None:
    seeded = random.Random(7)
    texts = ["".join(seeded.choices("abz09..__--/", k=seeded.randrange(7, 24))) for _ in range(100_000)]
    assert [text for text in texts if is_name(text) != bool(SPEC.fullmatch(text))] == []
    assert sum(map(is_name, texts)) > 1000


@pytest.mark.parametrize("text", ["Ubuntu", "a_", "-a", "a..b", "a___b", "a/.b", "a\n", "\u0430", "٣", ""])
def test_n07_what_is_no_name(text: str) -> None:
    with pytest.raises(NameInvalid):
        RepositoryName.parse(text)


def test_a_name_has_at_most_255_characters() -> None:
    assert RepositoryName.parse("a" * NAME_LIMIT) == "a" * 255
    with pytest.raises(NameInvalid):
        RepositoryName.parse("a" * 256)


@pytest.mark.parametrize("text", ["a", "_", "V1.0-rc_1", "9" * 128])
def test_tags(text: str) -> None:
    assert Tag.parse(text) == text
    assert parse_reference(text) == Tag(text)
    assert isinstance(known_reference(text), Tag)


@pytest.mark.parametrize("text", ["", ".a", "-a", "a" * 129, "a b", "a/b", "ä", "a\n"])
def test_what_is_no_tag(text: str) -> None:
    with pytest.raises(TagInvalid):
        parse_reference(text)
    with pytest.raises(ManifestUnknown):
        known_reference(text)


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_digests_are_references(text: str) -> None:
    assert parse_digest(text) == text
    assert isinstance(parse_reference(text), Digest)
    assert isinstance(known_reference(text), Digest)


@pytest.mark.parametrize(
    ("text", "written", "read"),
    [
        pytest.param("sha256:abc", DigestInvalid, DigestInvalid, id="malformed"),
        pytest.param(SHA256.upper(), DigestInvalid, DigestInvalid, id="upper case"),
        pytest.param("md5:" + "0" * 32, DigestUnsupported, ManifestUnknown, id="another algorithm"),
    ],
)
def test_digests_that_cannot_be_here(text: str, written: type[RegistryError], read: type[RegistryError]) -> None:
    """A write is told what is wrong; a read of what can't have been pushed finds nothing."""
    with pytest.raises(written):
        parse_reference(text)
    with pytest.raises(read):
        known_reference(text)


def test_an_unknown_blob_is_told_as_one() -> None:
    with pytest.raises(BlobUnknown):
        known_digest("md5:" + "0" * 32, BlobUnknown)
