"""What a page of a stranger may make a browser send."""

import pytest
from aiohttp.test_utils import make_mocked_request

from registry.domain.errors import Denied
from registry.web.browsers import BrowserGuard

HERE = "127.0.0.1:5000"


def passes(guard: BrowserGuard, headers: dict[str, str]) -> bool:
    try:
        guard.check(make_mocked_request("GET", "/", headers={"Host": HERE, **headers}))
    except Denied:
        return False
    return True


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        (f"http://{HERE}", True),
        ("https://registry.example.com", True),
        ("http://evil.example", False),
        (f"http://{HERE}.evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("http:", False),
    ],
)
@pytest.mark.parametrize("host", ["https://registry.example.com", ""], ids=["configured", "not"])
def test_an_origin_is_ours_or_refused(host: str, origin: str, is_ours: bool) -> None:
    guard = BrowserGuard(loopback_only=True, host=host)
    expected = is_ours and (bool(host) or "registry.example.com" not in origin)
    assert passes(guard, {"Origin": origin}) == expected


@pytest.mark.parametrize("host", ["evil.example", "[", "127.0.0.1.evil.example", "localhost@evil.example"])
def test_on_loopback_a_host_is_loopback(host: str) -> None:
    assert not passes(BrowserGuard(loopback_only=True, host=""), {"Host": host})
    assert passes(BrowserGuard(loopback_only=False, host=""), {"Host": host})
