"""Small pictures for lists, and a picture as the browser takes it: all by the one image path."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from mqe_core.images import encode_jpeg, resize
from mqe_core.robot.arrays import Images

THUMBNAIL_HEIGHT = 120  # pixels
_QUALITY = 80


def thumbnail(image: Images) -> bytes:
    """(H, W, 3) uint8 → a JPEG of THUMBNAIL_HEIGHT pixels of the same sides' ratio; nothing is enlarged."""
    height, width = image.shape[:2]
    if height > THUMBNAIL_HEIGHT:
        image = resize(image, THUMBNAIL_HEIGHT, max(1, round(width * THUMBNAIL_HEIGHT / height)))
    return encode_jpeg(image, _QUALITY)


class Kept:
    """The newest pictures that were made, by what they were made of. Safe to call from several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._pictures: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The picture of `key`; made where it is not kept. What `make` raises is raised."""
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]
        made = make()
        with self._lock:
            self._pictures[key] = made
            while len(self._pictures) > self._most:
                self._pictures.popitem(last=False)
        return made
