"""Promise: the console answers its own page on this machine, and elsewhere only whoever brought the token."""

from __future__ import annotations

import asyncio
import re

import pytest

from mqe_core.console.access import Access, Limits
from mqe_core.console.bounded_messages import Bounds
from mqe_core.console.listening import Listening, listening
from mqe_core.console.rates import Rate
from tests.console.asgi_client import HOST, Echo, ask, asked, scope, talk

OWN = f"http://{HOST}"
LAN = "192.168.0.7:8080"


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def local(echo: Echo) -> Access:
    return Access(echo, listening())


@pytest.fixture
def where() -> Listening:
    return listening("0.0.0.0")


@pytest.fixture
def far(echo: Echo, where: Listening) -> Access:
    return Access(echo, where)


def cookie_of(app: Access, where: Listening, **given: str) -> str:
    answer = ask(app, f"/?token={where.token}", host=LAN, client="192.168.0.9", **given)
    assert answer.status == 200
    return answer.header("set-cookie") or ""


def test_on_this_machine_the_page_is_answered_without_a_token(local: Access, echo: Echo) -> None:
    for host in ("127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "127.0.0.1:9000"):  # a tunnel's port
        assert ask(local, host=host).status == 200
    assert ask(local, method="POST", origin=OWN, body=[b"a", b"b"]).body == b"ab"
    assert len(echo.reached) == 6


NOT_OWN = ("evil.example", "evil.example:8080", "192.168.0.7", "0.0.0.0:8080", "", "localhost.evil.example", "a@b", "[")


@pytest.mark.parametrize("host", [*NOT_OWN, "x" * 999])
def test_a_name_that_leads_here_is_refused(local: Access, echo: Echo, host: str) -> None:
    assert ask(local, host=host).status in (400, 403)
    assert not echo.reached


def test_two_hosts_are_refused(local: Access) -> None:
    made = scope("http", "/")
    made["headers"].append((b"host", b"localhost"))
    assert ask(local, made=made).status == 400


FOREIGN = (
    "http://evil.example",
    "null",
    "http://127.0.0.1:9000",
    "https://127.0.0.1:8080",
    "http://localhost:8080",
    "",
)


@pytest.mark.parametrize("origin", FOREIGN)
def test_another_page_neither_writes_nor_listens(local: Access, echo: Echo, origin: str) -> None:
    assert ask(local, method="POST", origin=origin).status == 403
    said = asyncio.run(talk(local, ["hold"], origin=origin))
    assert [message["type"] for message in said] == ["websocket.close"]
    assert not echo.reached


@pytest.mark.parametrize("origin", FOREIGN[:-1])
def test_another_page_does_not_read(local: Access, origin: str) -> None:
    assert ask(local, origin=origin).status == 403


def test_another_site_embeds_nothing_but_may_link_here(local: Access) -> None:
    embeds = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}
    assert ask(local, "/camera", **embeds).status == 403
    assert ask(local, "/camera", **{**embeds, "sec_fetch_site": "same-site"}).status == 403  # another port
    assert ask(local, "/camera", **{**embeds, "sec_fetch_site": "same-origin"}).status == 200
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert ask(local, "/", **link).status == 200
    assert ask(local, "/", **{**link, "sec_fetch_dest": "iframe"}).status == 403


def test_the_own_page_listens(local: Access) -> None:
    said = asyncio.run(talk(local, ["hold"], origin=OWN))
    assert [message.get("text") for message in said] == [None, "hold"]


def test_the_port_that_goes_without_saying_may_be_said(local: Access) -> None:
    for host, origin in (("localhost", "http://localhost:80"), ("localhost:80", "http://localhost")):
        assert ask(local, method="POST", host=host, origin=origin).status == 200
    assert ask(local, method="POST", host="localhost", origin="https://localhost", scheme="https").status == 200


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/a/..", "/./a", "/a\\..\\b", "/a\0b", "/a\nb", "a", "/" + "a" * 4000]
)
def test_a_path_that_leads_elsewhere_is_refused(local: Access, echo: Echo, path: str) -> None:
    assert ask(local, path).status in (400, 414)
    assert not echo.reached


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "CONNECT", "OPTIONS", "get", "PROPFIND"])
def test_only_what_a_page_needs_is_a_method(local: Access, echo: Echo, method: str) -> None:
    answer = ask(local, method=method, origin=OWN)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, POST")


def test_elsewhere_nothing_is_answered_without_the_token(far: Access, echo: Echo, where: Listening) -> None:
    wrong = (
        "/",
        "/?token=",
        f"/?token={where.token}x",
        f"/?token={where.token[:-1]}",
        "/_nicegui/x",
        "/?x=" + "&" * 50,
    )
    for number, path in enumerate(wrong):
        assert ask(far, path, host=LAN, client=f"192.168.0.{number}").status == 401
    assert ask(far, method="POST", host=LAN, origin=f"http://{LAN}").status == 401
    said = asyncio.run(talk(far, host=LAN, origin=f"http://{LAN}"))
    assert [message["type"] for message in said] == ["websocket.close"]
    assert not echo.reached


def test_the_link_lets_in_by_a_cookie(far: Access, echo: Echo, where: Listening) -> None:
    cookie = cookie_of(far, where)
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert where.token not in cookie and not echo.reached
    pair = cookie.partition(";")[0]
    assert ask(far, host=LAN, cookie=f"a=b; {pair}").status == 200
    said = asyncio.run(talk(far, ["x"], host=LAN, origin=f"http://{LAN}", cookie=pair))
    assert said[-1]["text"] == "x"
    assert ask(far, host=LAN, cookie=pair[:-1]).status == 401
    assert ask(far, host=LAN, cookie=pair.replace("8080", "8081")).status == 401


