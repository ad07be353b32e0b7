"""Pages in a real browser: Debian's Chromium, driven by Playwright."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

from tests.pages.conftest import LONG, LONG_TAG
from tests.support.access import PASSWORD, basic
from tests.support.filling import HOSTILE
from tests.support.images import Remote, image, index
from tests.support.server import LiveServer
from tests.support.tools import ROOT, require

PICTURES = ROOT / "build" / "pages"
WIDE, NARROW = {"width": 1200, "height": 800}, {"width": 360, "height": 740}


class Watched:
    """A page, and what went wrong on it: dialogs, and what the console has of refusals and errors."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        page.on("dialog", self._dialog)
        page.on("console", self._console)

    def _dialog(self, dialog: Dialog) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: ConsoleMessage) -> None:
        self.said.append(f"{message.type}: {message.text}")


@pytest.fixture(scope="module")
def chromium(server: LiveServer) -> Iterator[Browser]:
    """After the server, since Playwright leaves its event loop running in this thread."""
    program = require("chromium")["chromium"]
    with sync_playwright() as playwright:
        # in a container there is no other sandbox for root to give
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, server: LiveServer) -> Iterator[Callable[..., Any]]:
    """Open a page as somebody, in a browser of their own."""
    contexts = []

    @contextmanager
    def opened(path: str, who: str = "", **options: Any) -> Iterator[Watched]:
        credentials = {"http_credentials": {"username": who, "password": PASSWORD}} if who else {}
        context = chromium.new_context(base_url=server.url, **{"viewport": WIDE, **credentials, **options})
        contexts.append(context)
        watched = Watched(context.new_page())
        if who:
            watched.page.goto("/?login=1")
        watched.page.goto(path)
        yield watched
        context.close()

    yield opened


