"""Whose is what in a recording: which commands, goal and policy belong to which session.

A session is one run of a policy node, which draws a name for it at its start. A bag may hold several sessions, in turn
or at once. Commands and /policy/status name their session; goal images and /diagnostics do not. They are
matched by what else is in the bag:

goal: its image is shown just before its session begins to pursue it, which /policy/status tells;
fingerprint of the policy: /diagnostics states it with sequence and latency of the newest command, /policy/status states
    those two with the session.

What fits several sessions is not guessed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mqe_core import ros_names
from mqe_core.data.readers.bag_messages import (
    IncompleteBagError,
    NewestImages,
    RosMessage,
    Stamp,
    messages,
    pixels,
    seconds,
    stamp,
)
from mqe_core.robot.arrays import Floats, Images

# A goal's image and its session's first status are this close: a recorder may discover one topic before the other.
_TOGETHER_S = 1.0
# So are a sequence in /diagnostics and the same one in a status; a status comes every 0.2 s.
_REPEATED_S = 0.5


@dataclass(frozen=True, eq=False)
class Decision:
    """One command of a recording with what it was computed from."""

    session: str
    action: Floats  # (7,)
    image: Images | None  # (H, W, 3); None: not in the recording
    goals: Sequence[Images]  # (H, W, 3) each. None of them: not in the recording. Several: it was one of them


@dataclass(frozen=True, eq=False)
class _Shown:
    """A goal's image."""

    time: float  # when the recorder got it, s
    stamp: float  # when it was published, s
    image: Images  # (H, W, 3)


