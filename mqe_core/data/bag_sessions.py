"""Whose is what in a recording: a policy node draws a session at its start, and a bag may hold several, one after the other or at once.

Commands and /policy/status name their session. Goal images and diagnostics do not; they are matched by what else is in the bag:

goal: shown just before its session begins to pursue it, which /policy/status tells;
fingerprint: stated in /diagnostics with sequence and latency of the newest command, as /policy/status states them with the session.

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

from mqe_core.data.bag_messages import IncompleteBagError, NewestImages, Stamp, messages, pixels, stamp

_TOGETHER_S = (
    1.0  # a goal's image and its session's first status, with the time in which a recorder discovers their topics
)
_REPEATED_S = 0.5  # the sequence in /diagnostics and in a status; a status comes every 0.2 s


@dataclass(frozen=True, eq=False)
class Decision:
    """One command of a recording with what it was computed from."""

    session: str
    action: np.ndarray  # (7,)
    image: np.ndarray | None  # (H, W, 3) uint8 RGB; None: not in the recording
    goals: Sequence[np.ndarray]  # likewise; empty: not in the recording; several: which of them it was cannot be told


@dataclass(frozen=True, eq=False)
class _Shown:
    """A goal's image."""

    time: float  # when the recorder got it, s
    stamp: float  # when it was published, s
    image: np.ndarray


class Sessions:
    """The sessions of a recording's .mcap files, by name in the order of their first message."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.goal_names: dict[str, list[str]] = {}  # by session, as /policy/status names them
        self.incomplete: dict[Path, str] = {}  # the files that give less than was recorded, and why
        self._seen: dict[str, list[float]] = {}  # first and last message
        self._began: dict[str, list[tuple[float, float]]] = defaultdict(
            list
        )  # to exist or to pursue a goal: received and stamped, s
        self._pursued: dict[str, str | None] = {}  # the goal's name now; None: no goal
        self._said: dict[tuple[int, str], list[tuple[float, str]]] = defaultdict(
            list
        )  # (sequence, latency): when, by whom
        self._stated: list[tuple[float, dict[str, str]]] = []  # in /diagnostics, by a policy node
        shown: dict[tuple[Stamp, bytes], _Shown] = {}  # the same image may come again, as the next bag begins with it
        for file in files:
            try:
                for time, topic, message in messages(
                    file, ("/goal/image", "/policy/command", "/policy/status", "/diagnostics")
                ):
                    self._take(time, topic, message, shown)
            except IncompleteBagError as error:
                self.incomplete[file] = str(error)
        self._goals = self._match_goals(sorted(shown.values(), key=lambda goal: goal.stamp))

    @property
    def names(self) -> list[str]:
        return list(self._seen)

    def goals_at(self, session: str, time: float) -> Sequence[np.ndarray]:
        """The goals that a command may have been meant for: one where it can be told, none where none was recorded."""
        changes = self._goals.get(session, ())
        index = bisect_right(changes, time, key=lambda change: change[0])
        return changes[index - 1][1] if index else ()

    def fingerprints(self) -> dict[str, str]:
        """The policy of each session for which it can be told."""
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
        """Of all policies that ran."""
        return {values["fingerprint"] for _, values in self._stated}

    def _take(self, time: float, topic: str, message, shown: dict[tuple[Stamp, bytes], _Shown]) -> None:
        if topic == "/goal/image":
            key = (stamp(message.header.stamp), bytes(message.data))
            shown.setdefault(key, _Shown(time, _seconds(message), pixels(message)))
        elif topic == "/diagnostics":
            self._take_diagnostics(time, message)
        elif topic == "/policy/status":
            self._take_status(time, message)
        else:
            self._see(message, time, self._pursued.get(message.session) or "")

    def _take_diagnostics(self, time: float, message) -> None:
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            if "fingerprint" in values:
                self._stated.append((time, values))

    def _take_status(self, time: float, message) -> None:
        self._see(message, time, None if message.state == "idle" else message.goal)
        if message.sequence:
            self._said[message.sequence, f"{message.latency_ms:.1f}"].append((time, message.session))

    def _see(self, message, time: float, goal: str | None) -> None:
        """Note that a session spoke, and whether it came up or began with another goal."""
        session = message.session
        if session not in self._seen or goal is not None and goal != self._pursued[session]:
            self._began[session].append((time, _seconds(message)))
        self._seen.setdefault(session, [time, time])[1] = time
        self._pursued[session] = goal
        names = self.goal_names.setdefault(session, [])
        if goal and goal not in names:
            names.append(goal)

    def _match_goals(self, shown: list[_Shown]) -> dict[str, list[tuple[float, Sequence[np.ndarray]]]]:
        """From when on which goals may be in force, by session."""
        changes: dict[str, list[tuple[float, Sequence[np.ndarray]]]] = defaultdict(list)
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
                    before = () if session in beginners or not changes[session] else changes[session][-1][1]
                    images = [*before, *(other.image for other in together)]
                    # Fewer goals than sessions that began: one of them was not recorded.
                    changes[session].append((goal.time, () if len(together) < len(began) else _distinct(images)))
        return changes

    def _around(self, time: float) -> list[str]:
        """Those that are heard before and after; else the next one that comes up."""
        around = [
            name for name, (first, last) in self._seen.items() if first - _TOGETHER_S <= time <= last + _TOGETHER_S
        ]
        return around or [name for name, (first, _) in self._seen.items() if first > time][:1]

    def _beginners(self, sessions: Iterable[str], time: float) -> list[tuple[float, str]]:
        """(stamp, session) of those that began at about that time, in their order."""
        moments = {
            name: [stamped for got, stamped in self._began[name] if abs(got - time) <= _TOGETHER_S] for name in sessions
        }
        return sorted((max(stamps), name) for name, stamps in moments.items() if stamps)


def _in_turn(goals: Sequence[_Shown], began: Sequence[float]) -> bool:
    """Whether each session began after its own goal was shown and before the next one's was: then it is clear whose each is."""
    if len(goals) != len(began):
        return False
    nexts = [goal.stamp for goal in goals[1:]] + [np.inf]
    return len(began) == 1 or all(goal.stamp <= moment < after for goal, moment, after in zip(goals, began, nexts))


def _seconds(message) -> float:
    """The stamp of a message's header, s."""
    return message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec


def _distinct(images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    return [
        image for k, image in enumerate(images) if not any(np.array_equal(image, earlier) for earlier in images[:k])
    ]


def recorded_decisions(files: Sequence[Path], sessions: Sessions) -> Iterator[Decision]:
    """Every command of the .mcap files in its order."""
    images = NewestImages()
    for file in files:
        with suppress(IncompleteBagError):  # which `sessions` tells
            for time, topic, message in messages(file, ("/camera/image_raw", "/policy/command")):
                if topic == "/camera/image_raw":
                    images.add(message)
                    continue
                image = images.taken_at(message.observation_stamp)
                goals = sessions.goals_at(message.session, time)
                yield Decision(
                    message.session, np.array(message.action), None if image is None else pixels(image), goals
                )
