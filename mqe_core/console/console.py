"""What all parts of the page share."""

from __future__ import annotations

from dataclasses import dataclass

from mqe_core.console.goals_folder import GoalsFolder, Meaning
from mqe_core.console.hands import Hands
from mqe_core.console.link import Link
from mqe_core.console.recordings import Recordings
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.teleop.devices import Devices


@dataclass(frozen=True)
class Thresholds:
    """Of steps_to_goal: up to which a goal counts as reached, and beyond which it is refused. None: none. `stalls`:
    whether a goal ends that does not come closer for long.
    """

    reached: float | None = None
    unreachable: float | None = None
    stalls: bool = False


@dataclass(frozen=True, eq=False)
class Console:
    """`link`: the graph; `hands`: of all pages; `spec`: the robot, on its table; `meaning`: of a picture that becomes a
    goal.
    """

    link: Link
    hands: Hands
    spec: RobotSpec
    devices: Devices
    goals: GoalsFolder
    meaning: Meaning
    recordings: Recordings
    thresholds: Thresholds = Thresholds()
