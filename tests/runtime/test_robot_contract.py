"""One contract for every robot behind the safety filter: the mock, the sim in this process, and the sim in another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mqe_core.geometry import make_pose
from mqe_core.kinematics import forward_kinematics
from mqe_core.runtime.robot import Camera, Clock, Command, Robot, Scene, make_robot, make_scene
from mqe_core.runtime.safe_robot import SafeRobot
from mqe_core.spec import RobotSpec

LAG_M = 0.015  # how near the arm must be to its target a second after the last command


class Rig:
    """A robot with its clock, and commands by number."""

    def __init__(self, robot: SafeRobot, clock: Clock, spec: RobotSpec) -> None:
        self.robot, self.clock, self.spec, self._sequence = robot, clock, spec, 0

    def wait(self, seconds: float) -> None:
        self.clock.sleep_until(self.clock.now() + seconds)

    def send(self, move=(0.0, 0.0, 0.0), gripper: float = 1.0, **fields) -> Command:
        """Send a step relative to the target, one control period after the last."""
        self.wait(self.spec.control.period_s)
        self._sequence += 1
        target = self.robot.observe().target_pose
        pose = make_pose(target[:3, :3], target[:3, 3] + np.asarray(move))
        defaults = {
            "stamp": self.clock.now(),
            "session": "contract",
            "sequence": self._sequence,
            "frame_id": self.spec.base_frame,
        }
        return self.robot.send(Command(**{"pose": pose, "gripper": gripper, **defaults, **fields}))


@pytest.fixture(scope="module")
def served_scene(spec: RobotSpec) -> Iterator[Scene]:
    """The sim in its own process, on the wall clock."""
    pytest.importorskip("pybullet")
    scene = make_scene("sim", spec, "place1", 0, realtime=True)
    yield scene
    scene.close()


@pytest.fixture(params=["mock", "sim", "sim server"])
def rig(request: pytest.FixtureRequest, spec: RobotSpec, clock: Clock) -> Iterator[Rig]:
    if request.param == "sim server":
        scene = request.getfixturevalue("served_scene")
        scene._client.reset("place1", 0)
        yield Rig(SafeRobot(scene.robot, spec, scene.clock), scene.clock, spec)
    elif request.param == "mock":
        robot = make_robot("mock", spec, clock=clock)
        yield Rig(robot, clock, spec)
        robot.close()
    else:
        pytest.importorskip("pybullet")
        scene = make_scene("sim", spec, "place1", 0)
        yield Rig(SafeRobot(scene.robot, spec, scene.clock), scene.clock, spec)
        scene.close()


def test_the_backend_speaks_the_protocol(rig: Rig) -> None:
    assert isinstance(rig.robot, Robot)


def test_state_has_the_promised_shapes_and_is_finite(rig: Rig) -> None:
    rig.wait(0.5)
    state = rig.robot.observe()
    assert state.joints.shape == (6,) and state.pose.shape == state.target_pose.shape == (4, 4)
    assert (
        np.isfinite(state.joints).all()
        and np.isfinite(state.pose).all()
        and np.isfinite(state.target_pose).all()
    )
    np.testing.assert_allclose(state.pose, forward_kinematics(rig.spec, state.joints), atol=1e-9)
    assert -0.1 <= state.gripper <= 1.2 and 0.0 <= state.target_gripper <= 1.0
    assert state.health.ok and 0.0 <= rig.clock.now() - state.stamp < 0.1


def test_before_any_command_the_target_is_where_the_arm_is(rig: Rig) -> None:
    state = rig.robot.observe()
    assert np.linalg.norm(state.pose[:3, 3] - state.target_pose[:3, 3]) < LAG_M


def test_send_returns_what_the_state_then_reports_as_target(rig: Rig) -> None:
    sent = rig.send((0.02, 0.01, -0.01), gripper=0.5)
    state = rig.robot.observe()
    assert sent.refused is None and sent.joints is not None
    np.testing.assert_allclose(state.target_pose, sent.pose, atol=1e-6)
    np.testing.assert_allclose(forward_kinematics(rig.spec, sent.joints), sent.pose, atol=1e-6)
    assert state.target_gripper == sent.gripper == 0.5


def test_the_arm_goes_where_it_is_sent(rig: Rig) -> None:
    start = rig.robot.observe().pose[:3, 3].copy()
    for _ in range(4):
        sent = rig.send((0.03, 0.0, 0.0))
    rig.wait(1.0)
    reached = rig.robot.observe().pose[:3, 3]
    assert np.linalg.norm(reached - sent.pose[:3, 3]) < LAG_M
    assert reached[0] - start[0] > 0.09


def test_the_gripper_opens_and_closes(rig: Rig) -> None:
    for wanted in (0.0, 1.0, 0.0):
        rig.send(gripper=wanted)
        rig.wait(1.5)
        assert rig.robot.observe().gripper == pytest.approx(wanted, abs=0.15)


def test_what_was_clipped_is_reported_and_obeyed(rig: Rig) -> None:
    before = rig.robot.observe().target_pose[:3, 3]
    sent = rig.send((0.12, 0.0, 0.0))
    assert sent.clipped == ("translation_step",)
    step = rig.robot.observe().target_pose[:3, 3] - before
    assert np.abs(step).max() <= rig.spec.control.max_translation_step_m + 1e-6


@pytest.mark.parametrize(
    "fields", [{"pose": np.full((4, 4), np.nan)}, {"frame_id": "elsewhere"}, {"gripper": np.inf}]
)
def test_a_refused_command_moves_nothing(rig: Rig, fields: dict) -> None:
    sent = rig.send((0.02, 0.0, 0.0))
    rig.wait(1.0)
    refused = rig.send(**fields)
    assert refused.refused is not None
    rig.wait(1.0)
    state = rig.robot.observe()
    np.testing.assert_allclose(state.target_pose, sent.pose, atol=1e-6)
    assert np.linalg.norm(state.pose[:3, 3] - sent.pose[:3, 3]) < LAG_M


def test_hold_latches_the_last_target_once(rig: Rig) -> None:
    sent = rig.send((0.03, 0.0, -0.02))
    for _ in range(10):  # in the middle of the motion, and again and again
        rig.robot.hold()
        rig.wait(0.1)
    state = rig.robot.observe()
    np.testing.assert_allclose(state.target_pose, sent.pose, atol=1e-6)
    assert np.linalg.norm(state.pose[:3, 3] - sent.pose[:3, 3]) < LAG_M


def test_commands_go_on_after_a_hold(rig: Rig) -> None:
    rig.send((0.02, 0.0, 0.0))
    rig.robot.hold()
    assert rig.send((0.02, 0.0, 0.0)).refused is None


def test_observations_are_the_callers_own(rig: Rig) -> None:
    first = rig.robot.observe()
    kept = first.joints.copy()
    first.joints[:] = 0.0
    first.pose[:] = 0.0
    first.target_pose[:] = 0.0
    np.testing.assert_allclose(rig.robot.observe().joints, kept, atol=1e-4)  # one of them moves in real time
    assert np.linalg.norm(rig.robot.observe().target_pose[:3, 3]) > 0.1


def test_the_same_commands_give_the_same_motion(spec: RobotSpec) -> None:
    pytest.importorskip("pybullet")

    def motion() -> list[np.ndarray]:
        scene = make_scene("sim", spec, "place1", 5)
        rig = Rig(SafeRobot(scene.robot, spec, scene.clock), scene.clock, spec)
        poses = []
        for k in range(8):
            rig.send((0.02 * np.cos(k), 0.02 * np.sin(k), -0.01), gripper=float(k % 2))
            poses.append(rig.robot.observe().joints)
        scene.close()
        return poses

    np.testing.assert_array_equal(motion(), motion())


def test_a_backend_refuses_a_command_that_skipped_the_filter(spec: RobotSpec, clock: Clock) -> None:
    from mqe_core.runtime.loopback import LoopbackRobot

    robot = LoopbackRobot(spec, clock=clock)
    command = Command(robot.observe().pose, 1.0, clock.now(), "s", 1, spec.base_frame)
    with pytest.raises(ValueError, match="SafeRobot"):
        robot.send(command)


def test_make_robot_always_wraps_and_names_what_is_installed(spec: RobotSpec, clock: Clock) -> None:
    assert isinstance(make_robot("mock", spec, clock=clock), SafeRobot)
    with pytest.raises(ValueError, match="installed: .*mock"):
        make_robot("moc", spec, clock=clock)


@pytest.fixture(params=["mock", "sim"])
def camera(
    request: pytest.FixtureRequest, spec: RobotSpec, clock: Clock, synthetic_store
) -> Iterator[tuple[Camera, Callable, Clock]]:
    if request.param == "mock":
        from mqe_core.runtime.robot import make_camera

        yield make_camera("mock", spec, clock=clock, episodes=synthetic_store, domain="sim"), clock
    else:
        pytest.importorskip("pybullet")
        scene = make_scene("sim", spec, "place1", 0)
        yield scene.camera, scene.clock
        scene.close()


def test_frames_are_rgb_stamped_and_say_what_they_show(camera) -> None:
    camera, clock = camera
    for _ in range(3):
        clock.sleep_until(clock.now() + 0.2)
        frame = camera.read()
        assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and frame.image.shape[2] == 3
        assert frame.domain == "sim" and 0.0 <= clock.now() - frame.stamp <= 0.2 + 1e-6
        assert frame.image.std() > 1.0  # a picture, not a blank
    assert isinstance(camera, Camera)
