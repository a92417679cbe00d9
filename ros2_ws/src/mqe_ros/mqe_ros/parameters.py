"""The parameters of every node: name, type, default, meaning and range, once.

`running.ControlNode` declares a node's table and reads from it. This module loads no ROS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

Value = bool | int | float | str
_MOST_LETTERS = 4096  # of a text; the system's paths have no more


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    Args:
        default: None where there is none: it must be given, or `otherwise` says what counts in its place.
        meaning: one line, units included.
        at_least, above, at_most: the range. NaN is within none; it is allowed where it is the default, which then means
            that there is no number.
        read_again: whether a later value counts; else it is read once, at the start, and cannot be set.
    """

    name: str
    kind: type[Value]
    default: Value | None
    meaning: str
    otherwise: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    read_again: bool = False

    @property
    def range(self) -> str:
        """`from 1 to 64`, `above 0`, or empty."""
        words = (
            ("from", self.at_least),
            ("above", self.above),
            ("to" if self.at_least is not None else "up to", self.at_most),
        )
        return " ".join(f"{word} {end:,.12g}".replace("-", "−") for word, end in words if end is not None)

    @property
    def may_be_nan(self) -> bool:
        """Whether NaN stands for no number."""
        return isinstance(self.default, float) and math.isnan(self.default)

    def check(self, value: Value) -> None:
        """ValueError where a number lies outside the range, or a text is longer than any path."""
        if isinstance(value, str) and len(value) > _MOST_LETTERS:
            raise ValueError(
                f"the parameter {self.name} must be a text of at most {_MOST_LETTERS:,} letters, got {len(value):,} "
                f"({self.meaning})"
            )
        if isinstance(value, (bool, str)) or (self.may_be_nan and math.isnan(value)):
            return
        if (
            math.isnan(value)
            or (self.at_least is not None and value < self.at_least)
            or (self.above is not None and value <= self.above)
            or (self.at_most is not None and value > self.at_most)
        ):
            raise ValueError(f"the parameter {self.name} must be a number {self.range}, got {value} ({self.meaning})")


_ROBOT = Parameter("robot", str, "widowx250s", "name or path of the robot file")

MANAGED = (Parameter("self_activate", bool, True, "configure and activate at the start"),)

_AT_EACH_CONFIGURATION = (
    Parameter("policy", str, None, "the bundle to run; not needed with policy_server"),
    Parameter("policy_server", str, "", "tcp://HOST:PORT of a server that computes the policy, in place of a bundle"),
    Parameter("server_keys", str, "", "folder of the server's keys; empty: ~/.mqe/keys; none: a server without"),
    Parameter("threads", int, 1, "cores for one inference", at_least=1, at_most=64),
    _ROBOT,
    Parameter("camera_domain", str, None, "sim or real: what the camera shows"),
    Parameter("compressed", bool, False, "read the compressed image topic"),
    Parameter("goal", str, "", "a goal file to pursue from each activation on; empty: none"),
    Parameter("autostart", bool, True, "false: show that goal, and wait for /reach_goal"),
    Parameter("goal_folders", str, "", "where goals are looked up by name, joined by ':'"),
    Parameter(
        "slot_s",
        float,
        math.nan,
        "s: how long after each tick the command is published; NaN: as measured",
        at_least=0,
        at_most=10,
    ),
    Parameter(
        "reached_steps",
        float,
        -1.0,
        "steps_to_goal that counts as reached; negative: the bundle's; 0: none",
        at_least=-1,
        at_most=1e6,
    ),
    Parameter("reached_in_a_row", int, 3, "commands that have to agree on it", at_least=1, at_most=1000),
    Parameter(
        "stall_commands",
        int,
        -1,
        "commands without coming closer that end a goal; negative: the bundle's; 0: none",
        at_least=-1,
        at_most=1_000_000,
    ),
    Parameter(
        "unreachable_steps",
        float,
        -1.0,
        "steps_to_goal beyond which a goal is refused; negative: the bundle's; 0: none is",
        at_least=-1,
        at_most=1e6,
    ),
    Parameter("max_pose_age_s", float, 0.5, "s: an older pose of the arm is none", above=0, at_most=10),
)
POLICY_NODE = tuple(replace(parameter, read_again=True) for parameter in _AT_EACH_CONFIGURATION)

