"""Pages as they are answered: who sees what, headers, statuses, bad input."""

import html
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import pytest

from registry.assembly import Registry
from registry.domain.names import Digest, RepositoryName
from tests.support.access import PASSWORD, add_user, basic, required, token
from tests.support.filling import HOSTILE, furnished, put, put_manifest
from tests.support.images import image
from tests.support.server import LiveServer
from tests.support.wire import Answer, request, start_upload

ALICE = basic("alice")
PLAIN = basic("plain")
POLICY = {
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self' data:",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}


def get(server: LiveServer, target: str, *headers: Mapping[str, str], method: str = "GET") -> Answer:
    merged: dict[str, str] = {"Host": server.host}
    for some in headers:
        merged |= some
    return request(server, method, target, headers=merged)


def text(answer: Answer) -> str:
    return answer.body.decode()


def repositories(answer: Answer) -> list[str]:
    """The names that a page links to."""
    return re.findall(r'href="/ui/r/([^"]+)"', text(answer))


def next_page(answer: Answer) -> str | None:
    found = re.search(r'href="([^"]+)" rel="next"', text(answer))
    return html.unescape(found[1]) if found else None


def is_page(answer: Answer, status: int) -> bool:
    """Whatever it says, it says it as a page, which nobody keeps and nothing may be run in."""
    headers = answer.headers
    assert answer.status == status, answer.story
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert set(headers["Content-Security-Policy"].split("; ")) == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert answer.method == "HEAD" or text(answer).startswith("<!DOCTYPE html>\n<html lang=")
    return True


def test_a_visitor_sees_what_grants_give(server: LiveServer) -> None:
    assert repositories(get(server, "/")) == ["public/tool"]
    assert repositories(get(server, "/", PLAIN)) == ["public/tool"]
    found = repositories(get(server, "/", ALICE))
    assert found[1:] == ["odd/texts", "public/tool", "team/app"]
    assert repositories(get(server, "/", basic("admin"))) == [*found[:3], "secret/plan", "team/app"]


def test_who_is_not_logged_in_is_offered_to(server: LiveServer) -> None:
    assert 'href="/?login=1"' in text(get(server, "/"))
    assert 'href="/?login=1"' not in text(get(server, "/", ALICE)) and ">alice<" in text(
        get(server, "/", ALICE)
    ).replace("\n", "")


def test_to_log_in_takes_a_password(server: LiveServer) -> None:
    asked = get(server, "/?login=1")
    assert is_page(asked, 401) and asked.headers["WWW-Authenticate"] == 'Basic realm="Digestry"'
    assert get(server, "/?login=1", basic("alice", "wrong")).status == 401
    done = get(server, "/?login=1", ALICE)
    assert (done.status, done.headers["Location"], done.headers["Cache-Control"]) == (303, "/", "no-store")


@pytest.mark.parametrize("where", ["//evil", "https://evil", "\\evil", "/%0d%0aLocation:evil", "%2F%2Fevil"])
def test_a_login_leads_nowhere_else(server: LiveServer, where: str) -> None:
    for name in ("next", "after", "q", "url"):
        assert get(server, f"/?login=1&{name}={where}", ALICE).headers["Location"] == "/"


@pytest.mark.parametrize("name", ["team/app", "team/nothing", "secret/plan", "secret/nothing"])
def test_who_may_not_does_not_learn_what_there_is(server: LiveServer, name: str) -> None:
    def shape(answer: Answer) -> str:
        return re.sub("<code>.*?</code>", "", text(answer))

    anonymous, plain = get(server, f"/ui/r/{name}"), get(server, f"/ui/r/{name}", PLAIN)
    assert is_page(anonymous, 401) and anonymous.headers["WWW-Authenticate"].startswith("Basic ")
    assert is_page(plain, 403)
    assert shape(anonymous) == shape(get(server, "/ui/r/secret/other"))
    assert shape(plain) == shape(get(server, "/ui/r/secret/other", PLAIN))


def test_refusals_are_in_the_audit_log(server: LiveServer) -> None:
    get(server, "/ui/r/secret/refused", PLAIN)
    said = server.digestry("audit", "list", "--json", "--identity", "user:plain", "--action", "access.denied")
    assert '"secret/refused"' in said.stdout


@pytest.mark.parametrize("target", ["/ui/r/team/nothing", "/ui/r/Team", "/ui/r/..", "/ui/r/a%00b", "/ui", "/ui/x"])
def test_what_is_not_there_is_told_on_a_page(server: LiveServer, target: str) -> None:
    assert is_page(get(server, target, ALICE), 404)


def test_a_repository_shows_its_tags(server: LiveServer) -> None:
    shown = get(server, "/ui/r/team/app", ALICE)
    assert is_page(shown, 200)
    page = text(shown)
    lines = re.findall(r'<code class="line">(.*?)</code>', page)
    assert lines == [
        f"{what} pull {server.host}/team/app:{tag}"
        for what, tag in (("oras", "chart"), ("docker", "v1"), ("docker", "v2"))
    ]
    assert page.count("linux/arm64") == 1 and page.count("linux/amd64") == 2
    digest = image("app").digest
    assert f'title="{digest}">{digest[:19]}…<' in page
    assert re.search(r'<time datetime="[^"]+Z" title="[^"]+Z">(just now|\d+ \w+ ago)</time>', page)
    assert get(server, "/ui/r/team%2Fapp", ALICE).status == 200


@pytest.mark.parametrize("target", ["/", "/ui/r/team/app", "/ui/style.css", "/nothing/../ui/x", "/?login=1"])
@pytest.mark.parametrize("who", [{}, ALICE], ids=["anonymous", "alice"])
def test_head_is_get_without_a_body(server: LiveServer, target: str, who: Mapping[str, str]) -> None:
    got, asked = get(server, target, who), get(server, target, who, method="HEAD")
    varying = {"Date", "X-Request-Id"}
    assert asked.status == got.status and asked.body == b""
    assert [pair for pair in asked.headers.items() if pair[0] not in varying] == [
        pair for pair in got.headers.items() if pair[0] not in varying
    ]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("target", ["/", "/ui/r/team/app", "/ui/style.css", "/ui/other"])
def test_pages_are_only_read(server: LiveServer, method: str, target: str) -> None:
    answer = get(server, target, ALICE, method=method)
    assert is_page(answer, 405) and answer.headers["Allow"] == "GET, HEAD"


def test_the_stylesheet_is_all_that_a_page_loads(server: LiveServer) -> None:
    style = get(server, "/ui/style.css")
    assert (style.status, style.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert b"url(" not in style.body and b"@import" not in style.body
    page = text(get(server, "/ui/r/team/app", ALICE))
    loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]*)"', page)
    assert loaded[0] == "/ui/style.css" and loaded[1].startswith("data:") and len(loaded) == 2
    assert "<script" not in page and " style=" not in page and not re.search(r"\son\w+=", page)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_a_query_says_is_text(server: LiveServer, hostile: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in hostile.encode())
    page = text(get(server, f"/?q={quoted}", ALICE))
    escaped = html.escape(hostile).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
    assert page.count(escaped) >= 2 and (hostile == escaped or hostile not in page)


