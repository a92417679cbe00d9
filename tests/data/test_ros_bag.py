"""Promise: a recording becomes episodes whose actions, applied to the targets, give the targets that followed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mqe_core.bundle import PolicyBundle
from mqe_core.cli import main
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.ros_bag import bag_files
from mqe_core.geometry import apply_action, euler_to_rotation, make_pose, pose_to_state, rotation_to_quaternion
from mqe_core.images import squash_resize
from mqe_core.runtime.policy import OnnxPolicy
from mqe_core.spec import RobotSpec

MESSAGES = Path(__file__).parents[2] / "ros2_ws" / "src" / "mqe_interfaces" / "msg"
TYPES = get_typestore(Stores.ROS2_JAZZY)
for _name in ("EndEffectorCommand", "ArmStatus"):
    TYPES.register(get_types_from_msg((MESSAGES / f"{_name}.msg").read_text(), f"mqe_interfaces/msg/{_name}"))
TOPICS = {
    "/camera/image_raw": "sensor_msgs/msg/Image",
    "/goal/image": "sensor_msgs/msg/Image",
    "/policy/command": "mqe_interfaces/msg/EndEffectorCommand",
    "/arm/ee_pose": "geometry_msgs/msg/PoseStamped",
    "/arm/ee_target": "geometry_msgs/msg/PoseStamped",
    "/joint_states": "sensor_msgs/msg/JointState",
    "/arm/status": "mqe_interfaces/msg/ArmStatus",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
}


class Bag:
    """Writes what the graph would have written."""

    def __init__(self, folder: Path, spec: RobotSpec) -> None:
        self._spec, self.time = spec, 100.0
        self.writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self.writer.open()
        self._connections = {topic: self.writer.add_connection(topic, kind, typestore=TYPES) for topic, kind in TOPICS.items()}

    def make(self, kind: str, **fields):
        return TYPES.types[kind](**fields)

    def stamp(self, time: float):
        return self.make("builtin_interfaces/msg/Time", sec=int(time), nanosec=round(1e9 * (time % 1.0)))

    def header(self, time: float | None = None):
        return self.make("std_msgs/msg/Header", stamp=self.stamp(self.time if time is None else time), frame_id=self._spec.base_frame)

    def write(self, topic: str, message) -> None:
        self.writer.write(self._connections[topic], int(1e9 * self.time), TYPES.serialize_cdr(message, TOPICS[topic]))

    def image(self, topic: str, pixels: np.ndarray) -> None:
        height, width, _ = pixels.shape
        fields = {"height": height, "width": width, "encoding": "rgb8", "is_bigendian": 0, "step": 3 * width, "data": pixels.ravel()}
        self.write(topic, self.make("sensor_msgs/msg/Image", header=self.header(), **fields))

    def pose(self, matrix: np.ndarray):
        x, y, z, w = rotation_to_quaternion(matrix[:3, :3])
        position = self.make("geometry_msgs/msg/Point", **dict(zip("xyz", map(float, matrix[:3, 3]))))
        return self.make(
            "geometry_msgs/msg/Pose",
            position=position,
            orientation=self.make("geometry_msgs/msg/Quaternion", x=float(x), y=float(y), z=float(z), w=float(w)),
        )

    def arm(self, measured: np.ndarray, target: np.ndarray, finger_m: float) -> None:
        for topic, matrix in (("/arm/ee_pose", measured), ("/arm/ee_target", target)):
            self.write(topic, self.make("geometry_msgs/msg/PoseStamped", header=self.header(), pose=self.pose(matrix)))
        fields = {"name": ["waist", "left_finger"], "position": np.array([0.0, finger_m]), "velocity": np.array([]), "effort": np.array([])}
        self.write("/joint_states", self.make("sensor_msgs/msg/JointState", header=self.header(), **fields))

    def command(self, sequence: int, gripper: float, session: str = "one", image_time: float | None = None, action=None) -> None:
        self.write(
            "/policy/command",
            self.make(
                "mqe_interfaces/msg/EndEffectorCommand",
                header=self.header(),
                observation_stamp=self.stamp(self.time if image_time is None else image_time),
                session=session,
                sequence=sequence,
                target=self.pose(np.eye(4)),
                gripper=gripper,
                action=np.full(7, 9.0) if action is None else action.astype(np.float64),  # the policy's wish, not what was done
                steps_to_goal=1.0,
            ),
        )

    def status(self, refused: str, dry_run: bool = False) -> None:
        kind = TYPES.types["mqe_interfaces/msg/ArmStatus"]
        fields = {"state": "ready", "reason": "", "clipped": [], "refused": refused, "session": "one", "sequence": 1, "dry_run": dry_run}
        self.write("/arm/status", kind(header=self.header(), **fields))

    def diagnostics(self, text: str, key: str = "domain") -> None:
        value = self.make("diagnostic_msgs/msg/KeyValue", key=key, value=text)
        status = self.make("diagnostic_msgs/msg/DiagnosticStatus", level=0, name="policy_node", message="", hardware_id="", values=[value])
        self.write("/diagnostics", self.make("diagnostic_msgs/msg/DiagnosticArray", header=self.header(), status=[status]))


@pytest.fixture
def walk(spec: RobotSpec):
    """Records `count` commands along a wandering target; returns what happened."""

    def record(bag: Bag, count: int, *, session: str = "one", first: int = 1, seed: int = 0):
        rng = np.random.default_rng(seed)
        target = make_pose(euler_to_rotation(np.array([0.0, 0.1, 0.0])), np.array([0.3, 0.0, 0.15]))
        images, measured, targets, grippers = [], [], [], []
        for k in range(count):
            images.append(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            measured.append(target.copy())
            measured[-1][:3, 3] += rng.normal(0, 0.005, 3)
            targets.append(target)
            grippers.append(float(k % 2))
            bag.image("/camera/image_raw", images[-1])
            bag.arm(measured[-1], target, 0.035 - 0.001 * k)
            bag.command(first + k, grippers[-1], session)
            target = apply_action(target, np.array([*rng.normal(0, 0.02, 3), *rng.normal(0, 0.1, 3), 1.0]), measured[-1])
            bag.time += 0.2
        return images, measured, targets, grippers

    return record


def test_a_recording_becomes_an_episode_of_what_was_really_done(walk, spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    images, measured, targets, grippers = walk(bag, 6)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert store.metadata["format"] == "ros-bag" and store.metadata["domain"] == "sim" and store.num_frames == 6
    for k in range(5):
        np.testing.assert_allclose(apply_action(targets[k], store.actions[k], measured[k]), targets[k + 1], atol=1e-6)
        assert store.actions[k, 6] == grippers[k]
        np.testing.assert_allclose(store.states[k, :6], pose_to_state(measured[k], 0.0)[:6], atol=1e-6)
        assert store.states[k, 6] == pytest.approx(spec.gripper.gripper_value(0.035 - 0.001 * k))
    np.testing.assert_array_equal(store.images([2])[0], squash_resize(images[2], 16))


def test_sessions_goals_gaps_and_lost_commands_begin_a_new_episode(walk, spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("real")
    walk(bag, 3)
    walk(bag, 4, session="two")
    bag.image("/goal/image", np.zeros((24, 32, 3), np.uint8))
    walk(bag, 5, session="two", first=5)
    bag.time += 1.0
    walk(bag, 2, session="two", first=10)
    walk(bag, 3, session="two", first=13)  # 12 was lost
    walk(bag, 1, session="three")  # one command makes no step
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [3, 4, 5, 2, 3]
    assert store.metadata["domain"] == "real"


def test_a_command_without_its_image_is_left_out(walk, spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 3)
    bag.command(4, 1.0, image_time=50.0)
    bag.time += 0.2
    walk(bag, 3, first=5)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [3, 3]


def test_what_the_arm_refused_is_no_demonstration(walk, spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    for k in range(4):
        walk(bag, 3, first=1 + 3 * k)
        bag.status("held" if k == 1 else "", dry_run=k == 2)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [6, 3, 3]


def test_a_long_recording_goes_on_in_the_next_bag(walk, spec: RobotSpec, tmp_path: Path) -> None:
    for name in ("day", "day-2", "day-10", "other"):
        bag = Bag(tmp_path / name, spec)
        bag.diagnostics("sim")
        walk(bag, 3)
        bag.writer.close()
    assert [file.parent.name for file in bag_files(tmp_path / "day")] == ["day", "day-2", "day-10"]
    store = import_episodes(open_source(tmp_path / "day"), tmp_path / "store", image_size=16, source_name="bag")
    assert store.num_episodes == 3


def test_a_bag_whose_recorder_was_killed_gives_what_it_holds(walk, spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    for session in range(400):
        walk(bag, 3, session=str(session), seed=session)
    bag.writer.storage.bio.flush()
    bag.writer.abort()  # neither index nor metadata
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert 100 < store.num_episodes <= 400


def test_recordings_of_two_domains_are_not_mixed(walk, spec: RobotSpec, tmp_path: Path) -> None:
    for domain in ("sim", "real"):
        bag = Bag(tmp_path / domain, spec)
        bag.diagnostics(domain)
        walk(bag, 3)
        bag.writer.close()
    with pytest.raises(ValueError, match=r"domains \['real', 'sim'\]"):
        import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")


@pytest.fixture
def recorded(make_bundle, spec: RobotSpec, tmp_path: Path) -> tuple[Path, Path]:
    """(bag, policy): a recording of that policy, its first command before the goal was recorded."""
    path = make_bundle()
    policy = OnnxPolicy(PolicyBundle.open(path))
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics(policy.fingerprint, "fingerprint")
    rng = np.random.default_rng(5)
    goal = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    for k in range(5):
        image = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        bag.image("/camera/image_raw", image)
        if k == 1:
            bag.image("/goal/image", goal)
        bag.command(k + 1, 1.0, action=policy.act(image, goal).action)
        bag.time += 0.2
    bag.writer.close()
    return tmp_path / "bag", path


def replay(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, dict]:
    code = main(["replay", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_policy_that_made_a_recording_answers_the_same_again(recorded, capsys: pytest.CaptureFixture) -> None:
    bag, policy = recorded
    code, summary = replay(capsys, bag, "--policy", policy)
    assert code == 0 and summary["same_policy"] and summary["agrees"]
    assert (summary["commands"], summary["without_image_or_goal"]) == (4, 1)


def test_another_policy_is_compared_and_named_so(recorded, make_bundle, capsys: pytest.CaptureFixture) -> None:
    code, summary = replay(capsys, recorded[0], "--policy", make_bundle(action=(0.03, 0, 0, 0, 0, 0, 1)))
    assert code == 0 and not summary["same_policy"] and not summary["agrees"]
    assert summary["largest_difference"]["dx"] == pytest.approx(0.02, abs=1e-6)


def test_the_same_policy_with_other_answers_is_an_error(make_bundle, spec: RobotSpec, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = make_bundle()
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics(PolicyBundle.open(path).fingerprint, "fingerprint")
    for topic in ("/goal/image", "/camera/image_raw"):
        bag.image(topic, np.zeros((24, 32, 3), np.uint8))
    bag.command(1, 1.0, action=np.full(7, 0.04))
    bag.writer.close()
    assert replay(capsys, tmp_path / "bag", "--policy", path)[0] == 1


def test_a_folder_without_a_recording_is_said(make_bundle, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["replay", str(tmp_path), "--policy", str(make_bundle())]) == 1
    assert "holds no .mcap file" in capsys.readouterr().err