class Sessions:
    """The sessions of a recording's .mcap files, by name in the order of their first message."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.goal_names: dict[str, list[str]] = {}  # by session, as /policy/status names them
        self.incomplete: dict[Path, str] = {}  # the files that give less than was recorded, and why
        self._seen: dict[str, list[float]] = {}  # by session, when its first and last message came, s
        # By session, when it began to exist or to pursue a goal: received and stamped, s.
        self._began: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._pursued: dict[str, str | None] = {}  # by session, the name of its goal now; None: no goal
        # By (sequence, latency), when and by which session a status stated them.
        self._said: dict[tuple[int, str], list[tuple[float, str]]] = defaultdict(list)
        self._stated: list[tuple[float, dict[str, str]]] = []  # in /diagnostics, by a policy node
        # By stamp and content, as the next bag of a long recording begins with the same image.
        shown: dict[tuple[Stamp, bytes], _Shown] = {}
        for file in files:
            try:
                for time, topic, message, _ in messages(
                    file, (ros_names.GOAL_IMAGE, ros_names.COMMAND, ros_names.POLICY_STATUS, ros_names.DIAGNOSTICS)
                ):
                    self._take(time, topic, message, shown)
            except IncompleteBagError as error:
                self.incomplete[file] = str(error)
        self._goals = self._match_goals(sorted(shown.values(), key=lambda goal: goal.stamp))

    @property
    def names(self) -> list[str]:
        """In the order of their first message."""
        return list(self._seen)

    def goals_at(self, session: str, time: float) -> Sequence[Images]:
        """The goals that a command may have been for: one where that can be told, none where none was recorded."""
        changes = self._goals.get(session, ())
        index = bisect_right(changes, time, key=lambda change: change[0])
        return changes[index - 1][1] if index else ()

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each session's policy, for the sessions where it can be told."""
        told: dict[str, set[str]] = defaultdict(set)
        for time, values in self._stated:
            said = self._said.get((int(values.get("sequence", 0)), values.get("latency_ms", "")), ())
            speakers = {session for when, session in said if abs(when - time) <= _REPEATED_S}
            if len(speakers) == 1:
                told[speakers.pop()].add(values["fingerprint"])
        stated = self.stated_fingerprints()
        if len(self._seen) == 1 and len(stated) == 1:
            return {self.names[0]: stated.pop()}
        return {session: found.pop() for session, found in told.items() if len(found) == 1}

    def stated_fingerprints(self) -> set[str]:
        """The fingerprints of all policies that ran."""
        return {values["fingerprint"] for _, values in self._stated}

    def _take(self, time: float, topic: str, message: RosMessage, shown: dict[tuple[Stamp, bytes], _Shown]) -> None:
        if topic == ros_names.GOAL_IMAGE:
            key = (stamp(message.header.stamp), bytes(message.data))
            shown.setdefault(key, _Shown(time, seconds(message.header.stamp), pixels(message)))
        elif topic == ros_names.DIAGNOSTICS:
            self._take_diagnostics(time, message)
        elif topic == ros_names.POLICY_STATUS:
            self._take_status(time, message)
        else:
            self._see(message, time, self._pursued.get(message.session) or "")

    def _take_diagnostics(self, time: float, message: RosMessage) -> None:
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            if "fingerprint" in values:
                self._stated.append((time, values))

    def _take_status(self, time: float, message: RosMessage) -> None:
        self._see(message, time, None if message.state == "idle" else message.goal)
        if message.sequence:
            self._said[message.sequence, f"{message.latency_ms:.1f}"].append((time, message.session))

    def _see(self, message: RosMessage, time: float, goal: str | None) -> None:
        """Note that a session spoke, and whether it came up or began with another goal."""
        session = message.session
        if session not in self._seen or goal is not None and goal != self._pursued[session]:
            self._began[session].append((time, seconds(message.header.stamp)))
        self._seen.setdefault(session, [time, time])[1] = time
        self._pursued[session] = goal
        names = self.goal_names.setdefault(session, [])
        if goal and goal not in names:
            names.append(goal)

    def _match_goals(self, shown: list[_Shown]) -> dict[str, list[tuple[float, Sequence[Images]]]]:
        """By session, from when on which goals may be in force."""
        changes: dict[str, list[tuple[float, Sequence[Images]]]] = defaultdict(list)
        for goal in sorted(shown, key=lambda goal: goal.time):
            together = [other for other in shown if abs(other.time - goal.time) <= _TOGETHER_S]
            around = self._around(goal.time)
            began = self._beginners(around, goal.time)
            beginners = [session for _, session in began]
            if len(around) == 1:
                changes[around[0]].append((goal.time, (goal.image,)))
            elif _in_turn(together, [stamped for stamped, _ in began]):
                changes[beginners[together.index(goal)]].append((goal.time, (goal.image,)))
            else:
                for session in around if len(together) > len(began) else beginners:
                    goes_on = session not in beginners and bool(changes[session])
                    before: Sequence[Images] = changes[session][-1][1] if goes_on else ()
                    images = [*before, *(other.image for other in together)]
                    # Fewer goals than sessions that began: one of them was not recorded.
                    changes[session].append((goal.time, () if len(together) < len(began) else _distinct(images)))
        return changes

    def _around(self, time: float) -> list[str]:
        """The sessions that are heard before and after that time; else the next one that comes up."""
        around = [
            name for name, (first, last) in self._seen.items() if first - _TOGETHER_S <= time <= last + _TOGETHER_S
        ]
        return around or [name for name, (first, _) in self._seen.items() if first > time][:1]

    def _beginners(self, sessions: Iterable[str], time: float) -> list[tuple[float, str]]:
        """(stamp, session) of those of `sessions` that began at about that time, in the order of their stamps."""
        moments = {
            name: [stamped for got, stamped in self._began[name] if abs(got - time) <= _TOGETHER_S] for name in sessions
        }
        return sorted((max(stamps), name) for name, stamps in moments.items() if stamps)


def _in_turn(goals: Sequence[_Shown], began: Sequence[float]) -> bool:
    """Whether each session began after its own goal was shown and before the next goal was.

    Then it is clear whose each goal is. `began` holds the sessions' stamps, in order.
    """
    if len(goals) != len(began):
        return False
    nexts = [goal.stamp for goal in goals[1:]] + [np.inf]
    return len(began) == 1 or all(goal.stamp <= moment < after for goal, moment, after in zip(goals, began, nexts))


def _distinct(images: Sequence[Images]) -> Sequence[Images]:
    return [
        image for k, image in enumerate(images) if not any(np.array_equal(image, earlier) for earlier in images[:k])
    ]


def recorded_decisions(files: Sequence[Path], sessions: Sessions, images: NewestImages) -> Iterator[Decision]:
    """Every command of the .mcap files in its order; `images` counts how their images were found."""
    for file in files:
        with suppress(IncompleteBagError):  # `sessions.incomplete` holds it
            for got in messages(file, (*images.topics, ros_names.COMMAND)):
                message = got.message
                if got.topic != ros_names.COMMAND:
                    images.add(got)
                    continue
                image = images.of(message)
                goals = sessions.goals_at(message.session, got.time)
                action = np.array(message.action, dtype=np.float64)
                yield Decision(message.session, action, None if image is None else pixels(image), goals)
