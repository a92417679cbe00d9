"""Our own recordings: MCAP bags of the ROS 2 graph (`record:=true`), as episodes.

An episode is a stretch of commands without a gap, of one session, towards one goal, none of which was refused. Its frames are the images
that those commands were computed from, its states what the arm measured then. Its actions are what the arm was
really told: the way from one commanded target to the next, in BridgeData's convention, not the policy's wish
that the safety filter may have clipped or refused.

Bags are read as a stream, so one whose recorder was killed gives what had been written. The messages' types
stand in the bag itself; ROS is not needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mqe_core.data.episode import Episode, Skipped
from mqe_core.data.source import EpisodeTask, natural_key
from mqe_core.geometry import action_between, make_pose, pose_to_state, quaternion_to_rotation
from mqe_core.spec import RobotSpec, load_robot_spec

_KEPT_IMAGES = 90  # of the newest; a command is computed from one at most a second old
_MAX_FRAMES = 150  # of one episode, as its images are held in memory (140 MB at 640x480); a longer pursuit becomes several
_GAP_PERIODS = 2.5  # between two commands; a longer one is no step
_TOPICS = (
    "/camera/image_raw", "/goal/image", "/policy/command", "/arm/ee_pose", "/arm/ee_target", "/joint_states", "/arm/status", "/diagnostics",
)  # fmt: skip


def bag_files(root: Path) -> list[Path]:
    """All .mcap files at or below `root`, and those of `root-2`, `root-3` …, in which a long recording goes on."""
    if root.is_file():
        return [root] if root.suffix == ".mcap" else []

    def in_order(paths: Iterable[Path]) -> list[Path]:
        return sorted(paths, key=lambda path: natural_key(path.as_posix()))

    later = in_order(path for path in root.parent.glob(f"{root.name}-*") if path.name[len(root.name) + 1 :].isdigit())
    return [file for part in (root, *later) for file in in_order(part.rglob("*.mcap"))]


class RosBagSource:
    """All .mcap files at or below `root`."""

    format = "ros-bag"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files = bag_files(root)

    def is_empty(self) -> bool:
        return not self._files

    def num_episodes(self) -> int | None:
        return None

    def domain(self) -> str:
        """What the policy nodes said that their camera shows. ValueError where they disagree or said nothing."""
        said = {domain for file in self._files for domain in _stated(file, "domain")}
        if len(said) != 1:
            raise ValueError(f"{self.root} holds recordings of the domains {sorted(said) or 'none'}; import those of one domain at a time")
        return said.pop()

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        spec = load_robot_spec()
        for file in self._files:
            name = file.relative_to(self.root.parent).as_posix()
            reader = _Reader(spec)
            try:
                for topic, message in _messages(file):
                    yield from _tasks(name, reader.take(topic, message))
            except ValueError as error:
                yield Skipped(f"{name} and what follows in it", str(error), None)
            yield from _tasks(name, reader.end())


@dataclass(frozen=True, eq=False)
class Decision:
    """One command of a recording with what it was computed from: images (H, W, 3) uint8 RGB, action (7,), and the
    distance to the goal in control steps (NaN without a critic).
    """

    image: np.ndarray
    goal: np.ndarray
    action: np.ndarray
    steps_to_goal: float


def recorded_decisions(file: Path) -> Iterator[Decision | None]:
    """Every command of one .mcap file in its order; None where image or goal of one are not in it."""
    images: deque[tuple[tuple[int, int], object]] = deque(maxlen=_KEPT_IMAGES)
    goal = None
    for topic, message in _messages(file):
        if topic == "/camera/image_raw":
            images.append((_stamp(message.header.stamp), message))
        elif topic == "/goal/image":
            goal = _pixels(message)
        elif topic == "/policy/command":
            image = _taken_at(images, message.observation_stamp)
            if image is None or goal is None:
                yield None
            else:
                yield Decision(_pixels(image), goal, np.array(message.action), float(message.steps_to_goal))


def recorded_fingerprints(file: Path) -> set[str]:
    """Of the policies that acted in one .mcap file."""
    return _stated(file, "fingerprint")


@dataclass
class _Stretch:
    """An episode as it grows."""

    session: str
    sequence: int
    began: float
    images: list[np.ndarray] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)  # measured, (4, 4)
    targets: list[np.ndarray] = field(default_factory=list)  # in force before each command
    grippers: list[float] = field(default_factory=list)  # commanded
    time: float = 0.0


class _Reader:
    """Follows the messages of one bag and cuts them into stretches."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._images: deque[tuple[tuple[int, int], object]] = deque(maxlen=_KEPT_IMAGES)
        self._pose: np.ndarray | None = None
        self._target: np.ndarray | None = None
        self._finger: float | None = None
        self._stretch: _Stretch | None = None

    def take(self, topic: str, message) -> Iterator[_Stretch]:
        """Yields a stretch that this message ends."""
        if topic == "/camera/image_raw":
            self._images.append((_stamp(message.header.stamp), message))
        elif topic == "/arm/ee_pose":
            self._pose = _pose(message.pose)
        elif topic == "/arm/ee_target":
            self._target = _pose(message.pose)
        elif topic == "/joint_states":
            self._finger = dict(zip(message.name, message.position)).get("left_finger")
        elif topic == "/goal/image":
            yield from self.end()
        elif topic == "/arm/status" and (message.refused or message.dry_run):
            yield from self.end()  # what follows was not done; the frame of the refused command is the last one
        elif topic == "/policy/command":
            yield from self._command(message)

    def end(self) -> Iterator[_Stretch]:
        stretch, self._stretch = self._stretch, None
        if stretch is not None and len(stretch.states) > 1:
            yield stretch

    def _command(self, message) -> Iterator[_Stretch]:
        if message.header.frame_id != self._spec.base_frame:
            raise ValueError(f"commands are in the frame {message.header.frame_id!r}, those of {self._spec.name} in {self._spec.base_frame!r}")
        image = _taken_at(self._images, message.observation_stamp)
        now = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
        stretch = self._stretch
        follows = (
            stretch is not None
            and len(stretch.states) < _MAX_FRAMES
            and (stretch.session, stretch.sequence + 1) == (message.session, message.sequence)
            and now - stretch.time < _GAP_PERIODS * self._spec.control.period_s
        )
        if not follows or image is None or self._pose is None or self._target is None or self._finger is None:
            yield from self.end()  # what is missing is not made up; the next command may begin anew
        if image is None or self._pose is None or self._target is None or self._finger is None:
            return
        if self._stretch is None:
            self._stretch = _Stretch(message.session, message.sequence, now)
        stretch = self._stretch
        stretch.sequence, stretch.time = message.sequence, now
        stretch.images.append(_pixels(image))
        stretch.states.append(pose_to_state(self._pose, self._spec.gripper.gripper_value(self._finger)))
        stretch.poses.append(self._pose)
        stretch.targets.append(self._target)
        stretch.grippers.append(float(message.gripper))