def texts(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def picture(page: Page, name: str) -> None:
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    assert path.stat().st_size > 5_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lists_without_a_script(visit: Callable[..., Any], server: LiveServer, scheme: str) -> None:
    with visit("/", "alice", java_script_enabled=False, color_scheme=scheme) as seen:
        page = seen.page
        assert texts(page, "tbody th") == [LONG, "odd/texts", "public/tool", "team/app"]
        picture(page, f"repositories-{scheme}")
        page.get_by_label("Part of a name").fill("app")
        page.get_by_role("button", name="Filter").click()
        assert texts(page, "tbody th") == ["team/app"]
        page.get_by_role("link", name="team/app").click()
        assert page.get_by_role("heading").inner_text() == "team/app"
        assert texts(page, ".tag") == ["chart", "v1", "v2"]
        assert texts(page, ".chip") == ["artifact", "linux/amd64", "linux/amd64", "linux/arm64"]
        picture(page, f"tags-{scheme}")
        assert seen.said == []


def test_each_sees_what_grants_give(visit: Callable[..., Any]) -> None:
    with visit("/", "plain") as seen:
        assert texts(seen.page, "tbody th") == ["public/tool"]
    with visit("/ui/r/team/app", "plain") as seen:
        assert seen.page.get_by_role("heading").inner_text() == "Forbidden"
        assert seen.page.locator("table").count() == 0


def test_a_login_is_good_for_all_pages(visit: Callable[..., Any]) -> None:
    credentials = {"username": "alice", "password": PASSWORD}
    with visit("/", http_credentials=credentials) as seen:
        page = seen.page
        assert texts(page, "tbody th") == ["public/tool"]
        page.get_by_role("link", name="Log in").click()
        assert page.url.endswith("/") and texts(page, ".who") == ["alice"]
        page.get_by_role("link", name="team/app").click()
        assert texts(page, ".who") == ["alice"] and page.locator("tbody tr").count() == 3
        page.get_by_role("link", name="Digestry").click()
        assert "team/app" in texts(page, "tbody th")


def test_the_pull_line_is_taken_whole_and_works(visit: Callable[..., Any], server: LiveServer) -> None:
    with visit("/ui/r/team/app", "alice") as seen:
        page = seen.page
        for tag, digest in (("v1", image("app").digest), ("v2", index("app").digest)):
            line = page.locator("tr", has_text=f":{tag}").locator("code.line")
            line.click()
            picked = page.evaluate("getSelection().toString()")
            docker, pull, reference = picked.split()
            host, _, rest = reference.partition("/")
            name, _, wanted = rest.rpartition(":")
            assert (docker, pull, wanted) == ("docker", "pull", tag)
            assert Remote(host, name, basic("alice")["Authorization"]).manifest(wanted).digest == digest


def test_what_was_pushed_is_text(visit: Callable[..., Any]) -> None:
    """With scripts allowed, so that one would run if it were one (reliability W-01)."""
    with visit("/ui/r/odd/texts", "alice") as seen:
        page = seen.page
        page.wait_for_load_state("networkidle")
        shown = page.locator("main").inner_text()
        assert [text for text in HOSTILE if f"{text}/amd64" not in shown] == []
        assert page.locator("script, img, svg, iframe, style, main [onload], main [onfocus]").count() == 0
        assert seen.said == []


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_a_visitor_types_is_text(visit: Callable[..., Any], hostile: str) -> None:
    with visit("/", "alice") as seen:
        page = seen.page
        page.get_by_label("Part of a name").fill(hostile)
        page.get_by_role("button", name="Filter").click()
        page.wait_for_load_state("networkidle")
        assert f"“{hostile}”" in page.locator(".empty").inner_text()
        assert page.get_by_label("Part of a name").input_value() == hostile
        assert seen.said == []


def test_a_watched_page_tells_what_goes_wrong(visit: Callable[..., Any]) -> None:
    """The tests above would see it."""
    with visit("/", "alice") as seen:
        seen.page.evaluate("alert(1)")
        seen.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=https://registry.example.com/x>')")
        seen.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b style=color:red>')")
        seen.page.wait_for_timeout(200)
        assert seen.said[0] == "dialog: 1"
        assert len([said for said in seen.said if "Content Security Policy" in said]) == 2


def test_a_page_is_not_framed(visit: Callable[..., Any], server: LiveServer) -> None:
    with visit("/", "alice") as seen:
        page = seen.page
        page.goto("data:text/html,<p>another site</p>")
        page.evaluate(
            "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f) }", server.url
        )
        page.wait_for_timeout(500)
        assert [frame.url for frame in page.frames[1:]] == ["chrome-error://chromewebdata/"]


@pytest.mark.parametrize("path", ["/", f"/ui/r/{LONG}", "/ui/r/odd/texts", "/ui/r/team/app", "/ui/r/Nothing"], ids=str)
def test_a_phone_needs_no_scrolling_sideways(visit: Callable[..., Any], path: str) -> None:
    with visit(path, "alice", viewport=NARROW) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        if path == f"/ui/r/{LONG}":
            assert texts(seen.page, ".tag") == [LONG_TAG]
        picture(seen.page, f"phone{path.replace('/', '-')[:20]}")


def test_the_keyboard_shows_where_it_is(visit: Callable[..., Any]) -> None:
    with visit("/", "alice") as seen:
        reached = []
        for _ in range(5):
            seen.page.keyboard.press("Tab")
            reached.append(
                seen.page.evaluate(
                    "[document.activeElement.textContent || document.activeElement.name, "
                    "getComputedStyle(document.activeElement).outlineStyle]"
                )
            )
        assert reached == [[name, "solid"] for name in ("Digestry", "q", "Filter", LONG, "odd/texts")]


def test_a_blob_that_is_a_page_runs_nothing(chromium: Browser, server: LiveServer, tmp_path: Path) -> None:
    """Pages changed nothing for blobs (reliability W-02): opened by its address, one is a download."""
    digest = image("tool").blobs[0].digest
    context = chromium.new_context(base_url=server.url, accept_downloads=True)
    page = context.new_page()
    with page.expect_download() as waiting:
        page.evaluate("url => { location.href = url }", f"{server.url}/v2/public/tool/blobs/{digest}")
    assert waiting.value.url.endswith(digest)
    context.close()
