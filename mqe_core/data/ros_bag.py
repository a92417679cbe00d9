"""Our own recordings: MCAP bags of the ROS 2 graph (`record:=true`), as episodes.

An episode is a stretch of commands without a gap, of one session, towards one goal, none of which was refused. Its frames are the images
that those commands were computed from, its states what the arm measured then. Its actions are what the arm was
really told: the way from one commanded target to the next, in BridgeData's convention, not the policy's wish
that the safety filter may have clipped or refused. So is the gripper: where the filter let it close no farther, it is what was commanded before.

A bag without an episode is named among what was skipped, with the reason; likewise one that ends early or is damaged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mqe_core.data.bag_messages import IncompleteBagError, NewestImages, bag_files, messages, pixels, stated
from mqe_core.data.episode import Episode, Skipped
from mqe_core.data.source import EpisodeTask
from mqe_core.geometry import action_between, make_pose, pose_to_state, quaternion_to_rotation
from mqe_core.spec import RobotSpec, load_robot_spec

_MAX_FRAMES = (
    150  # of one episode, as its images are held in memory (140 MB at 640x480); a longer pursuit becomes several
)
_GAP_PERIODS = 2.5  # between two commands; a longer one is no step
_NEEDED = ("/camera/image_raw", "/arm/ee_pose", "/arm/ee_target", "/joint_states")  # by every frame
_KEPT = "gripper_effort"  # the clip, in /arm/status, that leaves the gripper as it was commanded before
_TOPICS = (*_NEEDED, "/goal/image", "/policy/command", "/arm/status")


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
        said, incomplete = set(), []
        for file in self._files:
            try:
                for got in messages(file, ("/diagnostics",)):
                    said |= stated(got.message, "domain")
            except IncompleteBagError as error:
                incomplete.append(f"{self._name(file)} {error}")
        if not said and incomplete:
            raise ValueError(
                f"{self.root} holds no whole message of a policy node in /diagnostics; {'; '.join(incomplete)}"
            )
        if not said:
            raise ValueError(
                f"{self.root} holds nothing that a policy node said in /diagnostics: none ran, so there is no episode"
            )
        if len(said) > 1:
            raise ValueError(
                f"{self.root} holds recordings of the domains {sorted(said)}; import those of one domain at a time"
            )
        return said.pop()

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        spec = load_robot_spec()
        for file in self._files:
            name = self._name(file)
            reader, damage = _Reader(spec), None
            try:
                for got in messages(file, _TOPICS):
                    yield from _tasks(name, reader.take(got.topic, got.message))
            except IncompleteBagError as error:
                damage = Skipped(name, str(error), None)
            except ValueError as error:
                damage = Skipped(f"{name} and what follows in it", str(error), None)
            yield from _tasks(name, reader.end())
            if damage is not None:
                yield damage
            elif reader.given == 0:
                yield Skipped(name, reader.account.why_nothing(), 0)

    def _name(self, file: Path) -> str:
        return file.relative_to(self.root.parent).as_posix()


@dataclass
class _Stretch:
    """An episode as it grows; everything but `sequence` is of each frame."""

    sequence: int  # of the last frame
    gripper_before: float | None  # commanded before the first frame; None: not known
    times: list[float] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)  # measured, (4, 4)
    targets: list[np.ndarray] = field(default_factory=list)  # in force before each command
    grippers: list[float] = field(default_factory=list)  # asked for, within what the filter lets through

    def keep_gripper(self, kept: Container[int]) -> None:
        """Where a command's sequence is among `kept`, take the gripper of the one before; leave out first frames that have none."""
        commanded = [self.gripper_before]
        for sequence, asked in enumerate(self.grippers, self.sequence - len(self.grippers) + 1):
            commanded.append(commanded[-1] if sequence in kept else asked)
        self.grippers = [gripper for gripper in commanded[1:] if gripper is not None]
        for values in (self.times, self.images, self.states, self.poses, self.targets):
            del values[: len(values) - len(self.grippers)]


class _Account:
    """What a bag holds, for the reason why it gives no episode."""

    def __init__(self) -> None:
        self.incomplete = 0  # commands whose image or arm is not in it
        self._counts: Counter[str] = Counter()  # messages per topic
        self._refused: dict[tuple[str, int], str] = {}  # (session, sequence): the rule
        self._is_dry_run = False

    def take(self, topic: str, message) -> None:
        self._counts[topic] += 1
        if topic == "/arm/status":
            self._is_dry_run |= message.dry_run
            if message.refused:
                self._refused[message.session, message.sequence] = message.refused

    def why_nothing(self) -> str:
        commands, refused = self._counts["/policy/command"], len(self._refused)
        missing = [topic for topic in _NEEDED if not self._counts[topic]]
        if self._is_dry_run:
            return "a dry run: nothing was done"
        if not commands:
            return "no commands: no policy drove the arm"
        if missing:
            return f"nothing on {', '.join(missing)} was recorded"
        if refused >= commands:
            return f"every command was refused ({', '.join(sorted(set(self._refused.values())))})"
        return (
            f"no two commands in a row that were carried out: of {commands}, {refused} were refused and "
            f"{self.incomplete} have no image, pose or gripper of their moment"
        )


