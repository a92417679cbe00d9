"""Odd requests, drawn from a seed: what a scanner, a broken proxy or a curious colleague may send."""

from __future__ import annotations

import random

from tests.console.asgi_client import HOST

METHODS = (
    *("GET",) * 9,
    *("POST",) * 5,
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "",
    "G\0T",
    "A" * 300,
)
WORDS = (
    *(
        "goals",
        "recordings",
        "place",
        "day",
        "thumbnail",
        "0",
        "-1",
        "1",
        "99999999999999999999",
        "live",
        "own",
        "_nicegui",
    ),
    *("..", ".", "...", "%2e%2e", "%00", "\0", "\n", "\\", "C:", "~", "$(id)", "${x}", "<script>", "'; --", "{{7*7}}"),
    *("etc", "passwd", "secret", "\u2025", "\uff0f", "\u202e", "\ud800", "\U0001f916", "a" * 300, "b" * 5000, "", " "),
)
HOSTS = (
    HOST,
    "localhost",
    "[::1]:8080",
    "127.0.0.1",
    "evil.example",
    "192.168.0.7:8080",
    "",
    "[",
    "a b",
    "\xff",
    "x" * 9000,
)
ORIGINS = (
    f"http://{HOST}",
    "http://localhost",
    "http://evil.example",
    "null",
    "",
    "file://",
    "http://",
    "\xff" * 50,
    ":" * 999,
)
TOKENS = ("x", "", "a" * 5000, "\xff", "%00", "token", "[]", "None", "0")
NAMES = (
    "cookie",
    "content-length",
    "transfer-encoding",
    "range",
    "accept",
    "x-forwarded-for",
    "upgrade",
    "\xff",
    "",
    "a" * 999,
)
VALUES = (
    "",
    "0",
    "-1",
    "1e9",
    "NaN",
    "chunked",
    "bytes=0-",
    "text/html",
    "\x00",
    "\xff" * 99,
    "a=b;" * 99,
    "x" * 9000,
    "navigate",
)
CLIENTS = (
    ("127.0.0.1", 1),
    ("192.168.0.9", 2),
    ("2001:db8::1", 3),
    ("::ffff:10.0.0.1", 4),
    ("", 0),
    ("odd%eth0", 5),
    None,
)


def path(rng: random.Random) -> str:
    begin = rng.choice(("/", "/", "/", "/goals/", "/recordings/", "", "//", "http://evil.example/"))
    return begin + "/".join(rng.choices(WORDS, k=rng.randint(0, 6)))


def headers(rng: random.Random, own: list[tuple[str, str]] | None = None) -> list[tuple[bytes, bytes]]:
    """`own`: those without which nothing is let in; now and then they are left out."""
    made = [("host", rng.choice(HOSTS)) for _ in range(rng.choice((0, 1, 1, 1, 1, 2)))]
    made += [("origin", rng.choice(ORIGINS)) for _ in range(rng.choice((0, 1, 1, 2)))]
    if own is not None and rng.random() < 0.6:
        made = list(own)
    made += [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.randint(0, 4))]
    made += [
        (f"sec-fetch-{rng.choice(('site', 'mode', 'dest'))}", rng.choice(("cross-site", "none", "navigate", "\xff")))
    ]
    if rng.random() < 0.7:
        made.pop()
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in made]


def query(rng: random.Random) -> bytes:
    pairs = (
        f"{rng.choice(('token', 'x', '', 'token[]'))}={rng.choice(TOKENS)}" for _ in range(rng.choice((0, 0, 1, 2, 40)))
    )
    return "&".join(pairs).encode("latin-1")


def scope(rng: random.Random, kind: str, own: list[tuple[str, str]] | None = None) -> dict:
    """Of a request or a WebSocket."""
    where = path(rng)
    made = {
        "type": kind,
        "path": where,
        "query_string": query(rng),
        "scheme": rng.choice(("https", "wss")) if rng.random() < 0.1 else {"http": "http", "websocket": "ws"}[kind],
        "headers": headers(rng, own),
        "client": rng.choice(CLIENTS),
    }
    if rng.random() < 0.5:
        made["raw_path"] = where.encode("utf-8", "surrogatepass")
    return {**made, "method": rng.choice(METHODS)} if kind == "http" else made


def body(rng: random.Random) -> list[bytes]:
    return [rng.randbytes(rng.choice((0, 1, 100, 5000))) for _ in range(rng.randint(1, 6))]


def messages(rng: random.Random) -> list[str | bytes]:
    """Of a WebSocket."""
    texts = (
        "",
        "{}",
        "[",
        '{"keys": ["w"]}',
        '{"axes": [NaN, 1e999]}',
        '{"axes": [1e9]}',
        "\ud800",
        "0" * 10_000,
        "hold",
    )
    return [
        rng.choice(texts) if rng.random() < 0.6 else rng.randbytes(rng.choice((0, 1, 9, 4000)))
        for _ in range(rng.randint(0, 9))
    ]
