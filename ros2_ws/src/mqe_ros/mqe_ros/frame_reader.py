"""The newest image that can be read, in time. One that cannot is dropped, with its reason, and the next one counts."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from mqe_core.runtime.aside import Aside
from mqe_ros import convert

# One compressed image may take so many times as long to decode as the camera's others did (640x480 takes 10 ms). So
# large pictures and a busy machine move the limit by themselves, between these two.
_USUAL_TIMES, _LEAST_S, _MOST_S = 4.0, 0.04, 0.08
_REMEMBERED = 9  # images
# In which dropped images make way for later ones. With the last one's decoding it stays below the control period, and
# so the control thread misses no tick by it.
_SEARCH_S = 0.11
_LEFT = 3  # decoding threads that may still be at work on images that took too long, before none is begun

Received = tuple[Image | CompressedImage, float]  # an image, and the monotonic time of its receipt


class FrameReader:
    """For the control thread. No queue: what is read is the newest image there is, whatever came before.

    Args:
        newest: the newest image.
        wait_for_image: returns when the next image comes, or after so many seconds.
        tell_dropped: hears why an image was dropped.
    """

    def __init__(
        self,
        newest: Callable[[], Received],
        wait_for_image: Callable[[float], None],
        tell_dropped: Callable[[Exception], object],
    ) -> None:
        self._newest, self._wait_for_image, self._tell_dropped = newest, wait_for_image, tell_dropped
        self._aside = Aside(_MOST_S, most_left=_LEFT)
        self._took_s = deque([_MOST_S], _REMEMBERED)
        self._read: Image | CompressedImage | None = None  # what was read last
        self._pixels: np.ndarray | None = None  # its pixels; None where it was dropped
        self._problem = ""  # why it was

    def read(self) -> tuple[np.ndarray, Received]:
        """((H, W, 3) uint8 RGB, the image that it is of). ValueError where none can be read; it says why."""
        end = time.monotonic() + _SEARCH_S
        while True:
            message, received = self._newest()
            if message is not self._read:
                self._read, self._pixels = message, None
                try:
                    self._pixels = self._decoded(message)
                except ValueError as error:
                    self._problem = str(error)
                    self._tell_dropped(error)
            if self._pixels is not None:
                return self._pixels, (message, received)
            remaining = end - time.monotonic()
            if remaining <= 0.0:
                raise ValueError(self._problem)
            self._wait_for_image(remaining)

    def _decoded(self, message: Image | CompressedImage) -> np.ndarray:
        """ValueError whatever the message holds that is no picture."""
        try:
            if isinstance(message, Image):  # only a copy, of a bounded size
                return convert.image_to_array(message)
            limit = min(max(_USUAL_TIMES * statistics.median(tuple(self._took_s)), _LEAST_S), _MOST_S)
            return self._aside.wait_for(lambda: self._timed(message), limit)
        except ValueError:
            raise
        except TimeoutError as error:
            raise ValueError(f"an image that takes long to decode: {error}") from error
        except Exception as error:  # a decoder's own, on bytes of somebody else's
            raise ValueError(f"an image that cannot be read: {type(error).__name__}: {error}") from error

    def _timed(self, message: CompressedImage) -> np.ndarray:
        begun = time.monotonic()
        try:
            return convert.compressed_to_array(message)
        finally:
            self._took_s.append(time.monotonic() - begun)  # also where nobody waits for it any more
