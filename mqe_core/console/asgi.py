"""What a web server and an application say to each other: ASGI's names and shapes (the ASGI specification, 3.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]


def header(scope: Scope, name: bytes) -> list[str]:
    """The values of the header `name`, in lower case, in their order; empty where it is absent."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
