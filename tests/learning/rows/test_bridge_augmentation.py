"""BridgeData's own augmentation: against slow obvious versions, within its ranges, one change a row."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from mqe_core.learning.rows.bridge_augmentation import BridgeAugmentation, resized_crop, shift_hue_and_saturation

KEYS, ROWS, SIZE = 3, 5, 12


def test_the_crop_is_bilinear_and_puts_corners_on_corners() -> None:
    rng = np.random.default_rng(0)
    images = rng.random((3, 2, 7, 9)).astype(np.float32)
    boxes: np.ndarray = np.array([[0.1, 0.0, 0.2], [0.05, 0.0, 0.0], [0.8, 1.0, 0.7], [0.9, 1.0, 0.95]], np.float32)
    crops = resized_crop(*(torch.from_numpy(a) for a in (images, *boxes))).numpy()
    top, left, height, width = boxes.tolist()
    for n in range(3):
        for i in range(7):
            for j in range(9):
                y, x = (top[n] + height[n] * i / 6) * 6, (left[n] + width[n] * j / 8) * 8
                y0, x0 = min(int(y), 5), min(int(x), 7)
                dy, dx = y - y0, x - x0
                corner = images[n, :, y0 : y0 + 2, x0 : x0 + 2]
                weights = np.outer([1 - dy, dy], [1 - dx, dx])
                np.testing.assert_allclose(crops[n, :, i, j], (corner * weights).sum((1, 2)), atol=1e-5)
    np.testing.assert_allclose(crops[1], images[1], atol=1e-6)  # the whole image stays as it is


def test_hue_and_saturation_are_those_of_hsv() -> None:
    rng = np.random.default_rng(1)
    colours = np.concatenate([rng.random((60, 3)), np.eye(3), np.eye(3)[::-1], np.full((2, 3), 0.5), np.zeros((1, 3))])
    hue, saturation = rng.uniform(-0.1, 0.1, len(colours)), rng.uniform(0.8, 1.2, len(colours))
    images = torch.from_numpy(colours.astype(np.float32))[:, :, None, None]
    shifts = (torch.from_numpy(a.astype(np.float32))[:, None, None] for a in (hue, saturation))
    shifted = shift_hue_and_saturation(images, *shifts)[:, :, 0, 0].numpy()
    for n, colour in enumerate(colours):
        h, s, v = colorsys.rgb_to_hsv(*colour)
        expected = colorsys.hsv_to_rgb((h + hue[n]) % 1.0, min(s * saturation[n], 1.0), v)
        np.testing.assert_allclose(shifted[n], expected, atol=1e-5)


@pytest.fixture()
def same() -> np.ndarray:
    one = np.random.default_rng(0).integers(0, 256, (1, 1, SIZE, SIZE, 3), dtype=np.uint8)
    return one.repeat(KEYS, 0).repeat(ROWS, 1)


def test_every_image_of_a_row_changes_alike_and_rows_differ(same: np.ndarray) -> None:
    changed = BridgeAugmentation().draw(np.random.default_rng(3), ROWS)(same)
    assert changed.shape == same.shape and changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, changed[:1].repeat(KEYS, 0))
    assert len(np.unique(changed[0].reshape(ROWS, -1), axis=0)) == ROWS
    alike = BridgeAugmentation().draw(np.random.default_rng(3), ROWS, np.array([4, 2, 4, 9, 2]))(same)
    np.testing.assert_array_equal(alike[:, [0, 1]], alike[:, [2, 4]])
    np.testing.assert_array_equal(alike[:, [0, 1, 3]], changed[:, [0, 1, 3]])


def test_a_tensor_changes_as_an_array_does(same: np.ndarray) -> None:
    array = BridgeAugmentation().draw(np.random.default_rng(3), ROWS)(same)
    tensor = BridgeAugmentation().draw(np.random.default_rng(3), ROWS)(torch.from_numpy(same))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), array)


def test_an_even_grey_shows_the_range_of_brightness() -> None:
    """Crop, contrast, saturation and hue leave it as it is."""
    grey = np.full((1, 4000, 4, 4, 3), 128, np.uint8)
    changed = BridgeAugmentation().draw(np.random.default_rng(0), 4000)(grey)[0, :, 0, 0].astype(float) / 255
    np.testing.assert_array_equal(changed[:, 0], changed[:, 2])
    shift = changed[:, 0] - 128 / 255
    assert -0.2 - 0.01 < shift.min() < -0.19 and 0.19 < shift.max() < 0.2 + 0.01 and abs(shift.mean()) < 0.01