class _Reader:
    """Follows the messages of one bag and cuts them into stretches."""

    def __init__(self, spec: RobotSpec) -> None:
        self.given = 0  # stretches so far
        self.account = _Account()
        self._spec = spec
        self._images = NewestImages()
        self._pose: np.ndarray | None = None
        self._target: np.ndarray | None = None
        self._finger: float | None = None
        self._kept: dict[str, set[int]] = defaultdict(
            set
        )  # sequences, by session, of the commands that left the gripper as it was
        self._stretches: dict[
            str, _Stretch
        ] = {}  # by session: a second policy node may speak, whose commands are refused

    def take(self, topic: str, message) -> Iterator[_Stretch]:
        """Yields the stretches that this message ends."""
        self.account.take(topic, message)
        if topic == "/camera/image_raw":
            self._images.add(message)
        elif topic == "/arm/ee_pose":
            self._pose = _pose(message.pose)
        elif topic == "/arm/ee_target":
            self._target = _pose(message.pose)
        elif topic == "/joint_states":
            self._finger = dict(zip(message.name, message.position)).get("left_finger")
        elif topic == "/goal/image":
            yield from self.end()
        elif topic == "/arm/status" and message.dry_run:
            yield from self.end()
        elif topic == "/arm/status" and message.refused:
            yield from self.end(
                [message.session]
            )  # what follows was not done; the frame of the refused command is the last one
        elif topic == "/arm/status" and _KEPT in message.clipped:
            self._kept[message.session].add(message.sequence)
        elif topic == "/policy/command":
            yield from self._command(message)

    def end(self, sessions: Collection[str] | None = None) -> Iterator[_Stretch]:
        """Of these sessions, or of all."""
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

    def _command(self, message) -> Iterator[_Stretch]:
        if message.header.frame_id != self._spec.base_frame:
            raise ValueError(
                f"commands are in the frame {message.header.frame_id!r}, those of {self._spec.name} in {self._spec.base_frame!r}"
            )
        image = self._images.taken_at(message.observation_stamp)
        now = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
        gap_s = _GAP_PERIODS * self._spec.control.period_s
        yield from self.end(
            [session for session, stretch in self._stretches.items() if now - stretch.times[-1] >= gap_s]
        )
        stretch = self._stretches.get(message.session)
        before = stretch if stretch is not None and stretch.sequence + 1 == message.sequence else None
        if (
            before is None
            or len(before.states) == _MAX_FRAMES
            or image is None
            or self._pose is None
            or self._target is None
            or self._finger is None
        ):
            yield from self.end([message.session])  # what is missing is not made up; the next command may begin anew
        if image is None or self._pose is None or self._target is None or self._finger is None:
            self.account.incomplete += 1
            return
        if message.session not in self._stretches:
            self._stretches[message.session] = _Stretch(
                message.sequence, before.grippers[-1] if before and before.grippers else None
            )
        stretch = self._stretches[message.session]
        stretch.sequence = message.sequence
        stretch.times.append(now)
        stretch.images.append(pixels(image))
        stretch.states.append(pose_to_state(self._pose, self._spec.gripper.gripper_value(self._finger)))
        stretch.poses.append(self._pose)
        stretch.targets.append(self._target)
        stretch.grippers.append(min(max(float(message.gripper), 0.0), 1.0))


def _tasks(name: str, stretches: Iterator[_Stretch]) -> Iterator[EpisodeTask]:
    for stretch in stretches:
        full_name = f"{name}#{stretch.times[0]:.3f}"
        yield EpisodeTask(full_name, lambda stretch=stretch, full_name=full_name: _episode(full_name, stretch))


def _episode(name: str, stretch: _Stretch) -> Episode:
    actions = []
    for k in range(len(stretch.states) - 1):
        action = action_between(stretch.targets[k], stretch.targets[k + 1], stretch.poses[k])
        actions.append([*action[:6], stretch.grippers[k]])
    return Episode(name, np.array(stretch.states), np.array(actions), {0: stretch.images})


def _pose(message) -> np.ndarray:
    p, q = message.position, message.orientation
    return make_pose(quaternion_to_rotation(np.array([q.x, q.y, q.z, q.w])), np.array([p.x, p.y, p.z]))
