"""The arguments of the launch file and of `mqe up`: names, defaults, meanings, and what their texts mean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mqe_bringup.cameras import CHOICES
from mqe_core.files.bag_folders import require_new
from mqe_core.files.near_names import did_you_mean

BAGS = "runs/bags"  # where recordings go that are given no folder


@dataclass(frozen=True)
class Argument:
    """One `name:=value` of the launch file and of `mqe up`."""

    name: str
    default: str
    description: str


ARGUMENTS = (
    Argument(
        "goal",
        "",
        "goal image to drive to at once: a path, or a name in ~/.mqe/goals or in mqe_bringup/goals (mqe goal list); "
        "empty: wait for `mqe goal send` (/reach_goal), in the sim with task:= and seed:= for the scene",
    ),
    Argument(
        "backend",
        "auto",
        "auto, hardware, sim or mock; auto: hardware where its driver and serial device are, else the sim",
    ),
    Argument("policy", "", "policy file; empty: the one in ~/.mqe/config.yaml, else the shipped one of the sim"),
    Argument(
        "policy_server",
        "",
        "HOST:PORT of a running `mqe serve`, in place of a policy file",
    ),
    Argument("server_keys", "", "folder of the server's keys; empty: ~/.mqe/keys; none: a server without keys"),
    Argument("camera", "auto", CHOICES),
    Argument(
        "table_height",
        "",
        "metres from the arm's mounting plane up to the table's surface; empty: table_height_m in ~/.mqe/config.yaml; "
        "hardware needs one of them",
    ),
    Argument("task", "", "sim: the task (place1, drawer_place, …); empty: the goal's, so without a goal it is needed"),
    Argument("seed", "", "sim: the scene's seed; empty: the goal's, or 0"),
    Argument(
        "teleop",
        "false",
        "false; joy or another pad's name (xbox, playstation, spacemouse): start its driver, and let it move the arm; "
        "topic: your own driver publishes /joy, as joy's does",
    ),
    Argument(
        "console",
        "false",
        "true: serve the operator's page to a browser of this machine, at 127.0.0.1:8080; PORT or HOST:PORT: there",
    ),
    Argument("record", "false", "true, false, or a new folder for the MCAP bag"),
    Argument(
        "dry_run",
        "false",
        "true: judge every command, send none to the motors, and draw where each would lead on /arm/intended_path",
    ),
    Argument("autostart", "true", "false: show the goal, but wait for `mqe goal send` (/reach_goal)"),
    Argument("reached_steps", "", "steps_to_goal up to which a goal counts as reached; empty: the bundle's; 0: never"),
    Argument(
        "stall_commands",
        "",
        "so many commands without coming closer end a goal as stalled; empty: the bundle's; 0: none do",
    ),
    Argument(
        "unreachable_steps",
        "",
        "steps_to_goal beyond which a goal is refused as unreachable; empty: the bundle's; 0: none is",
    ),
    Argument(
        "slot_s",
        "",
        "seconds after each tick at which the policy node publishes its command; empty: measured at its start",
    ),
    Argument(
        "self_activate",
        "true",
        "false: policy_node stays unconfigured until a lifecycle manager configures and activates it",
    ),
    Argument("robot", "widowx250s", "name of the robot spec"),
)


def parse_arguments(texts: list[str]) -> dict[str, str]:
    """["goal:=place.png", …] → {"goal": "place.png", …}. ValueError names an unknown argument."""
    known = {argument.name for argument in ARGUMENTS}
    values = {}
    for text in texts:
        name, mark, value = text.partition(":=")
        if not mark or name not in known:
            near = did_you_mean(f"{text.partition('=')[0].rstrip(':')}:=", (f"{argument}:=" for argument in known))
            raise ValueError(
                f"unknown argument {text!r}{near}; known, each as name:=value: "
                f"{', '.join(sorted(known))} (mqe up --list-arguments explains them)"
            )
        values[name] = value
    return values


def boolean(arguments: Mapping[str, str], name: str) -> bool:
    """The argument `name`, which is true or false."""
    if arguments[name].lower() not in ("true", "false"):
        raise ValueError(f"{name} must be true or false, got {arguments[name]!r}")
    return arguments[name].lower() == "true"


def number_of_steps(name: str, text: str) -> float:
    try:
        steps = float(text)
    except ValueError:
        steps = -1.0
    if not 0.0 <= steps < float("inf"):
        raise ValueError(f"{name} must be a number from 0, got {text!r}")
    return steps


def number_of_commands(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"stall_commands must be a whole number from 0, got {text!r}")
    return int(text)


def slot_seconds(text: str, period_s: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < period_s:
        raise ValueError(f"slot_s must be a number from 0 and below the control period of {period_s} s, got {text!r}")
    return seconds


def record_folder(value: str) -> Path | None:
    if value.lower() == "false":
        return None
    if value.lower() != "true" and "/" not in value:
        raise ValueError(f"record must be true, false or a folder's path with a / in it, got {value!r}")
    folder = (
        Path(time.strftime(f"{BAGS}/%Y-%m-%d_%H-%M-%S") if value.lower() == "true" else value).expanduser().absolute()
    )
    require_new(folder)
    return folder
