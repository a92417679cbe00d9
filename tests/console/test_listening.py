"""Promise: only what nobody else reaches is open without a token."""

from __future__ import annotations

import socket

import pytest

from mqe_core.console.listening import listening


@pytest.mark.parametrize("text", ["", "127.0.0.1", ":9000", "localhost:9000", "::1", "[::1]:9000", "127.1.2.3"])
def test_this_machine_alone_needs_no_token(text: str) -> None:
    where = listening(text)
    assert where.is_local and "token" not in where.link
    assert where.port == (9000 if "9000" in text else 8080)


@pytest.mark.parametrize(
    "text", ["0.0.0.0", "*", "[::]:8080", "192.168.0.7", "robot", "10.0.0.1:9000", "localhost.evil"]
)
def test_every_other_address_gets_one(text: str) -> None:
    first, second = listening(text), listening(text)
    assert len(first.token) >= 43 and first.token != second.token
    assert first.link.endswith(f"/?token={first.token}") and not first.is_local
    assert "0.0.0.0" not in first.link and "[::]" not in first.link


def test_a_token_that_is_given_is_kept_and_a_short_one_refused() -> None:
    assert listening("robot", token="a" * 40).token == "a" * 40
    assert not listening("", token="a" * 40).is_local
    with pytest.raises(ValueError, match="at least 32"):
        listening("robot", token="secret")


@pytest.mark.parametrize("text", ["ipc:///tmp/x", "127.0.0.1:*", "http://x", "a b", "1:2:3", ":0", ":99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected tcp://HOST:PORT|listens on a host and a port"):
        listening(text)


def test_a_machine_is_known_by_its_names_and_numbers() -> None:
    where = listening("robot", names=["Lab.example.org"])
    own = socket.gethostname().lower()
    for host in (
        "robot:8080",
        "ROBOT",
        "lab.example.org",
        "192.168.0.7:8080",
        "[fe80::1]:8080",
        own,
        f"{own.partition('.')[0]}.local",
    ):
        assert where.is_own(host), host
    for host in ("evil.example", "robot.evil.example", "robot:8080:1", "robot/", "robot@evil", "", "[robot]", "robot:"):
        assert not where.is_own(host), host
    assert not listening().is_own(own)
