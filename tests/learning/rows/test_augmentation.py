"""Random shifts and colours: one coin per batch, one change per row, shared by every image of the row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mqe_core.learning.rows.actions import fit_action_scale
from mqe_core.learning.rows.augmentation import ImageArray, ShiftAugmentation, jitter_colours, random_crop

KEYS, ROWS, SIZE = 4, 5, 12


def changed_by(
    augmentation: ShiftAugmentation, rng: np.random.Generator, images: ImageArray, alike: np.ndarray | None = None
) -> ImageArray:
    return augmentation.draw(rng, images.shape[1], alike)(images)


@pytest.fixture()
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (KEYS, ROWS, SIZE, SIZE, 3), dtype=np.uint8)


def test_crop_equals_the_obvious_version(images: np.ndarray) -> None:
    flat = images.reshape(-1, SIZE, SIZE, 3)
    offsets = np.random.default_rng(1).integers(0, 7, (len(flat), 2))
    shifted = random_crop(flat, offsets, padding=3)
    for row, (dy, dx) in enumerate(offsets):
        for y in range(SIZE):
            for x in range(SIZE):
                source = flat[row, np.clip(y + dy - 3, 0, SIZE - 1), np.clip(x + dx - 3, 0, SIZE - 1)]
                np.testing.assert_array_equal(shifted[row, y, x], source)


def test_tensors_change_as_arrays_do(images: np.ndarray) -> None:
    augmentation = ShiftAugmentation(1.0, padding=3, colour=0.2)
    changed = changed_by(augmentation, np.random.default_rng(3), images, np.array([4, 2, 4, 9, 2]))
    tensors = changed_by(augmentation, np.random.default_rng(3), torch.from_numpy(images), np.array([4, 2, 4, 9, 2]))
    assert tensors.dtype == torch.uint8
    np.testing.assert_array_equal(tensors.numpy(), changed)


def test_every_image_of_a_row_gets_the_same_change() -> None:
    same = (
        np.random.default_rng(0).integers(0, 256, (1, 1, SIZE, SIZE, 3), dtype=np.uint8).repeat(KEYS, 0).repeat(ROWS, 1)
    )
    changed = changed_by(ShiftAugmentation(1.0, padding=3, colour=0.2), np.random.default_rng(3), same)
    for row in range(ROWS):
        for key in range(1, KEYS):
            np.testing.assert_array_equal(changed[key, row], changed[0, row])
    assert any(not np.array_equal(changed[0, row], changed[0, 0]) for row in range(1, ROWS)), (
        "rows differ from each other"
    )


def test_rows_alike_get_the_same_change() -> None:
    same = (
        np.random.default_rng(0).integers(0, 256, (1, 1, SIZE, SIZE, 3), dtype=np.uint8).repeat(KEYS, 0).repeat(ROWS, 1)
    )
    changed = changed_by(
        ShiftAugmentation(1.0, padding=3, colour=0.2), np.random.default_rng(3), same, np.array([4, 2, 4, 9, 2])
    )
    for first, second in ((0, 2), (1, 4)):
        np.testing.assert_array_equal(changed[:, first], changed[:, second])
    assert not np.array_equal(changed[0, 0], changed[0, 1]) and not np.array_equal(changed[0, 1], changed[0, 3])


def test_offsets_are_uniform_over_all_shifts() -> None:
    ramp = np.broadcast_to(10 * np.arange(16, dtype=np.uint8)[:, None, None], (16, 16, 3))
    changed = changed_by(
        ShiftAugmentation(1.0, padding=3), np.random.default_rng(0), np.tile(ramp, (1, 14000, 1, 1, 1))
    )
    shifts = changed[0, :, 8, 8, 0].astype(int) // 10 - 8
    counts = np.bincount(shifts + 3, minlength=7)
    assert len(counts) == 7 and np.abs(counts / 14000 - 1 / 7).max() < 0.015


def test_one_coin_per_batch(images: np.ndarray) -> None:
    rng, augmentation = np.random.default_rng(0), ShiftAugmentation(0.5, padding=3)
    changed_rows = [
        sum(not np.array_equal(new[:, row], images[:, row]) for row in range(ROWS))
        for new in (changed_by(augmentation, rng, images) for _ in range(200))
    ]
    assert 70 < sum(count == 0 for count in changed_rows) < 130
    assert sum(0 < count < ROWS - 1 for count in changed_rows) < 5, "a row stays by chance once in 49 times"


def test_without_augmentation_images_are_untouched(images: np.ndarray) -> None:
    assert changed_by(ShiftAugmentation(0.0), np.random.default_rng(0), images) is images


def test_colour_change_equals_the_formula() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) * 20
    brightness, contrast, tint = np.array([0.1], "f4"), np.array([1.2], "f4"), np.array([[1.0, 0.9, 1.1]], "f4")
    changed = jitter_colours(image, brightness, contrast, tint)
    expected = 255 * (1.2 * (image / 255 - 0.5) + 0.5 + 0.1) * tint
    np.testing.assert_allclose(changed, np.clip(expected, 0, 255), atol=0.51)


def test_action_scale_is_the_quantiles_and_a_stated_gripper() -> None:
    rng = np.random.default_rng(0)
    actions = rng.normal(0, 0.02, (10_000, 7)).astype(np.float32)
    actions[:, 3] = 0.0  # never rolls
    actions[:, 6] = rng.integers(0, 2, 10_000)
    scale = fit_action_scale(actions)
    for dimension in (0, 1, 2, 4, 5):
        inside = (actions[:, dimension] >= scale.low[dimension]) & (actions[:, dimension] <= scale.high[dimension])
        assert inside.mean() == pytest.approx(0.98, abs=1e-3)
    assert scale.low[6] == 0.0 and scale.high[6] == 1.0
    assert scale.low[3] < 0.0 < scale.high[3], "a dimension that never moves still has a finite scale"
    normal = scale.normalise(actions)
    assert np.abs(normal).max() == 1.0
    np.testing.assert_array_equal(normal[:, 3], 0.0)
    inside = np.abs(normal) < 1
    recovered = (normal + 1) / 2 * (scale.high - scale.low) + scale.low
    np.testing.assert_allclose(recovered[inside], actions[inside], atol=1e-7)


def test_action_scale_refuses_actions_that_are_not_numbers() -> None:
    with pytest.raises(ValueError, match="finite actions"):
        fit_action_scale(np.full((3, 7), np.nan, dtype=np.float32))


def test_actions_of_the_unit_box_may_stay_as_they_are() -> None:
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (50, 3)).astype(np.float32)
    scale = fit_action_scale(actions, identity=True)
    np.testing.assert_allclose(scale.normalise(actions), actions, atol=1e-7)
    with pytest.raises(ValueError, match="the largest is 1.5"):
        fit_action_scale(np.float32([[0.0, -1.5]]), identity=True)
