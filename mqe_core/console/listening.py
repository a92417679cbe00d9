"""Where the console listens: on this machine alone, or anywhere else behind a token."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from mqe_core.runtime.addresses import Address, parse_address

CONSOLE_PORT = 8080
TOKEN = "token"  # the name under which the link carries it
_TOKEN_BYTES = 32
_LEAST_TOKEN_LETTERS = 32
_EVERYWHERE = "*"
_WITH_PORT = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9]([a-z0-9._-]{0,252}[a-z0-9])?)(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Listening:
    """Where the console is reached.

    Attributes:
        host: to bind to, a number or a name, without brackets.
        port: to bind to.
        token: that everybody needs who is let in; None: nobody outside this machine reaches it.
        names: of hosts under which browsers may know it, in lower case; numbers go without saying.
    """

    host: str
    port: int
    token: str | None
    names: frozenset[str]

    @property
    def is_local(self) -> bool:
        """Whether nobody outside this machine can reach it."""
        return self.token is None

    @property
    def link(self) -> str:
        """What a person opens. It holds the token: to be shown once, on the terminal of whoever started it."""
        host = socket.gethostname() if _is_everywhere(self.host) else self.host
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}/" + ("" if self.token is None else f"?{TOKEN}={self.token}")

    def is_own(self, host: str) -> bool:
        """Whether `host`, as a Host header has it, is a name of the console.

        A page of somebody else may let its name lead here (DNS rebinding). A number cannot be made to lead elsewhere.
        """
        match = _WITH_PORT.fullmatch(host.lower())
        if match is None:
            return False
        name = match[1].strip("[]")
        try:
            number = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return number.is_loopback or not self.is_local


def listening(text: str = "", *, token: str | None = None, names: Sequence[str] = ()) -> Listening:
    """Where `text` (`HOST`, `:PORT`, `HOST:PORT`; empty: this machine alone) says. ValueError where it is no address.

    Args:
        token: None: a new one is made where the address needs one.
        names: of hosts under which it is known besides, such as that of a proxy before it.
    """
    address = parse_address(text or f":{CONSOLE_PORT}", CONSOLE_PORT, binds=True)
    if not address.host or address.port is None:
        raise ValueError(f"{text}: the console listens on a host and a port, as in 127.0.0.1:{CONSOLE_PORT}")
    if token is not None and len(token) < _LEAST_TOKEN_LETTERS:
        raise ValueError(f"the console's token has {len(token)} letters, at least {_LEAST_TOKEN_LETTERS} are needed")
    if not address.is_local and token is None:
        token = new_token()
    host = "0.0.0.0" if address.host == _EVERYWHERE else address.host
    return Listening(host, address.port, token, frozenset({"localhost", *map(str.lower, names), *_own(address)}))


def new_token() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _own(address: Address) -> set[str]:
    """The names of this machine, where others may reach it."""
    if address.is_local:
        return set()
    machine = socket.gethostname().lower()
    return {address.host.lower(), machine, machine.partition(".")[0], f"{machine.partition('.')[0]}.local"}


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
