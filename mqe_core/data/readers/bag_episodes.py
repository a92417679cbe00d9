"""The commands of one bag, cut into stretches: what an episode is made of.

A stretch has commands without a gap, of one session, towards one goal, none of which was refused.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mqe_core import ros_names
from mqe_core.data.readers.bag_messages import (
    IMAGE_TOPICS,
    NewestImages,
    Received,
    RosMessage,
    messages,
    pixels,
    seconds,
)
from mqe_core.data.source import no_camera
from mqe_core.robot.arrays import Floats, Images
from mqe_core.robot.geometry import make_pose, pose_to_state, quaternion_to_rotation
from mqe_core.robot.ranks import OPERATOR, POLICY
from mqe_core.robot.safety_rules import GRIPPER_EFFORT
from mqe_core.robot.spec import RobotSpec

# Of one episode, as its images are held in memory: 140 MB at 640x480. A longer pursuit becomes several episodes.
MAX_FRAMES = 150
_GAP_PERIODS = 2.5  # two commands farther apart than that do not belong to one episode
# Without these, and images, there is no frame.
_NEEDED = (ros_names.EE_POSE, ros_names.EE_TARGET, ros_names.JOINT_STATES)
_RANKS = {ros_names.COMMAND: POLICY, ros_names.OPERATOR_COMMAND: OPERATOR}  # by the topic of a command
_TOPICS = (*_NEEDED, ros_names.GOAL_IMAGE, *_RANKS, ros_names.ARM_STATUS)


@dataclass
class Stretch:
    """An episode as it grows. The lists have one entry for each frame."""

    commander: str  # whose commands they are, a name of `ranks`
    sequence: int  # of the last frame's command
    gripper_before: float | None  # commanded before the first frame; None: not known
    label: str = ""  # what it shows, in words
    times: list[float] = field(default_factory=list)  # s, when the command was published
    received: list[float] = field(default_factory=list)  # s, when the recorder got it
    commanders: list[str] = field(default_factory=list)  # as `commander`, until stretches are joined
    images: list[list[Images]] = field(default_factory=list)  # by camera (H, W, 3)
    states: list[Floats] = field(default_factory=list)  # (7,)
    poses: list[Floats] = field(default_factory=list)  # (4, 4), measured
    targets: list[Floats] = field(default_factory=list)  # (4, 4), in force before the command
    grippers: list[float] = field(default_factory=list)  # asked for, within 0 to 1

    def keep_gripper(self, kept: Container[int]) -> None:
        """Give the commands whose sequence is among `kept` the gripper of the command before.

        First frames for which that is not known are left out.
        """
        commanded = [self.gripper_before]
        for sequence, asked in enumerate(self.grippers, self.sequence - len(self.grippers) + 1):
            commanded.append(commanded[-1] if sequence in kept else asked)
        self.grippers = [gripper for gripper in commanded[1:] if gripper is not None]
        left = len(self.grippers)
        for name in _OF_EACH_FRAME:
            values = getattr(self, name)
            del values[: len(values) - left]

    def part(self, first: int, end: int) -> Stretch:
        """The frames from `first` to before `end`, as a stretch of their own."""
        return replace(self, **{name: getattr(self, name)[first:end] for name in _OF_EACH_FRAME})

    def joined(self, after: Stretch) -> Stretch:
        """This one's frames and those of `after` behind them."""
        return replace(self, **{name: getattr(self, name) + getattr(after, name) for name in _OF_EACH_FRAME})


_OF_EACH_FRAME = ("times", "received", "commanders", "images", "states", "poses", "targets", "grippers")


class Account:
    """Counts what a bag holds, to say why it gives no episode."""

    def __init__(self) -> None:
        self.incomplete = 0  # commands whose image or arm is not in it
        self._counts: Counter[str] = Counter()  # messages per topic
        self._refused: dict[tuple[str, int], str] = {}  # (session, sequence): the rule
        self._is_dry_run = False

    def take(self, topic: str, message: RosMessage) -> None:
        self._counts[topic] += 1
        if topic == ros_names.ARM_STATUS:
            self._is_dry_run |= message.dry_run
            if message.refused:
                self._refused[message.session, message.sequence] = message.refused

    def why_nothing(self, cameras: Sequence[str], pictures: Collection[str]) -> str:
        """`cameras` are the topics that were asked for, `pictures` those that have images."""
        commands, refused = sum(self._counts[topic] for topic in _RANKS), len(self._refused)
        missing = [topic for topic in _NEEDED if not self._counts[topic]]
        if self._is_dry_run:
            return "a dry run: nothing was done"
        if not commands:
            return "no commands: neither a policy nor an operator drove the arm"
        if lacking := [topic for topic in cameras if not self._counts[topic]]:
            return f"no images under --camera {', '.join(lacking)}; topics with images: {', '.join(pictures) or 'none'}"
        if not cameras and not any(self._counts[topic] for topic in IMAGE_TOPICS):
            if pictures:
                return no_camera(sorted(pictures), ros_names.IMAGE)
            missing.insert(0, ros_names.IMAGE)
        if missing:
            return f"nothing on {', '.join(missing)} was recorded"
        if refused >= commands:
            return f"every command was refused ({', '.join(sorted(set(self._refused.values())))})"
        return (
            f"no two commands in a row that were carried out: of {commands}, {refused} were refused and "
            f"{self.incomplete} have no image, pose or gripper of their moment"
        )


