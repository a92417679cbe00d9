"""Promise: an image that is damaged, or takes too long, makes way for the next one; the control thread never waits for
it longer than its limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from sensor_msgs.msg import CompressedImage, Image

from mqe_core.images import encode_png
from mqe_ros import convert, frame_reader
from mqe_ros.frame_reader import FrameReader

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
GOOD = CompressedImage(data=encode_png(PIXELS))
DAMAGED = CompressedImage(data=encode_png(PIXELS)[:200])
LONG_S = 60.0


class Camera:
    """Its next image comes when the reader waits for one."""

    def __init__(self, *images: Image | CompressedImage) -> None:
        self.images = list(images)
        self.dropped: list[str] = []
        self.reader = FrameReader(lambda: (self.images[0], 1.0), self._wait, lambda why: self.dropped.append(str(why)))

    def _wait(self, seconds: float) -> None:
        if len(self.images) > 1:
            self.images.pop(0)
        else:
            time.sleep(seconds)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompressedImage]:
    """An image whose decoding does not end before the test does."""
    image, over, decode = CompressedImage(format="slow", data=b"x"), threading.Event(), convert.compressed_to_array

    def decode_or_wait(message: CompressedImage) -> np.ndarray:
        if message.format == "slow":
            over.wait()
        return decode(message)

    monkeypatch.setattr(convert, "compressed_to_array", decode_or_wait)
    monkeypatch.setattr(frame_reader, "_SEARCH_S", LONG_S)
    for limit in ("_LEAST_S", "_MOST_S"):  # on a busy machine a good image may need long
        monkeypatch.setattr(frame_reader, limit, 1.0)
    yield image
    over.set()


def test_the_newest_image_is_read_once(slow: CompressedImage) -> None:
    camera = Camera(GOOD)
    pixels, (message, received) = camera.reader.read()
    np.testing.assert_array_equal(pixels, PIXELS)
    assert (message, received) == (GOOD, 1.0)
    assert camera.reader.read()[0] is pixels and camera.dropped == []


@pytest.mark.parametrize("what", ["damaged", "slow"])
def test_one_that_cannot_be_read_makes_way_for_the_next(slow: CompressedImage, what: str) -> None:
    camera = Camera({"damaged": DAMAGED, "slow": slow}[what], GOOD)
    np.testing.assert_array_equal(camera.reader.read()[0], PIXELS)
    said = {"damaged": "not a readable JPEG or PNG", "slow": "takes long to decode"}[what]
    assert len(camera.dropped) == 1 and said in camera.dropped[0]


def test_where_none_can_be_read_the_last_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera(DAMAGED, Image(height=2, width=2, encoding="mono16", step=4, data=bytes(8)))
    for _ in range(2):
        with pytest.raises(ValueError, match="mono16"):
            camera.reader.read()
    assert len(camera.dropped) == 2  # each is dropped once


def test_images_that_hang_hold_nobody_up(slow: CompressedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("_SEARCH_S", 0.0), ("_LEAST_S", 0.01), ("_MOST_S", 0.01)):
        monkeypatch.setattr(frame_reader, name, limit)
    camera = Camera(*(CompressedImage(format="slow", data=bytes([k])) for k in range(6)))
    begun = time.monotonic()
    for _ in range(6):  # more than there may be threads for
        with pytest.raises(ValueError, match="takes long to decode"):
            camera.reader.read()
        camera.images.pop(0)
    assert time.monotonic() - begun < LONG_S and len(camera.dropped) == 6


def test_what_a_decoder_of_others_raises_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: CompressedImage) -> Callable[[], None]:
        raise MemoryError("so much")

    monkeypatch.setattr(convert, "compressed_to_array", fail)
    with pytest.raises(ValueError, match="cannot be read: MemoryError: so much"):
        Camera(GOOD).reader.read()


def test_the_limit_follows_what_the_cameras_images_take(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    camera = Camera(GOOD)
    wait_for = camera.reader._aside.wait_for

    def patient(work: Callable[[], np.ndarray], limit_s: float) -> np.ndarray:
        limits.append(limit_s)
        return wait_for(work, LONG_S)

    monkeypatch.setattr(camera.reader._aside, "wait_for", patient)
    for seconds in (0.001, 0.001, 0.001, 0.015, 0.015, 0.015, 0.015, 1.0, 1.0, 1.0):
        camera.images = [CompressedImage(data=GOOD.data)]
        camera.reader.read()
        camera.reader._took_s[-1] = seconds
    assert limits[0] == 0.08 and limits[3] == 0.04  # unknown at first; then so short that the least limit holds
    assert limits[9] == pytest.approx(0.06)  # single slow ones change nothing
