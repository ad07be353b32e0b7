"""What people type for a digest."""

import pytest

from registry.domain.names import Digest
from registry.domain.prefixes import DigestPrefix
from registry.domain.problems import Invalid

HEX = "0123456789abcdef" * 8
FULL = {"sha256": f"sha256:{HEX[:64]}", "sha512": f"sha512:{HEX}"}


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        (FULL["sha256"], [FULL["sha256"]]),
        (FULL["sha512"], [FULL["sha512"]]),
        ("sha256:01234567", ["sha256:01234567"]),
        ("sha512:01234567", ["sha512:01234567"]),
        ("01234567", ["sha256:01234567", "sha512:01234567"]),
        (HEX[:64], [FULL["sha256"], f"sha512:{HEX[:64]}"]),
        (HEX[:65], [f"sha512:{HEX[:65]}"]),
        (HEX, [FULL["sha512"]]),
    ],
)
def test_digests_and_their_beginnings(text: str, starts: list[str]) -> None:
    assert list(DigestPrefix.parse(text).starts) == starts


@pytest.mark.parametrize(
    "text",
    [
        *("", "sha256", "sha256:", "0123456", "sha256:0123456", "0123456g", "ABCDEF01", "sha256:ABCDEF01"),
        *("md5:01234567", ":01234567", "sha256:sha256:01234567", " 01234567", "01234567\n", "01234567%", "٠١٢٣٤٥٦٧"),
        *(f"{HEX}0", f"{FULL['sha256']}0", f"{FULL['sha512']}0", "latest", "team/app:v1"),
    ],
)
def test_all_else_is_told_what_is_taken(text: str) -> None:
    with pytest.raises(Invalid, match="the first 8 digits or more"):
        DigestPrefix.parse(text)


@pytest.mark.parametrize("algorithm", FULL)
def test_the_range_holds_what_begins_so_and_nothing_else(algorithm: str) -> None:
    digest = Digest(FULL[algorithm])
    for length in (8, 40, len(digest.encoded)):
        ((start, end),) = DigestPrefix.parse(f"{algorithm}:{digest.encoded[:length]}").ranges
        assert start <= digest < end
        last = digest.encoded[length - 1]
        for other in set("0123456789abcdef") - {last}:
            assert not start <= f"{algorithm}:{digest.encoded[: length - 1]}{other}{digest.encoded[length:]}" < end
