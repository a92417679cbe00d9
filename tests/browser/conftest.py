"""A real browser: a Chromium of this machine, driven by Playwright. Where one of the two lacks, tests are skipped."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
NAMED = "MQE_CHROMIUM"  # the environment variable that names another one
# Names that lead here, as an attacker's name server would have them; and nothing is asked of any other host.
HOSTS = "MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"


WRONG_CLOCK = """
const right = Date, ahead = %f;
Date = class extends right {
  constructor(...given) { given.length ? super(...given) : super(right.now() + ahead); }
  static now() { return right.now() + ahead; }
};
"""

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install -r requirements/browser.txt"
    )
    path = os.environ.get(NAMED) or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.skip(f"needs a Chromium: sudo apt install chromium, or {NAMED}=PATH of one")
    arguments = [
        f"--host-resolver-rules={HOSTS}",
        "--disable-dev-shm-usage",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(
            executable_path=path, args=arguments, chromium_sandbox=os.geteuid() != 0, timeout=120_000
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """`visit(address, width=…, height=…, dark=…, clock_s=…, expected=…) -> page` opens one; its clock is so much ahead.

    At the end no page may have logged an error, but those of the patterns `expected`, nor asked another host. Where the
    test failed, it is said what each page showed then.
    """
    wrong: list[str] = []
    contexts = []

    def open_page(
        address: str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        clock_s: float = 0.0,
        expected: tuple[str, ...] = (),
    ) -> Page:
        own = urlsplit(address).netloc

        def note(words: str) -> None:
            if not any(re.search(pattern, words) for pattern in expected):
                wrong.append(words)

        def ask(url: str) -> None:
            if urlsplit(url).scheme in ("http", "https", "ws", "wss") and urlsplit(url).netloc != own:
                note(f"asked another host: {url}")

        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        if clock_s:
            context.add_init_script(WRONG_CLOCK % (1e3 * clock_s))
        page = context.new_page()
        page.set_default_timeout(60_000)  # of a busy machine
        page.on("console", lambda said: note(f"console: {said.text}") if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: note(f"error: {error}"))
        page.on("request", lambda request: ask(request.url))
        page.on("websocket", lambda socket: ask(socket.url))
        page.goto(address)
        return page

    yield open_page
    for number, context in enumerate(contexts):
        for page in context.pages if request.node.stash.get(FAILED, False) else ():
            page.screenshot(path=str(tmp_path / f"page_{number}.png"))
            print(f"{page.url} ({tmp_path}/page_{number}.png) showed:\n{page.inner_text('body')}")
        context.close()
    assert not wrong, "\n".join(wrong)