def test_over_https_the_cookie_stays_there(far: Access, where: Listening) -> None:
    cookie = cookie_of(far, where, scheme="https")
    assert cookie.startswith("__Host-") and cookie.endswith("; Secure")


def test_the_token_is_not_handed_on_and_not_logged(far: Access, where: Listening, caplog) -> None:
    made = scope("http", f"/?token={where.token}", host=LAN)
    answer = ask(far, made=made)
    assert made["query_string"] == b"" and where.token not in answer.text
    assert "//" not in re.search('url=([^"]*)', answer.text)[1]
    ask(far, "/?token=guessed", host=LAN)
    assert "guessed" not in caplog.text and "wrong token" in caplog.text


def test_whoever_guesses_waits(echo: Echo, where: Listening) -> None:
    clock = Time()
    app = Access(echo, where, Limits(wrong_tokens=Rate(3, 0.1)), clock)
    guesser = {"host": LAN, "client": "192.168.0.66"}
    assert [ask(app, f"/?token={k}", **guesser).status for k in range(5)] == [401, 401, 401, 429, 429]
    answer = ask(app, f"/?token={where.token}", **guesser)  # while he waits, the right one does not help
    assert (answer.status, answer.header("retry-after")) == (429, "10")
    assert ask(app, f"/?token={where.token}", host=LAN, client="192.168.0.67").status == 200
    clock.now = 10.5
    assert ask(app, f"/?token={where.token}", **guesser).status == 200


def test_a_house_with_many_addresses_is_one_client(echo: Echo, where: Listening) -> None:
    app = Access(echo, where, Limits(wrong_tokens=Rate(3, 0.1)), Time())
    statuses = [ask(app, "/?token=x", host=LAN, client=f"2001:db8::{k:x}").status for k in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


def test_a_flood_of_requests_ends(echo: Echo) -> None:
    clock = Time()
    app = Access(echo, listening(), Limits(requests=Rate(10, 5)), clock)
    assert [ask(app).status for _ in range(12)] == [200] * 10 + [429] * 2
    clock.now = 1.0
    assert [ask(app).status for _ in range(6)] == [200] * 5 + [429]


def test_a_body_without_end_is_cut(local: Access, echo: Echo) -> None:
    app = Access(echo, listening(), Limits(bounds=Bounds(body_bytes=100)))
    assert ask(app, method="POST", origin=OWN, body=[b"x" * 100]).status == 200
    answer = ask(app, method="POST", origin=OWN, body=[b"x" * 60] * 1000)
    assert answer.status == 413 and "pictures are smaller" in answer.text


def test_a_slow_body_is_cut(echo: Echo) -> None:
    app = Access(echo, listening(), Limits(bounds=Bounds(body_s=0.05)))

    async def run() -> list:
        said = []

        async def receive():
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message) -> None:
            said.append(message)

        await app(scope("http", "/", method="POST", origin=OWN), receive, send)
        return said

    assert asyncio.run(run())[0]["status"] == 408


def test_a_page_that_sends_too_much_is_closed(echo: Echo) -> None:
    app = Access(echo, listening(), Limits(bounds=Bounds(message_bytes=10, messages=Rate(5, 0.001))))
    said = asyncio.run(talk(app, ["x" * 10, "x" * 11, "y"], origin=OWN))
    assert [m.get("text", m.get("code")) for m in said] == [None, "x" * 10, 1009]
    said = asyncio.run(talk(app, [b"x"] * 7, origin=OWN))
    assert (len(said), said[-1]["code"]) == (7, 1008)


def test_a_page_too_many_is_told_so(echo: Echo) -> None:
    app = Access(echo, listening(), Limits(pages=2, sockets_a_page=1))
    visit = {"accept": "text/html", "sec_fetch_mode": "navigate"}

    async def run() -> None:
        left = asyncio.Event()
        pages = [asyncio.create_task(talk(app, until=left, origin=OWN)) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert app.open_sockets == 2
        said = await talk(app, origin=OWN)
        assert [message["type"] for message in said] == ["websocket.close"]
        full = await asked(app, **visit)
        assert full.status == 503 and "2 pages of the console are open" in full.text
        assert (await asked(app, "/camera", sec_fetch_mode="no-cors")).status == 200  # of a page that is open
        left.set()
        await asyncio.gather(*pages)

    asyncio.run(run())
    assert app.open_sockets == 0 and ask(app, **visit).status == 200


def test_every_answer_says_what_the_browser_may_load(local: Access, far: Access) -> None:
    for answer in (ask(local), ask(local, host="evil.example"), ask(far, host=LAN), ask(local, method="PUT")):
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("x-frame-options") == "DENY"  # the application said otherwise
        assert "frame-ancestors 'none'" in answer.header("content-security-policy")
        assert answer.header("cache-control") == "no-store"
    policy = dict(part.split(" ", 1) for part in ask(local).header("content-security-policy").split("; "))
    assert policy["default-src"] == "'self'" and not any("*" in said or "http" in said for said in policy.values())


def test_words_of_strangers_are_not_written_into_a_page(local: Access) -> None:
    answer = ask(local, host="<script>alert(1)</script>", accept="text/html")
    assert answer.header("content-type").startswith("text/html") and "<script" not in answer.text


def test_an_error_of_the_application_is_not_hidden() -> None:
    async def broken(scope, receive, send) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        ask(Access(broken, listening()))