@pytest.mark.parametrize("hostile", ["%ff", "%ed%a0%80", "%00", "a%0d%0ab", "&q=x", "&q[]=1", "+" * 5000])
def test_bad_queries_are_no_failure(server: LiveServer, hostile: str) -> None:
    assert get(server, f"/?q={hostile}&after={hostile}", ALICE).status == 200
    assert get(server, f"/ui/r/team/app?after={hostile}", ALICE).status == 200


def test_a_filter_stays_on_the_next_page(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repositories(get(server, "/?q=tool", ALICE)) == ["public/tool"]
    assert repositories(get(server, "/?q=TOOL", ALICE)) == ["public/tool"]
    nothing = get(server, "/?q=t_ol", ALICE)
    assert repositories(nothing) == [] and "No repository that you may pull" in text(nothing)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("registry.example.com", "registry.example.com"),
        ("registry.example.com:5000", "registry.example.com:5000"),
        ("[::1]:5000", "[::1]:5000"),
        ("a b", "REGISTRY"),
        ("evil.example/x", "REGISTRY"),
        ('"><script>', "REGISTRY"),
        ("user@evil.example", "REGISTRY"),
        ("x:99999999", "REGISTRY"),
        ("$(reboot)", "REGISTRY"),
        ("a;b", "REGISTRY"),
        ("[", "REGISTRY"),
    ],
)
def test_the_pull_line_takes_a_plain_host_only(server: LiveServer, host: str, shown: str) -> None:
    answer = get(server, "/ui/r/public/tool", {"Host": host})
    assert answer.status == 400 or f"docker pull {shown}/public/tool:latest<" in text(answer)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Origin": "https://evil.example"}, 403),
    ],
)
def test_links_lead_here_and_frames_do_not(server: LiveServer, headers: Mapping[str, str], status: int) -> None:
    assert is_page(get(server, "/", ALICE, headers), status)


