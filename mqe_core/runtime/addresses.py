"""Addresses of servers, as people type them and as ZeroMQ takes them.

`5577`, `:5577`, `robot`, `robot:5577`, `127.0.0.1:5577`, `::1`, `[::1]:5577`, each with or without `tcp://`; and
`ipc://PATH`. Without a host this machine is meant.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

import zmq

POLICY_PORT = 5557  # of `mqe serve`
_THIS_MACHINE = "127.0.0.1"
_ANY = "*"
_LOCAL_SCHEMES = ("ipc://", "inproc://")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([^:]*)")


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        text: as ZeroMQ takes it, such as tcp://[::1]:5577.
        host: name or number, without brackets; empty for a socket file.
        port: None for any free one, and for a socket file.
    """

    text: str
    host: str
    port: int | None

    @property
    def is_local(self) -> bool:
        """Whether nobody outside this machine can reach a socket bound here."""
        if not self.host:
            return True
        number = _number(self.host)  # None: a name or an interface; only one of them is certain
        return self.host == "localhost" if number is None else number.is_loopback

    def prepare(self, connection: zmq.Socket[bytes]) -> None:
        """Tell the socket which of the two internets this is; ZeroMQ takes no IPv6 address unless it is told."""
        if _is_ipv6(self.host, self.port):
            connection.set(zmq.IPV6, 1)


def parse_address(text: str, default_port: int | None = None, *, binds: bool = False) -> Address:
    """The address that `text` means. ValueError, with what was expected, where it is none.

    Args:
        default_port: where the text has none.
        binds: to listen there: then the host may be `*`, all of this machine's, and the port `*`, any free one.
    """
    text = text.strip()
    if text.startswith(_LOCAL_SCHEMES):
        return Address(text, "", None)
    rest = re.sub(r"^tcp://", "", text, flags=re.IGNORECASE).removesuffix("/")
    port: str | None
    if (rest.isascii() and rest.isdigit()) or _number(rest) is not None or ":" not in rest:
        host, port = ("", rest) if rest.isdigit() else (rest, None)
    else:
        match = _WITH_PORT.fullmatch(rest)
        host, port = (match[1], match[2]) if match else (rest, None)
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host or _THIS_MACHINE
    number = _number(host)
    if bracketed and not isinstance(number, ipaddress.IPv6Address):
        raise _no_address(text)
    if number is None and not (_HOST.fullmatch(host) or (binds and host == _ANY)):
        raise _no_address(text)
    if not binds and number is not None and number.is_unspecified:
        raise ValueError(f"{text} is where a server listens, on all of its addresses; give one of them, or its name")
    chosen = _port(text, port, default_port, binds)
    shown = f"[{host}]" if isinstance(number, ipaddress.IPv6Address) else host
    return Address(f"tcp://{shown}:{_ANY if chosen is None else chosen}", host, chosen)


def _port(text: str, port: str | None, default: int | None, binds: bool) -> int | None:
    if port is None:
        port = "" if default is None else str(default)
    if binds and port == _ANY:
        return None
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):  # ZeroMQ would take 99999 for another one
        raise _no_address(text)
    return int(port)


def _no_address(text: str) -> ValueError:
    return ValueError(
        f"{text}: expected tcp://HOST:PORT with a port from 1 to 65535; an IPv6 address stands in brackets, as in "
        "tcp://[::1]:5557"
    )


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    scope = host.partition("%")[2]
    if ":" in scope:  # Python would take the port of fe80::1%eth0:5557 for a part of the interface's name
        return None
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_ipv6(host: str, port: int | None) -> bool:
    """Whether the host is an IPv6 address, or a name that has no other."""
    number = _number(host)
    if number is not None or not host or host == _ANY:
        return isinstance(number, ipaddress.IPv6Address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return {family for family, *_ in found} == {socket.AF_INET6}
