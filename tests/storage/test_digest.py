"""Digests: the grammar of the image spec, and two algorithms."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.digest import ALGORITHMS, Digest, Hasher, InvalidDigestError, UnsupportedAlgorithmError


@given(st.lists(st.binary(max_size=100)), st.sampled_from(ALGORITHMS))
def test_a_digest_does_not_depend_on_the_pieces(pieces: list[bytes], algorithm: str) -> None:
    hasher = Hasher(algorithm)
    for piece in pieces:
        hasher.update(piece)
    expected = f"{algorithm}:{hashlib.new(algorithm, b''.join(pieces)).hexdigest()}"
    assert hasher.digest() == Digest.of(b"".join(pieces), algorithm) == Digest.parse(expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_its_parts(algorithm: str) -> None:
    digest = Digest.of(b"", algorithm)
    assert (digest.algorithm, digest.encoded) == (algorithm, hashlib.new(algorithm, b"").hexdigest())


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        ":" + "0" * 64,
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha512:" + "0" * 64,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "SHA256:" + "0" * 64,
        "sha256::" + "0" * 64,
        "sha256:" + "0" * 64 + "\n",
        " sha256:" + "0" * 64,
        "sha256:" + "\N{ARABIC-INDIC DIGIT ZERO}" * 64,
        "sha256:" + "0" * 10_000,
        "sha256:../../../etc/passwd",
    ],
)
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidDigestError) as raised:
        Digest.parse(text)
    assert not isinstance(raised.value, UnsupportedAlgorithmError)


@pytest.mark.parametrize("text", ["md5:" + "0" * 32, "blake3:" + "0" * 64, "a+b.c-d_e:Az09=_-"])
def test_algorithms_that_nobody_computes_here(text: str) -> None:
    with pytest.raises(UnsupportedAlgorithmError):
        Digest.parse(text)
    with pytest.raises(UnsupportedAlgorithmError):
        Hasher(text.partition(":")[0])
