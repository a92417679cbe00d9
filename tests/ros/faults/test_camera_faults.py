"""Promise: whatever the camera does, the arm holds within two control periods, the reason is named, and it goes on by
itself.
"""

from __future__ import annotations

import signal

import pytest

from mqe_core.runtime.policy_reasons import FROZEN_FRAME, NO_PICTURE, NOT_FINITE_ACTION, STALE_FRAME, WRONG_SHAPE
from tests.ros.faults.fault_rig import HOLD_S, PERIOD_S, SPEC, Rig
from tests.ros.faults.swinging_policy import STEP_M

pytestmark = pytest.mark.faults
STATUS = "/policy/status"


def test_a_camera_that_dies(rig: Rig, note) -> None:
    killed = rig.kill("camera")
    held = rig.wait_for_hold(killed)
    rig.wait_for_reason(STATUS, STALE_FRAME)
    back = rig.wait_for_motion(rig.start("camera"))
    note(
        "camera process killed (SIGKILL)",
        f"holds after {held:.2f} s",
        STALE_FRAME,
        f"moves {back:.1f} s after it is started again",
    )
    assert held <= HOLD_S


def test_a_camera_that_hangs(rig: Rig, note) -> None:
    stopped = rig.kill("camera", signal.SIGSTOP)
    held = rig.wait_for_hold(stopped)
    rig.wait_for_reason(STATUS, STALE_FRAME)
    back = rig.wait_for_motion(rig.kill("camera", signal.SIGCONT))
    note(
        "camera process hangs (SIGSTOP)",
        f"holds after {held:.2f} s",
        STALE_FRAME,
        f"moves {back:.2f} s after it goes on",
    )
    assert held <= HOLD_S


@pytest.mark.parametrize(
    ("mode", "fault", "reason"),
    [
        ("same_stamp", "the same message again and again", STALE_FRAME),
        ("wide", "frames of another shape (160x90)", WRONG_SHAPE),
        ("encoding", "frames in another encoding (mono16)", "mono16"),
        ("black", "black frames", NO_PICTURE),
        ("nan", "frames that make the policy emit NaN", NOT_FINITE_ACTION),
    ],
)
def test_frames_that_cannot_be_acted_on(rig: Rig, note, mode: str, fault: str, reason: str) -> None:
    begun = rig.camera(mode)
    held = rig.wait_for_hold(begun)
    rig.wait_for_reason(STATUS, reason)
    back = rig.wait_for_motion(rig.camera("ok"))
    note(fault, f"holds after {held:.2f} s", reason, f"moves after {back:.2f} s")
    assert held <= HOLD_S


def test_a_camera_that_repeats_a_picture_with_new_stamps(rig: Rig, note) -> None:
    """Only the arm's motion gives it away: 10 mm, and as long as a frame may be old, and a period in which it is
    noticed.
    """
    begun = rig.camera("repeat")
    held = rig.wait_for_hold(begun)
    rig.wait_for_reason(STATUS, FROZEN_FRAME)
    back = rig.wait_for_motion(rig.camera("ok"))
    answer = f"holds after {held:.2f} s, at {1000 * STEP_M / PERIOD_S:.0f} mm/s"
    note("the same picture with new stamps", answer, FROZEN_FRAME, f"moves after {back:.2f} s")
    steps = 0.01 // STEP_M + 2  # the first picture may have come right after a step
    assert held <= steps * PERIOD_S + SPEC.control.max_frame_age_s + HOLD_S


def test_a_camera_at_1_hz_moves_the_arm_only_while_its_picture_is_fresh(rig: Rig, note) -> None:
    begun = rig.camera("slow")
    rig.client.spin(6.0)
    rig.wait_for_reason(STATUS, STALE_FRAME)
    motions = rig.motions(begun + 1.0)
    per_second = len(motions) / 5.0
    back = rig.wait_for_motion(rig.camera("ok"))
    note(
        "a camera at 1 Hz",
        f"{per_second:.1f} commands per second instead of 5",
        STALE_FRAME,
        f"moves steadily after {back:.2f} s",
    )
    assert 0.5 <= per_second <= 2.5
