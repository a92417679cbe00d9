"""The mock robot moves within its velocity limits by the injected clock; the mock camera shows what was
recorded.
"""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.closed_loop.stored_camera import episode_frames, replay_camera, store_domain
from mqe_core.runtime.loopback import ReplayCamera
from mqe_core.runtime.robot import Command


def send(mock, joints: np.ndarray, clock, gripper: float = 1.0) -> None:
    mock.send(Command(np.eye(4), gripper, clock.now(), "s", 1, "frame", joints=joints))


def test_joints_move_at_their_velocity_limit_and_stop_at_the_target(mock, clock, spec, start_joints) -> None:
    target = start_joints + np.array([1.0, -0.1, 0, 0, 0, 0])
    send(mock, target, clock)
    clock.advance(0.1)
    moved = mock.observe().joints - start_joints
    np.testing.assert_allclose(moved, [0.1 * spec.joint_velocity[0], -0.1, 0, 0, 0, 0], atol=1e-9)
    clock.advance(1.0)
    np.testing.assert_array_equal(mock.observe().joints, target)


def test_motion_does_not_depend_on_how_often_it_is_observed(spec, clock, start_joints) -> None:
    from mqe_core.runtime.loopback import LoopbackRobot

    often, seldom = (LoopbackRobot(spec, clock=clock, start_joints=start_joints) for _ in range(2))
    for robot in (often, seldom):
        send(robot, start_joints + 0.5, clock, gripper=0.0)
    for _ in range(10):
        clock.advance(0.01)
        often.observe()
    a, b = often.observe(), seldom.observe()
    np.testing.assert_allclose(a.joints, b.joints, atol=1e-12)
    assert a.gripper == pytest.approx(b.gripper)


def test_time_standing_still_moves_nothing(mock, clock, start_joints) -> None:
    send(mock, start_joints + 1.0, clock)
    for _ in range(3):
        np.testing.assert_array_equal(mock.observe().joints, start_joints)


def test_replay_shows_frames_at_its_rate_and_begins_again(spec, clock) -> None:
    frames = [np.full((4, 4, 3), k, dtype=np.uint8) for k in range(3)]
    camera = ReplayCamera(spec, clock=clock, frames=frames, domain="real", hz=5.0)
    seen = []
    for _ in range(7):
        frame = camera.read()
        seen.append(int(frame.image[0, 0, 0]))
        assert frame.domain == "real" and 0 <= clock.now() - frame.stamp < 0.2
        clock.advance(0.2)
    assert seen == [0, 1, 2, 0, 1, 2, 0]


def test_replay_reads_one_episode_of_a_store(spec, clock, synthetic_store) -> None:
    frames = episode_frames(synthetic_store, 2)
    assert frames.shape == (12, 32, 32, 3) and store_domain(synthetic_store) == "sim"
    camera = replay_camera(spec, clock=clock, episodes=synthetic_store, episode=2, domain="sim")
    np.testing.assert_array_equal(camera.read().image, frames[0])
    with pytest.raises(ValueError, match="episodes 0 to 5"):
        episode_frames(synthetic_store, 6)


def test_replay_has_no_silent_defaults(spec, clock) -> None:
    with pytest.raises(ValueError, match="domain must be one of"):
        ReplayCamera(spec, clock=clock, frames=[np.zeros((4, 4, 3), np.uint8)], domain="")
    with pytest.raises(ValueError, match="no frame"):
        ReplayCamera(spec, clock=clock, frames=[], domain="sim")
