"""What the page reads of a running graph, and what it asks of it: four methods, without ROS.

`mqe_ros.console_node` implements them over rclpy. A fake of them makes the page testable without a graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mqe_core.robot.arrays import Floats, Images
from mqe_core.robot.episode_marks import DISCARD, LABEL, START, STOP

HOLD, RESUME, HOME = "hold", "resume", "home"
SEND, CANCEL, CAPTURE = "send", "cancel", "capture"  # of goals; `send` and `capture` with a name
ACTS = (HOLD, RESUME, HOME, SEND, CANCEL, CAPTURE, START, STOP, DISCARD, LABEL)
# The pictures, by name; the reference is what the policy's camera saw in training.
CAMERA, GOAL, REFERENCE = "camera", "goal", "reference"


@dataclass(frozen=True)
class ArmView:
    """What arm_node says: the fields of /arm/status, and when it said so (monotonic seconds)."""

    heard: float
    state: str
    reason: str = ""
    clipped: tuple[str, ...] = ()
    refused: str = ""
    commander: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class PolicyView:
    """What policy_node says. `steps_to_goal` and `latency_ms`: None where it does not know."""

    heard: float
    state: str
    reason: str = ""
    goal: str = ""
    steps_to_goal: float | None = None
    latency_ms: float | None = None
    deadline_misses: int = 0


@dataclass(frozen=True)
class EpisodesView:
    """What record_node says; `began`: when the open episode did, monotonic seconds, as far as it is known here."""

    number: int
    is_open: bool
    label: str = ""
    kept: int = 0
    discarded: int = 0
    began: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What a node says of itself: `level` 0 fine, 1 warning, 2 error."""

    heard: float
    level: int
    message: str
    figures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line3D:
    """A line in the arm's base frame, m: `points` (N, 3), `colour` as #rrggbb."""

    points: Floats
    colour: str


@dataclass(frozen=True)
class Scene:
    """Where the arm is and is to go. `joints`: (6,) rad; `gripper`: 1 open; `target`: (4, 4). None: not heard yet."""

    joints: Floats | None = None
    gripper: float | None = None
    target: Floats | None = None
    path: Line3D | None = None
    candidates: tuple[Line3D, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """All of it at one moment. None: nothing of that was ever heard.

    `rates`: messages a second of a topic, by its name, over the last seconds.
    """

    arm: ArmView | None = None
    policy: PolicyView | None = None
    episodes: EpisodesView | None = None
    diagnoses: Mapping[str, Diagnosis] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    scene: Scene = Scene()


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that came as number `number` of its kind, at `heard` (monotonic seconds)."""

    number: int
    heard: float
    image: Images


class Link(Protocol):
    """A running graph, as the page sees it. Every method may be called from any thread."""

    def snapshot(self) -> Snapshot:
        """The newest of everything."""

    def picture_number(self, name: str) -> int:
        """Of the newest picture `camera` or `goal`, counting from 1; 0 where none came."""

    def picture(self, name: str) -> Picture | None:
        """The newest one. ValueError where it cannot be read."""

    def do(self, act: str, text: str = "") -> str:
        """Do one of ACTS; blocks until it is answered, and returns the answer in words. ValueError or RuntimeError
        with the reason where it is refused or nobody answers.
        """
