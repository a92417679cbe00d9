"""An ASGI application on a free port of this machine, served from a thread as the console is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import uvicorn

from mqe_core.console.asgi import App


class Served:
    """Serves what `make` makes for its port. To be left as a context."""

    def __init__(self, make: Callable[[int], App]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(make(self.port), log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Served:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10.0)
        self._socket.close()
