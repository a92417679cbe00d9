"""The newest pictures as JPEG, encoded once however many pages look, and not at all where none does."""

from __future__ import annotations

import threading

from mqe_core import images
from mqe_core.console.link import Link

_QUALITY = 80  # 640x480: some 40 kB


class JpegPictures:
    """Pictures of a link; every method may be called from any thread."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()  # so that one thread encodes and the others wait for it
        self._encoded: dict[str, tuple[int, bytes]] = {}

    def number(self, name: str) -> int:
        """Of the newest one; 0 where there is none."""
        return self._link.picture_number(name)

    def newest(self, name: str) -> tuple[int, bytes] | None:
        """(its number, its JPEG bytes); None where there is none. ValueError where it cannot be read."""
        with self._lock:
            known = self._encoded.get(name)
            if known is not None and known[0] == self._link.picture_number(name):
                return known
            picture = self._link.picture(name)
            if picture is None:
                return None
            self._encoded[name] = (picture.number, images.encode_jpeg(picture.image, _QUALITY))
            return self._encoded[name]