class BagReader:
    """Follows the messages of one bag and cuts them into stretches."""

    def __init__(self, spec: RobotSpec, cameras: Sequence[str] = ()) -> None:
        """`cameras`: topics of the images of camera 0, 1 …; none: camera 0 is the one that the policy saw."""
        self.given = 0  # stretches given so far
        self.account = Account()
        self.pictures: set[str] = set()  # topics that have images of a camera
        self._spec, self._cameras = spec, cameras
        self.images = NewestImages(tuple(dict.fromkeys([*IMAGE_TOPICS, *cameras])))
        self._pose: Floats | None = None  # (4, 4), measured
        self._target: Floats | None = None  # (4, 4)
        self._finger: float | None = None  # m
        self._kept: dict[str, set[int]] = defaultdict(set)  # by session, sequences whose gripper the filter held back
        # By session: a second policy node may speak too, and its commands are refused.
        self._stretches: dict[str, Stretch] = {}

    def messages(self, file: Path) -> Iterator[Received]:
        """What `take` is to be given. IncompleteBagError at the end as `messages`."""
        yield from messages(file, (*self.images.topics, *_TOPICS), self.pictures)

    @property
    def unused(self) -> tuple[str, ...]:
        """Topics of images that are no camera's, but for the same images in another form."""
        used = self._cameras or IMAGE_TOPICS
        others = self.pictures - {ros_names.GOAL_IMAGE, *used}
        forms = tuple(f"{one}/" for one in used)
        return tuple(sorted(topic for topic in others if not topic.startswith(forms) and "depth" not in topic))

    def take(self, got: Received) -> Iterator[Stretch]:
        """Yields the stretches that this message ends."""
        topic, message = got.topic, got.message
        self.account.take(topic, message)
        if topic in self.images.topics:
            self.images.add(got)
        elif topic == ros_names.EE_POSE:
            self._pose = _pose(message.pose)
        elif topic == ros_names.EE_TARGET:
            self._target = _pose(message.pose)
        elif topic == ros_names.JOINT_STATES:
            self._finger = dict(zip(message.name, message.position)).get("left_finger")
        elif topic == ros_names.GOAL_IMAGE:  # an operator pursues none
            yield from self.end([name for name, one in self._stretches.items() if one.commander == POLICY])
        elif topic == ros_names.ARM_STATUS and message.dry_run:
            yield from self.end()
        elif topic == ros_names.ARM_STATUS and message.refused:
            yield from self.end([message.session])  # the frame of the refused command is the last one
        elif topic == ros_names.ARM_STATUS and GRIPPER_EFFORT in message.clipped:
            self._kept[message.session].add(message.sequence)
        elif topic in _RANKS:
            yield from self._command(message, _RANKS[topic], got.time)

    def end(self, sessions: Collection[str] | None = None) -> Iterator[Stretch]:
        """Ends and yields the stretches of these sessions, or of all."""
        for session in list(self._stretches) if sessions is None else sessions:
            stretch = self._stretches.pop(session, None)
            if stretch is None:
                continue
            whole = len(stretch.states)
            stretch.keep_gripper(self._kept[session])
            self.account.incomplete += whole - len(stretch.states)
            if len(stretch.states) > 1:
                self.given += 1
                yield stretch

    def _command(self, message: RosMessage, commander: str, time: float) -> Iterator[Stretch]:
        if message.header.frame_id != self._spec.base_frame:
            raise ValueError(
                f"commands are in the frame {message.header.frame_id!r}, those of {self._spec.name} in "
                f"{self._spec.base_frame!r}"
            )
        if commander == OPERATOR:  # he looked at no picture of the recording: what the camera showed then
            images = self.images.newest(time, self._cameras, self._spec.control.max_frame_age_s)
        else:
            images = self.images.beside(message, self._cameras)
        now = seconds(message.header.stamp)
        gap_s = _GAP_PERIODS * self._spec.control.period_s
        yield from self.end(
            [session for session, stretch in self._stretches.items() if now - stretch.times[-1] >= gap_s]
        )
        stretch = self._stretches.get(message.session)
        before = stretch if stretch is not None and stretch.sequence + 1 == message.sequence else None
        if (
            before is None
            or len(before.states) == MAX_FRAMES
            or images is None
            or self._pose is None
            or self._target is None
            or self._finger is None
        ):
            yield from self.end([message.session])  # what is missing is not made up; the next command may begin anew
        if images is None or self._pose is None or self._target is None or self._finger is None:
            self.account.incomplete += 1
            return
        if message.session not in self._stretches:
            gripper_before = before.grippers[-1] if before and before.grippers else None
            self._stretches[message.session] = Stretch(commander, message.sequence, gripper_before)
        stretch = self._stretches[message.session]
        stretch.sequence = message.sequence
        stretch.times.append(now)
        stretch.received.append(time)
        stretch.commanders.append(commander)
        stretch.images.append([pixels(image) for image in images])
        stretch.states.append(pose_to_state(self._pose, self._spec.gripper.gripper_value(self._finger)))
        stretch.poses.append(self._pose)
        stretch.targets.append(self._target)
        stretch.grippers.append(min(max(float(message.gripper), 0.0), 1.0))


def _pose(message: RosMessage) -> Floats:
    """(4, 4) of a geometry_msgs/Pose."""
    p, q = message.position, message.orientation
    return make_pose(quaternion_to_rotation(np.array([q.x, q.y, q.z, q.w])), np.array([p.x, p.y, p.z]))
