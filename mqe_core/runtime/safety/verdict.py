"""The filter's words: what it says of a command, and what it remembers of the last one.

A command has three names on its way. *Asked* is what the sender wants, *allowed* what the filter leaves of it, and
*sent* what the backend says that it really sent. Filter and backend may both refuse: then nothing is sent. What comes
back is the *answer*: what was sent, or with `refused` set what was not. All are a `Command`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from mqe_core.robot.arrays import Floats
from mqe_core.runtime.robot import Command


class Refusal(NamedTuple):
    """Why nothing is sent: a name of `safety_rules.REFUSE_RULES`, and one sentence with the numbers."""

    rule: str
    detail: str


@dataclass(frozen=True, eq=False)
class LastTarget:
    """The last sent target, where the next step starts. Before the first command it is the pose the arm was found in.

    Attributes:
        joints: (6,) rad.
        pose: (4, 4), what the joints reach.
        velocity: (6,) rad/s, mean of the step that led here.
        time: when it was sent, monotonic s; None where the arm was found here.
        floor_m: how low the hand may be, metres of clearance above the table: 0, or where it was found lower, the
            highest that it has been since.
    """

    joints: Floats
    pose: Floats
    velocity: Floats
    time: float | None
    floor_m: float

    def seconds_for_a_step(self, now: float, period_s: float) -> float:
        """No more than a control period, however long the arm has waited."""
        return period_s if self.time is None else min(period_s, now - self.time)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the filter says of one command. It holds all that `SafetyFilter.record` needs afterwards.

    Attributes:
        asked: the command as it came.
        allowed: what may be sent, with `joints` filled in and `clipped` naming what was changed; None where the command
            is refused.
        refusal: why it is refused; None where it is allowed.
        start: the target that the step was judged from; None where the command was refused before that.
        time: when it was judged, monotonic s.
    """

    asked: Command
    allowed: Command | None
    refusal: Refusal | None
    start: LastTarget | None
    time: float


def refused(asked: Command, refusal: Refusal) -> Command:
    """The answer to a command that is refused. What its sender claims of joints and clips is gone."""
    return replace(asked, joints=None, clipped=(), refused=refusal.rule, detail=refusal.detail)
