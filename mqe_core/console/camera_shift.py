"""By how much one picture of a camera is shifted against another.

A camera that was moved is put back before a policy is blamed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mqe_core import images
from mqe_core.robot.arrays import AnyArray, Images

_HEIGHT, _WIDTH = 192, 256  # pixels on which it is measured
_SURE = 0.075  # of the peak; own views of real episodes have more (benchmarks/camera_shift.py)
_STILL_PX = 4.0  # of 640; less is the measurement's own


@dataclass(frozen=True)
class Shift:
    """The picture lies so many pixels `right` and `down` of the reference, in the picture's own pixels; `peak`: from 0
    to 1, how well the two then fit; `least`: a shift that the two can tell.
    """

    right: float
    down: float
    peak: float
    least: float = _STILL_PX

    @property
    def is_sure(self) -> bool:
        """Whether the two pictures fit at all."""
        return self.peak >= _SURE

    def words(self, reference: str) -> str:
        """What an operator does about it; `reference` names the other picture, such as "the goal"."""
        if not self.is_sure:
            why = "another view, much that has changed, or a bare table"
            return f"the camera's picture and that of {reference} do not fit: {why}"
        if max(abs(self.right), abs(self.down)) < self.least:
            return f"the camera stands as it did for {reference}"
        across = f"{abs(self.right):.0f} pixels {'right' if self.right > 0 else 'left'}"
        along = f"{abs(self.down):.0f} {'down' if self.down > 0 else 'up'}"
        return f"what the camera shows lies {across} and {along} of the picture of {reference}: was it moved?"


def camera_shift(picture: Images, reference: Images) -> Shift:
    """Of two pictures (H, W, 3) uint8 of one camera, by phase correlation (Kuglin and Hines, 1975)."""
    first, second = (_spectrum(image) for image in (picture, reference))
    cross = first * np.conj(second)
    surface = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), (_HEIGHT, _WIDTH))
    row, column = np.unravel_index(int(np.argmax(surface)), surface.shape)
    down, right = (int(at) - size if at > size // 2 else int(at) for at, size in ((row, _HEIGHT), (column, _WIDTH)))
    height, width = picture.shape[:2]
    least = max(_STILL_PX, 1.5 * width / reference.shape[1])  # a reference of few pixels is known to one of them
    return Shift(right * width / _WIDTH, down * height / _HEIGHT, float(surface[row, column]), least)


def _spectrum(image: Images) -> AnyArray:
    """Of its greys without their mean, faded out towards the edges."""
    grey = images.resize(image, _HEIGHT, _WIDTH).mean(axis=-1)
    window = np.outer(np.hanning(_HEIGHT), np.hanning(_WIDTH))
    spectrum: AnyArray = np.fft.rfft2((grey - grey.mean()) * window)
    return spectrum
