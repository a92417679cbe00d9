"""Images changed as BridgeData V2's own training changes them: a resized crop, brightness, contrast, saturation, hue.

Ranges and order are those of the defaults in bridge_data_v2 (`augment_kwargs`): a crop of 0.8 to 1 of the area with an
aspect of 0.9 to 1.1, resized bilinearly; brightness by up to 0.2; contrast and saturation by 0.8 to 1.2; hue by up to
0.1 of its circle; values are clipped to [0, 1] after each. Every row draws one change, for all of its images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mqe_core.learning.rows.augmentation import ALL, Change, ImageArray, first_alike

AREA = (0.8, 1.0)
LOG_ASPECT = (math.log(0.9), math.log(1.1))
BRIGHTNESS, HUE = 0.2, 0.1
CONTRAST = SATURATION = (0.8, 1.2)


@dataclass(frozen=True)
class BridgeAugmentation:
    """See :class:`mqe_core.learning.rows.augmentation.Augmentation`; computed with torch, where the images lie."""

    def draw(self, rng: np.random.Generator, rows: int, alike: np.ndarray | None = None, own: slice = ALL) -> Change:
        """The change of the rows ``own`` of a batch of ``rows``; those of one number in ``alike (B,)`` get the same."""
        area, aspect = _within(rng, AREA, rows), np.exp(_within(rng, LOG_ASPECT, rows))
        height, width = np.minimum(np.sqrt(area / aspect), 1.0), np.minimum(np.sqrt(area * aspect), 1.0)
        top, left = rng.random(rows) * (1 - height), rng.random(rows) * (1 - width)
        colours = [
            _within(rng, (-BRIGHTNESS, BRIGHTNESS), rows),
            _within(rng, CONTRAST, rows),
            _within(rng, SATURATION, rows),
            _within(rng, (-HUE, HUE), rows),
        ]
        drawn = np.stack([top, left, height, width, *colours]).astype(np.float32)  # (8, B)
        drawn = (drawn if alike is None else drawn[:, first_alike(alike)])[:, own]

        def change(images: ImageArray) -> ImageArray:
            given = torch.as_tensor(images)
            numbers = torch.from_numpy(drawn).to(given.device)
            changed = torch.stack([_changed(of_key, numbers) for of_key in given])
            return changed if isinstance(images, Tensor) else changed.numpy()

        return change


def _within(rng: np.random.Generator, bounds: tuple[float, float], rows: int) -> np.ndarray:
    return rng.uniform(bounds[0], bounds[1], rows)


def _changed(images: Tensor, numbers: Tensor) -> Tensor:
    """``(B, H, W, 3) uint8, (8, B)`` -> ``(B, H, W, 3) uint8``."""
    top, left, height, width, brightness, contrast, saturation, hue = (row[:, None, None, None] for row in numbers)
    values = images.permute(0, 3, 1, 2).float() / 255.0  # (B, 3, H, W)
    values = resized_crop(values, top.flatten(), left.flatten(), height.flatten(), width.flatten())
    values = (values + brightness).clamp(0, 1)
    mean = values.mean((2, 3), keepdim=True)
    values = ((values - mean) * contrast + mean).clamp(0, 1)
    values = shift_hue_and_saturation(values, hue[:, 0], saturation[:, 0])
    return (values * 255.0).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def resized_crop(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """``(B, C, H, W)`` and ``(B,)`` shares of the image's sides -> the crops, bilinearly resized to ``(H, W)``.

    The corners of a crop become the corners' pixels, as in TensorFlow's ``crop_and_resize``.
    """
    rows, columns = (torch.linspace(0, 1, n, device=images.device) for n in images.shape[2:])
    y = 2 * (top[:, None] + height[:, None] * rows) - 1  # (B, H) in [-1, 1]
    x = 2 * (left[:, None] + width[:, None] * columns) - 1
    shape = (len(images), len(rows), len(columns))
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True)


def shift_hue_and_saturation(images: Tensor, hue: Tensor, saturation: Tensor) -> Tensor:
    """``(B, 3, H, W)`` RGB in [0, 1]; hue ``(B, 1, 1)`` is added in turns, saturation ``(B, 1, 1)`` is a factor. Both
    are those of HSV.
    """
    red, green, blue = images.unbind(1)  # (B, H, W)
    value, least = images.amax(1), images.amin(1)
    chroma = value - least
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixth = sixth + 6 * hue
    # Saturation is chroma / value, at most 1 after its change.
    chroma = torch.minimum(chroma * saturation, value)
    channels = []
    for offset in (5, 3, 1):  # red, green, blue: value less chroma times a trapezoid of the hue
        k = torch.remainder(offset + sixth, 6)
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)