def _tasks(name: str, stretches: Iterator[_Stretch]) -> Iterator[EpisodeTask]:
    for stretch in stretches:
        full_name = f"{name}#{stretch.began:.3f}"
        yield EpisodeTask(full_name, lambda stretch=stretch, full_name=full_name: _episode(full_name, stretch))


def _episode(name: str, stretch: _Stretch) -> Episode:
    actions = []
    for k in range(len(stretch.states) - 1):
        action = action_between(stretch.targets[k], stretch.targets[k + 1], stretch.poses[k])
        actions.append([*action[:6], stretch.grippers[k]])
    return Episode(name, np.array(stretch.states), np.array(actions), {0: stretch.images})


def _messages(file: Path, topics: Sequence[str] = _TOPICS) -> Iterator[tuple[str, object]]:
    """(topic, decoded message), in the order in which they were written, up to where the file ends or is damaged."""
    from mcap.exceptions import McapError
    from mcap.reader import NonSeekingReader
    from mcap_ros2.decoder import DecoderFactory

    factory, decoders = DecoderFactory(), {}
    with file.open("rb") as stream:
        try:
            for schema, channel, message in NonSeekingReader(stream).iter_messages(topics=topics, log_time_order=False):
                if channel.id not in decoders:
                    decoders[channel.id] = factory.decoder_for(channel.message_encoding, schema)
                yield channel.topic, decoders[channel.id](message.data)
        except (McapError, EOFError):  # its recorder was killed: what was written before is whole
            return


def _stated(file: Path, key: str) -> set[str]:
    """What the policy nodes of a recording stated under `key`, every second again."""
    return {
        value.value
        for _, message in _messages(file, ("/diagnostics",))
        for status in message.status
        for value in status.values
        if value.key == key
    }


def _stamp(time) -> tuple[int, int]:
    return time.sec, time.nanosec


def _taken_at(images: deque, time):
    """The image with exactly that stamp, or None."""
    return next((image for when, image in reversed(images) if when == _stamp(time)), None)


def _pose(message) -> np.ndarray:
    p, q = message.position, message.orientation
    return make_pose(quaternion_to_rotation(np.array([q.x, q.y, q.z, q.w])), np.array([p.x, p.y, p.z]))


def _pixels(message) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a sensor_msgs/Image."""
    if message.encoding not in ("rgb8", "bgr8"):
        raise ValueError(f"image encoding {message.encoding!r}; expected rgb8 or bgr8")
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    image = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
    return image if message.encoding == "rgb8" else image[:, :, ::-1].copy()
