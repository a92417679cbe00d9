"""PyBullet, without the lines of its own that it prints when it is loaded and when it connects, among a command's progress and JSON."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing reaches file descriptors 1 and 2 meanwhile."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C still buffers would come out later
        for descriptor, copy in zip((1, 2), saved):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(null)


with quiet():
    import pybullet
    from pybullet_utils.bullet_client import BulletClient


RENDERERS = ("tiny", "egl")


def connect(renderer: str = "tiny") -> BulletClient:
    """A client with a world of its own, without a window. RuntimeError where EGL is asked for and does not work."""
    if renderer not in RENDERERS:
        raise ValueError(f"unknown renderer {renderer!r}; known: {', '.join(RENDERERS)}")
    with quiet():
        client = BulletClient(connection_mode=pybullet.DIRECT)
        # The plugin replaces the client's renderer, whatever a call to getCameraImage names.
        library = importlib.util.find_spec("eglRenderer") if renderer == "egl" else None
        loaded = client.loadPlugin(library.origin, "_eglRendererPlugin") if library is not None else -1
    if renderer == "egl" and loaded < 0:
        client.disconnect()
        raise RuntimeError(
            "EGL does not work here (PyBullet's eglRenderer plugin or a driver is missing); use the renderer tiny"
        )
    return client
