"""Promise: what the console refuses, a real browser cannot do either; and who brings the token is let in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mqe_core.console.access import Access, Limits
from mqe_core.console.listening import Listening, listening
from tests.console.asgi_client import Echo

pytest.importorskip("uvicorn", reason="needs a web server: pip install -r requirements/browser.txt")
pytestmark = pytest.mark.browser

PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>small</title></head>
<body><h1>The small page</h1><p id="said">nothing yet</p>
<script>
const socket = new WebSocket(`ws://${location.host}/ws`);
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => { document.getElementById("said").textContent = event.data; };
</script></body></html>"""

LINK = """(url) => {
  const link = document.createElement("a");
  link.href = url; link.textContent = "open"; document.body.append(link);
}"""
FRAME = """(url) => {
  const frame = document.createElement("iframe");
  frame.src = url; document.body.append(frame);
}"""
# Tries what another site may try, and says what came of each.
ATTACK = """async (target) => {
  const tried = {};
  const image = () => new Promise((done) => {
    const element = new Image();
    element.onload = () => done("shown"); element.onerror = () => done("refused");
    element.src = `http://${target}/picture`;
  });
  const socket = () => new Promise((done) => {
    const line = new WebSocket(`ws://${target}/ws`);
    line.onopen = () => done("open"); line.onerror = () => done("refused");
  });
  const read = async () => { try { return (await fetch(`http://${target}/`)).status; } catch { return "refused"; } };
  const write = async () => {
    try { return (await fetch(`http://${target}/hold`, {method: "POST", mode: "no-cors", body: "x"})).type; }
    catch { return "refused"; }
  };
  tried.image = await image(); tried.socket = await socket(); tried.read = await read(); tried.write = await write();
  return tried;
}"""


class Small(Echo):
    """The page above, and everything else echoed."""

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http" and scope["path"] == "/":
            self.reached.append("/")
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": PAGE})
            return
        await super().__call__(scope, receive, send)


@pytest.fixture
def small() -> Small:
    return Small()


@pytest.fixture
def console(small: Small) -> Iterator:
    from tests.browser.served import Served

    with Served(
        lambda port: Access(small, listening(f"127.0.0.1:{port}"), Limits(pages=2, sockets_a_page=1))
    ) as served:
        yield served


@pytest.fixture
def other_site() -> Iterator:
    from tests.browser.served import Served

    with Served(lambda port: Small()) as served:
        yield served


def test_the_own_page_reads_and_listens(console, visit) -> None:
    page = visit(console.address)
    page.get_by_text("hello").wait_for()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
def test_another_site_does_nothing(console, other_site, small: Small, visit, host: str) -> None:
    page = visit(f"http://{host}:{other_site.port}", expected=(".",))
    page.get_by_text("hello").wait_for()
    tried = page.evaluate(ATTACK, f"127.0.0.1:{console.port}")
    write = tried.pop("write")
    assert set(tried.values()) == {"refused"} and write in ("refused", "opaque")  # its answer is hidden from the page
    assert small.reached == []


def test_where_nothing_stands_before_the_page_the_attack_works(other_site, visit) -> None:
    """So the test above sees what it says."""
    from tests.browser.served import Served

    open_to_all = Small()
    with Served(lambda port: open_to_all) as served:
        page = visit(other_site.address, expected=(".",))
        tried = page.evaluate(ATTACK, f"127.0.0.1:{served.port}")
    assert tried["socket"] == "open" and {"/hold", "/ws", "/picture", "/"} <= set(open_to_all.reached)


def test_a_frame_of_another_site_stays_empty(console, other_site, visit) -> None:
    page = visit(other_site.address, expected=(".",))
    page.evaluate(FRAME, console.address)
    page.wait_for_timeout(500)
    assert all("The small page" not in frame.content() for frame in page.frames[1:])


def test_a_name_that_leads_here_is_refused(console, small: Small, visit) -> None:
    page = visit(f"http://evil.example:{console.port}/", expected=("403", "Cross-Origin-Opener-Policy"))
    page.get_by_text("not known by the name").wait_for()
    assert small.reached == []


def test_a_page_too_many_is_told_so(console, visit) -> None:
    pages = [visit(console.address) for _ in range(2)]
    for page in pages:
        page.get_by_text("hello").wait_for()
    full = visit(console.address, expected=("503",))
    full.get_by_text("2 pages of the console are open").wait_for()
    pages[0].close()
    full.wait_for_timeout(500)
    full.reload()
    full.get_by_text("hello").wait_for()


def test_a_body_too_large_is_answered_in_words(console, visit) -> None:
    page = visit(console.address, expected=("413",))
    said = page.evaluate(
        "async () => { const r = await fetch('/upload', {method: 'POST', body: new Uint8Array(30e6)});"
        " return [r.status, await r.text()]; }"
    )
    assert said[0] == 413 and "pictures are smaller" in said[1]


@pytest.fixture
def far(small: Small) -> Iterator:
    """A console that needs a token, and where it listens."""
    from tests.browser.served import Served

    where: list[Listening] = []

    def make(port: int) -> Access:
        where.append(listening(f"127.0.0.1:{port}", token="t" * 43))
        return Access(small, where[0])

    with Served(make) as served:
        served.link = where[0].link
        yield served


def test_the_link_lets_in_and_leaves_no_token(far, small: Small, visit) -> None:
    page = visit(far.address, expected=("401",))
    page.get_by_text("lets in whoever opens its link").wait_for()
    assert small.reached == []
    page.goto(far.link)
    page.get_by_text("hello").wait_for()
    assert page.url == f"{far.address}/" and page.evaluate("document.cookie") == ""
    page.reload()
    page.get_by_text("hello").wait_for()


def test_a_link_on_another_site_lets_in(far, other_site, visit) -> None:
    """As in a chat: the cookie of the same site alone must count from the first page on."""
    page = visit(f"http://localhost:{other_site.port}", expected=(".",))
    page.evaluate(LINK, far.link)
    page.get_by_text("open").click()
    page.get_by_text("hello").wait_for()
    assert page.url == f"{far.address}/"
