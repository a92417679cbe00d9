"""Promise: a frame is acted on only where it can show what the arm is doing now."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.frame_watch import FrameWatch
from mqe_core.runtime.policy_reasons import FROZEN_FRAME, NO_PICTURE, STALE_FRAME, WRONG_SHAPE
from mqe_core.runtime.robot import Frame

HAND = np.array([0.2, 0.0, 0.1])
PERIOD = 0.2


def picture(seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def watch(spec: RobotSpec) -> FrameWatch:
    return FrameWatch(spec)


def reason(
    watch: FrameWatch, image: np.ndarray, hand: np.ndarray = HAND, now: float = 0.0, age: float = 0.05
) -> str | None:
    verdict = watch.judge(Frame(now - age, image, "real"), hand, now)
    return verdict[0] if verdict else None


def test_a_frame_may_be_a_control_period_old_but_not_two(watch: FrameWatch) -> None:
    assert reason(watch, picture(), age=0.2) is None
    assert reason(watch, picture(), age=0.4) == STALE_FRAME


@pytest.mark.parametrize(("height", "width"), [(480, 640), (96, 128), (64, 64)])
def test_the_cameras_own_shape_in_any_size_and_squashed_frames_pass(watch: FrameWatch, height: int, width: int) -> None:
    assert reason(watch, picture(0, height, width)) is None


@pytest.mark.parametrize(("height", "width"), [(360, 640), (720, 1280), (640, 480)])
def test_another_shape_would_be_squashed_to_another_picture(watch: FrameWatch, height: int, width: int) -> None:
    assert reason(watch, picture(0, height, width)) == WRONG_SHAPE


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 90, 40)])
def test_one_even_colour_is_no_picture(watch: FrameWatch, colour: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(1).normal(colour, 2.0, (48, 64, 3)).clip(0, 255).astype(np.uint8)
    assert reason(watch, noise) == NO_PICTURE


def test_a_driver_that_repeats_itself_is_noticed_once_the_arm_has_moved(watch: FrameWatch) -> None:
    reasons = [reason(watch, picture(), HAND + [0.006 * step, 0, 0], step * PERIOD) for step in range(7)]
    # 12 mm away after two steps; one frame of age later that should show.
    assert reasons == [None] * 4 + [FROZEN_FRAME] * 3
    assert reason(watch, picture(1), HAND + [0.04, 0, 0], 7 * PERIOD) is None  # a new picture ends it
    assert reason(watch, picture(1), HAND + [0.04, 0, 0], 8 * PERIOD) is None


def test_a_scene_at_rest_may_look_the_same_for_ever(watch: FrameWatch) -> None:
    sagging = [HAND - [0, 0, 0.00005 * step] for step in range(100)]
    assert {reason(watch, picture(), hand, step * PERIOD) for step, hand in enumerate(sagging)} == {None}


def test_a_picture_taken_before_the_motion_is_not_frozen(watch: FrameWatch) -> None:
    """At rest, then a long step; the next frame was on its way already."""
    for step in range(10):
        assert reason(watch, picture(), HAND, step * PERIOD) is None
    assert reason(watch, picture(), HAND + [0.03, 0, 0], 10 * PERIOD) is None
    assert reason(watch, picture(1), HAND + [0.06, 0, 0], 11 * PERIOD) is None


def test_one_frame_that_is_read_twice_ages_and_is_not_frozen(watch: FrameWatch) -> None:
    frame = Frame(0.0, picture(), "real")
    assert watch.judge(frame, HAND, 0.1) is None
    assert watch.judge(frame, HAND + [0.05, 0, 0], 0.3) is None
    assert watch.judge(frame, HAND + [0.05, 0, 0], 0.7)[0] == STALE_FRAME
