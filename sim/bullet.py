"""PyBullet, kept quiet: it prints lines of its own when it is loaded and when it connects, which would stand among a
command's progress and JSON.

It carries no types. A client is annotated as `Bullet`, which is Any; whoever calls it gives its answers a type.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Any, TypeAlias


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


Bullet: TypeAlias = Any
RENDERERS = ("tiny", "egl")


def connect(renderer: str = "tiny") -> Bullet:
    """A client with a world of its own, without a window.

    Raises ValueError for an unknown renderer, RuntimeError where EGL is asked for and does not work.
    """
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