ARM_NODE = (
    _ROBOT,
    Parameter("backend", str, None, "mock, sim, hardware, or another one that is installed"),
    Parameter(
        "table_height_m",
        float,
        math.nan,
        "m from the mounting plane up to the table; NaN: the robot file's",
        at_least=-0.5,
        at_most=1,
    ),  # hardware needs it
    Parameter("address", str, "", "of the sim's server"),
    Parameter("dry_run", bool, False, "judge every command, send none"),
    Parameter("park_on_exit", bool, None, "go to the sleep pose at the end", otherwise="true on hardware, else false"),
    Parameter(
        "state_hz",
        float,
        20.0,
        "Hz of poses and joint states, rounded to a multiple of the control rate",
        above=0,
        at_most=1000,
    ),
)

CAMERAS = {"sim": ("address",), "mock": ("episodes", "domain"), "opencv": ("device",)}  # each one's own parameters
CAMERA_NODE = (
    _ROBOT,
    Parameter("camera", str, None, "sim, mock or opencv"),
    Parameter(
        "rate_hz", float, None, "Hz: how often the camera is read", otherwise="the robot file's", above=0, at_most=1000
    ),
    Parameter("address", str, None, "of the sim's server"),
    Parameter("episodes", str, None, "the EpisodeStore to replay"),
    Parameter("domain", str, None, "what it shows, sim or real"),
    Parameter("device", str, None, "index, /dev/video0, or a video file"),
)

RECORD_NODE = (
    Parameter("folder", str, None, "of the bag; neither it nor FOLDER-2 and so on may exist"),
    Parameter(
        "max_bag_mb", int, 2048, "MiB: from there on a new bag is begun beside it", at_least=1, at_most=1_000_000
    ),
    Parameter("compressed", bool, False, "record the compressed images in place of the raw ones"),
)

TELEOP_NODE = (
    _ROBOT,
    Parameter("pad", str, "gamepad", "which pad is on /joy, by its name in the devices' file"),
    Parameter("devices", str, "", "a devices' file of your own; empty: the shipped one"),
    Parameter(
        "max_joy_age_s",
        float,
        0.25,
        "s: a pad that was not heard of for so long is lost",
        above=0,
        at_most=1,
    ),
)

CONSOLE_NODE = (
    _ROBOT,
    Parameter("address", str, "", "HOST:PORT where the page is served; empty: 127.0.0.1:8080"),
    Parameter(
        "table_height_m",
        float,
        math.nan,
        "m from the mounting plane up to the table, to draw it; NaN: the robot file's",
        at_least=-0.5,
        at_most=1,
    ),
    Parameter("devices", str, "", "a devices' file of your own, for its keys; empty: the shipped one"),
    Parameter("goal_folders", str, None, "where the page's goals lie, joined by ':'; new ones go to the first"),
    Parameter("recordings", str, "runs/bags", "the folder whose recordings the page lists"),
    Parameter("camera_domain", str, None, "sim or real: what the camera shows, and so a captured goal"),
    Parameter("task", str, "", "of the sim's scene, for a captured goal"),
    Parameter("seed", int, -1, "of the sim's scene; negative: none", at_least=-1, at_most=2**31 - 1),
    Parameter(
        "reached_steps",
        float,
        0.0,
        "steps_to_goal that counts as reached, to draw it; 0: none",
        at_least=0,
        at_most=1e6,
    ),
    Parameter(
        "unreachable_steps",
        float,
        0.0,
        "beyond which a goal is refused, to draw it; 0: none is",
        at_least=0,
        at_most=1e6,
    ),
    Parameter(
        "stall_commands",
        int,
        0,
        "so many commands without coming closer end a goal, to draw what is closer; 0: none do",
        at_least=0,
        at_most=10**6,
    ),
)

NODES = {
    "policy_node": POLICY_NODE + MANAGED,
    "arm_node": ARM_NODE,
    "camera_node": CAMERA_NODE,
    "record_node": RECORD_NODE,
    "teleop_node": TELEOP_NODE,
    "console_node": CONSOLE_NODE,
}