def test_bearer_tokens_show_what_they_are_for(server: LiveServer) -> None:
    bearer = {"Authorization": f"Bearer {token(server, ALICE, 'repository:team/app:pull')}"}
    assert get(server, "/ui/r/team/app", bearer).status == 200
    assert get(server, "/ui/r/odd/texts", bearer).status == 401
    assert get(server, "/", bearer).status == 401


def test_requests_for_pages_are_counted_as_such(server: LiveServer) -> None:
    get(server, "/", ALICE)
    metrics = text(request(server, "GET", "/metrics"))
    assert re.search(r'digestry_http_requests_total\{method="GET",route="page",status="200"\} \d', metrics)


def test_nothing_public_asks_for_a_login(tmp_path: Path) -> None:
    async def furnish(registry: Registry) -> None:
        await put(registry, "team/app", "v1", image("app"))
        await add_user(registry, "new")

    with furnished(tmp_path, furnish, required(REGISTRY_HTTP_HOST="https://registry.example.com")) as server:
        asked = get(server, "/")
        assert is_page(asked, 401) and asked.headers["WWW-Authenticate"] == 'Basic realm="Digestry"'
        assert "Log in with your user name and password" in text(asked) and "team/app" not in text(asked)
        assert "There is nothing here that you may pull yet" in text(get(server, "/", basic("new")))
        shown = text(get(server, "/ui/r/team/app", basic("admin")))
        assert "docker pull registry.example.com/team/app:v1<" in shown
        # what a proxy took in the clear was read on the way
        plain = get(server, "/", basic("new"), {"X-Forwarded-For": "192.0.2.1"})
        assert is_page(plain, 403) and "plain HTTP" in text(plain)
        unasked = get(server, "/?login=1", {"X-Forwarded-For": "192.0.2.1"})
        assert is_page(unasked, 403) and "WWW-Authenticate" not in unasked.headers


def test_open_mode_asks_nobody(tmp_path: Path) -> None:
    server = LiveServer(tmp_path).start()
    try:
        first = get(server, "/")
        assert is_page(first, 200) and f"docker push {server.host}/demo/app:v1" in text(first)
        assert "Log in" not in text(first) and get(server, "/?login=1").headers["Location"] == "/"
        start_upload(server, "team/empty")
        assert "Nothing in this repository has a tag" in text(get(server, "/ui/r/team/empty"))
        for host in ("evil.example", "127.0.0.1.evil.example", "["):
            assert is_page(get(server, "/", {"Host": host}), 403)
        assert is_page(get(server, "/", {"Origin": "http://["}), 403)
    finally:
        assert server.stop() == 0


def test_too_many_requests_are_told_on_a_page(tmp_path: Path) -> None:
    server = LiveServer(tmp_path, {"REGISTRY_RATELIMIT_ADDRESS": "3/minute"}).start()
    try:
        for _ in range(3):
            assert get(server, "/").status == 200
        limited = get(server, "/")
        assert is_page(limited, 429) and int(limited.headers["Retry-After"]) > 0
    finally:
        assert server.stop() == 0


def test_long_lists_come_in_pages(tmp_path: Path) -> None:
    """Each once, by links alone."""
    content, first = image("many"), RepositoryName("first")

    async def furnish(registry: Registry) -> None:
        await put(registry, first, "v1", content)
        for name in names:
            for part in content.blobs:
                await registry.uploads.mount(RepositoryName(name), Digest(part.digest), first, lambda _: True)
            await put_manifest(registry, name, content.manifest, content.media_type, "v1")
        await put_manifest(registry, names[0], content.manifest, content.media_type, *versions)

    names = [f"team/r{number:03}" for number in range(120)]
    versions = [f"v{number:03}" for number in range(250)]
    with furnished(tmp_path, furnish, {}) as server:
        found = follow(server, "/?q=team", r'href="/ui/r/([^"]+)"')
        assert [len(page) for page in found] == [50, 50, 20]
        assert list(chain(*found)) == names
        found = follow(server, f"/ui/r/{names[0]}", r'class="tag">([^<]+)<')
        assert [len(page) for page in found] == [100, 100, 51]
        assert list(chain(*found)) == sorted({"v1", *versions})
        assert "That was all" in text(get(server, f"/ui/r/{names[0]}?after=z"))


def follow(server: LiveServer, target: str | None, what: str) -> list[list[str]]:
    found = []
    while target:
        answer = get(server, target)
        found.append(re.findall(what, text(answer)))
        target = next_page(answer)
        assert ("First page" in text(answer)) == (len(found) > 1)
    return found


def test_passwords_are_never_on_a_page(server: LiveServer) -> None:
    assert PASSWORD not in text(get(server, "/", ALICE)) + text(
        get(server, "/?login=1", basic("alice", PASSWORD + "x"))
    )
