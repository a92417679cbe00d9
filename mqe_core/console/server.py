"""Serves the page from a thread of its own, by uvicorn. Everything that a browser asks for lies in this process."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.staticfiles import StaticFiles

from mqe_core.console.access import Access
from mqe_core.console.console import Console
from mqe_core.console.file_routes import FileRoutes
from mqe_core.console.listening import Listening
from mqe_core.console.live import Live
from mqe_core.console.page import Page
from mqe_core.console.pictures import JpegPictures

_STATIC = Path(__file__).with_name("static")
_END_S = 5.0
_HISTORY = 50  # messages to a page that are kept for it while it is cut off


def build_app(console: Console) -> FastAPI:
    """The page and its routes, without the door. Once in a process: NiceGUI keeps its pages in one place."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_api_websocket_route("/live", Live(JpegPictures(console.link), console.hands).serve)
    app.mount("/files", FileRoutes(console.goals, console.recordings))
    app.mount("/own", StaticFiles(directory=_STATIC))
    ui.page("/")(lambda: Page(console).build())
    ui.run_with(
        app,
        title="mqe: operator's console",
        dark=None,
        language="en-US",
        reconnect_timeout=2.0,
        binding_refresh_interval=None,
        message_history_length=_HISTORY,
        tailwind=False,
        show_welcome_message=False,
    )
    return app


class ConsoleServer:
    """The page, where `where` says. OSError, with the remedy, where the port is taken.

    Attributes:
        failure: what ended the serving, where something did.
    """

    def __init__(self, console: Console, where: Listening) -> None:
        self.failure: Exception | None = None
        self.where = where
        self._socket = _listening(where.host, where.port)
        app = Access(build_app(console), where)
        config = uvicorn.Config(
            app,
            log_level="warning",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # who asks is whoever is connected, whatever he says
            server_header=False,
            timeout_graceful_shutdown=1,
            ws_max_size=2**18,
            ws_ping_interval=5.0,
            ws_ping_timeout=5.0,
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it; safe to call again, and where it never began."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=_END_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        except Exception as error:  # carried to the node, which ends with it
            self.failure = error


def _listening(host: str, port: int) -> socket.socket:
    """A socket that is bound there."""
    words = f"the page cannot be served at {host}:{port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise OSError(f"{words}: {error.strerror or error}; console:=PORT names another port") from error
    return listening
