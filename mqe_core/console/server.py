"""Serves the page from a thread of its own, by uvicorn. Everything that a browser asks for lies in this process."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.staticfiles import StaticFiles

from mqe_core.console.console import Console
from mqe_core.console.goal_pictures import GoalPictures
from mqe_core.console.live import Live
from mqe_core.console.page import Page
from mqe_core.console.pictures import JpegPictures
from mqe_core.runtime.addresses import parse_address

CONSOLE_PORT = 8080
_STATIC = Path(__file__).with_name("static")
_END_S = 5.0


def build_app(console: Console) -> FastAPI:
    """The page and its routes. Once in a process: NiceGUI keeps its pages in one place."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    goals = GoalPictures(console.goal_folders)
    app.add_api_websocket_route("/live", Live(JpegPictures(console.link), console.hands).serve)
    app.add_api_route("/goals/{name}", goals.serve)
    app.mount("/own", StaticFiles(directory=_STATIC))
    ui.page("/")(lambda: Page(console, goals).build())
    ui.run_with(app, title="mqe: operator's console", dark=None, reconnect_timeout=2.0, show_welcome_message=False)
    return app


class ConsoleServer:
    """The page at an address. ValueError where that is none, OSError where it is taken.

    Attributes:
        failure: what ended the serving, where something did.
    """

    def __init__(self, console: Console, address: str) -> None:
        where = parse_address(address, CONSOLE_PORT, binds=True)
        if not where.is_local or not where.host:
            raise ValueError(f"{address}: the page is served to this machine only; give 127.0.0.1:PORT")
        self.failure: Exception | None = None
        self._socket = _listening(where.host, where.port)
        host, port = self._socket.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        config = uvicorn.Config(
            build_app(console), log_level="warning", ws_max_size=65536, ws_ping_interval=5.0, ws_ping_timeout=5.0
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    @property
    def link(self) -> str:
        """What a browser is to open."""
        return f"http://{self.address}/"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it; safe to call again, and where it never began."""
        self._server.should_exit = True
        self._server.force_exit = True  # pages hold their lines open
        if self._thread.is_alive():
            self._thread.join(timeout=_END_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception as error:  # carried to the node, which ends with it
            self.failure = error


def _listening(host: str, port: int | None) -> socket.socket:
    """OSError, with the remedy, where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port or 0))
    except OSError as error:
        listening.close()
        words = f"the page cannot be served at {host}:{port}: {error.strerror}; console:=PORT names another port"
        raise OSError(words) from error
    return listening
