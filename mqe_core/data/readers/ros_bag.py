"""Our own recordings: MCAP bags of the ROS 2 graph (`record:=true`), as episodes.

An episode is a stretch of commands without a gap, of one session, towards one goal, none of which was refused: of a
policy or of an operator. Its frames are the images that a policy's commands were computed from, and those that the
camera showed when an operator's came. Its states are what the arm measured then. Its actions are what was sent to the
arm: the way from one commanded target to the next, in BridgeData's convention. They are not what was asked for, which
the safety filter may have clipped. Likewise the gripper: where the filter let it close no farther, its value is what
was commanded before.

Where an operator marked episodes (`mqe episode start`), these are the episodes (`bag_marks`).

A bag without an episode is named among what was skipped, with the reason; so is one that ends early or is damaged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

import numpy as np

from mqe_core import ros_names
from mqe_core.data.episode import Episode, Skipped
from mqe_core.data.readers.bag_episodes import BagReader, Stretch
from mqe_core.data.readers.bag_marks import MarkedStretches, Marks
from mqe_core.data.readers.bag_messages import (
    IncompleteBagError,
    bag_files,
    messages,
    stated,
    told_by_stamps,
)
from mqe_core.data.source import EpisodeTask
from mqe_core.data.source_files import same_files, why_of_no_format
from mqe_core.robot.geometry import action_between
from mqe_core.robot.spec import load_robot_spec

log = logging.getLogger(__name__)


class RosBagSource:
    """All .mcap files at or below `root`."""

    format = "ros-bag"

    def __init__(self, root: Path, cameras: Sequence[str] = ()) -> None:
        """`cameras`: the topics of camera 0, 1 …; none: camera 0 is the one that the policy saw."""
        self.root = root
        self._cameras = cameras
        found = bag_files(root)
        self._copies = same_files(found)
        self._has_told = False
        self._files = [file for file in found if file not in self._copies]

    @cached_property
    def _survey(self) -> _Survey:
        return _Survey(self)

    def is_empty(self) -> bool:
        return not self._files

    def num_episodes(self) -> int | None:
        return None

    def domain(self) -> str:
        """What the policy nodes said that their camera shows. ValueError where they disagree or said nothing."""
        said, incomplete = self._survey.domains, self._survey.incomplete
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
        return next(iter(said))

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        spec, by_stamp = load_robot_spec(), 0
        sizes = [file.stat().st_size for file in self._files]
        for number, file in enumerate(self._files):
            before, whole = sum(sizes[:number]), max(sum(sizes), 1)
            name = self._name(file)
            reader, damage, given = BagReader(spec, self._cameras), None, 0
            marked = MarkedStretches(self._survey.marks.of(file), spec)
            try:
                for got in reader.messages(file):
                    for stretch in chain.from_iterable(map(marked.take, reader.take(got))):
                        given += 1
                        yield _task(name, reader, stretch, (before + got.byte) / whole)
            except IncompleteBagError as error:
                damage = Skipped(name, str(error), None)
            except ValueError as error:
                damage = Skipped(f"{name} and what follows in it", str(error), None)
            for stretch in chain(chain.from_iterable(map(marked.take, reader.end())), marked.end()):
                given += 1
                yield _task(name, reader, stretch, (before + sizes[number]) / whole)
            by_stamp += reader.images.by_stamp
            yield from (Skipped(name, why, 0) for why in _lost(reader, marked))
            if damage is not None:
                yield damage
            elif given == 0 and not marked.outside:
                yield Skipped(name, reader.account.why_nothing(self._cameras, reader.unused), 0)

        if by_stamp and not self._has_told:
            self._has_told = True  # who asks again has heard it
            log.warning("%s: %s", self.root, told_by_stamps(by_stamp))
        for file, first in self._copies.items():
            yield Skipped(self._name(file), f"the same bytes as {self._name(first)}", 0)

    def why_not_read(self, file: Path) -> str | None:
        if file in self._copies:
            return "the same bytes as a file that was read"
        if file in self._files:
            return None
        return "about a bag" if file.name == "metadata.yaml" else why_of_no_format(file, self.format)

    def _name(self, file: Path) -> str:
        return file.relative_to(self.root.parent).as_posix()


class _Survey:
    """What is asked of all files before any episode is made: the domain, and the marks of episodes."""

    def __init__(self, source: RosBagSource) -> None:
        self.domains: set[str] = set()
        self.incomplete: list[str] = []
        self.marks = Marks(source._files)
        for file in source._files:
            try:
                for got in messages(file, (ros_names.DIAGNOSTICS, ros_names.EPISODE_STATUS)):
                    if got.topic == ros_names.DIAGNOSTICS:
                        self.domains |= stated(got.message, "domain")
                    else:
                        self.marks.take(file, got)
            except IncompleteBagError as error:
                self.incomplete.append(f"{source._name(file)} {error}")


def _lost(reader: BagReader, marked: MarkedStretches) -> Iterator[str]:
    """Why commands are left out."""
    images = reader.images
    if images.untold:
        yield (
            f"{images.untold} commands are left out: several images carry the stamp of theirs; have the camera stamp "
            "its images"
        )
    if images.absent and reader.given:
        yield f"{images.absent} commands are left out: their images are not in the recording"
    if marked.outside:
        yield f"{marked.outside} commands are left out: they lie in no episode that was marked and kept"


def _task(name: str, reader: BagReader, stretch: Stretch, share: float) -> EpisodeTask:
    full_name = f"{name}#{stretch.times[0]:.3f}"
    return EpisodeTask(full_name, partial(_episode, full_name, stretch, reader.unused), share)


def _episode(name: str, stretch: Stretch, unused: tuple[str, ...]) -> Episode:
    actions = []
    for k in range(len(stretch.states) - 1):
        action = action_between(stretch.targets[k], stretch.targets[k + 1], stretch.poses[k])
        actions.append([*action[:6], stretch.grippers[k]])
    frames = dict(enumerate(map(list, zip(*stretch.images))))
    return Episode(
        name,
        np.array(stretch.states),
        np.array(actions),
        frames,
        languages=(stretch.label,) if stretch.label else (),
        unused_cameras=unused,
        commanders=tuple(stretch.commanders),
    )
