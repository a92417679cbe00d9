"""Promise: a camera that was moved is told by how much, and two tables are not taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.console.camera_shift import camera_shift
from mqe_core.images import resize, squash_resize
from mqe_core.robot.arrays import Images


def table(seed: int) -> Images:
    """(560, 720, 3): a picture of blotches, larger than a camera's."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (28, 36, 3), dtype=np.uint8)
    return resize(coarse, 560, 720)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (25, 0), (-15, 10), (5, -30)])
def test_the_shift_is_found(right: int, down: int) -> None:
    whole = table(0)
    reference = whole[40:520, 40:680]
    picture = whole[40 - down : 520 - down, 40 - right : 680 - right]
    shift = camera_shift(picture, reference)
    assert shift.is_sure
    assert abs(shift.right - right) <= 2.6 and abs(shift.down - down) <= 2.6
    assert ("stands as it did" in shift.words("the goal")) == (right == down == 0)


def test_what_moved_on_the_table_is_no_shift() -> None:
    reference = table(0)[40:520, 40:680]
    picture = reference.copy()
    picture[200:320, 250:380] = (200, 30, 30)
    shift = camera_shift(picture, reference)
    assert (shift.right, shift.down) == (0.0, 0.0) and "stands as it did" in shift.words("the goal")


def test_another_table_does_not_fit() -> None:
    assert not camera_shift(table(1)[:480, :640], table(2)[:480, :640]).is_sure


def test_an_even_picture_fits_nothing() -> None:
    shift = camera_shift(np.full((480, 640, 3), 90, np.uint8), table(0)[:480, :640])
    assert not shift.is_sure and "do not fit" in shift.words("the goal")


@pytest.mark.parametrize(("right", "moved"), [(0, False), (4, False), (30, True)])
def test_against_the_small_square_of_a_policy(right: int, moved: bool) -> None:
    whole = table(0)
    shift = camera_shift(whole[40:520, 40 - right : 680 - right], squash_resize(whole[40:520, 40:680], 128))
    assert shift.is_sure and abs(shift.right - right) <= 5
    assert ("was it moved?" in shift.words("the training")) == moved
