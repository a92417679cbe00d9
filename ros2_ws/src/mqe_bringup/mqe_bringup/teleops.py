"""The argument `teleop`: which pad moves the arm, and which driver brings its messages to /joy."""

from __future__ import annotations

from dataclasses import dataclass

from mqe_bringup.process import Process, installed_executable, node
from mqe_core import ros_names
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.teleop.devices import NO_DRIVER, PadSpec, load_devices

_STANDARD = "gamepad"  # what `joy` and `topic` stand for


@dataclass(frozen=True)
class Teleop:
    """What is started for an operator's pad, and the banner's words for it."""

    processes: tuple[Process, ...]
    description: str


def choose_teleop(requested: str, spec: RobotSpec) -> Teleop | None:
    """The processes for the argument `requested`; None for none. ValueError where there is no such pad, or where its
    driver is not installed.
    """
    if requested.lower() == "false":
        return None
    starts_driver = requested != "topic"
    pad = load_devices().pad(_STANDARD if requested in ("topic", "joy") else requested)
    if pad.package == NO_DRIVER:
        raise ValueError(f"teleop {pad.name}: no driver brings it; the console's page reads it: console:=true")
    # The arm holds where one of them ends, so the graph goes on.
    teleop = node("teleop_node", {"pad": pad.name, "robot": spec.source}, is_needed=False)
    if not starts_driver:
        return Teleop((teleop,), f"none started here: a driver of your own publishes {ros_names.JOY}, as {pad.title}")
    return Teleop((_driver(pad), teleop), f"{pad.title}; hold {pad.dead_man}, and the arm is yours")


def _driver(pad: PadSpec) -> Process:
    """The pad's driver under this graph's names. ValueError where it is not installed."""
    try:
        installed_executable(pad.package, pad.executable)
    except FileNotFoundError as error:
        raise ValueError(
            f"teleop {pad.name}: {error}: sudo apt install ros-jazzy-{pad.package} (or your ROS release in place of "
            f"jazzy) and source its setup.bash; teleop:=topic takes {ros_names.JOY} from a driver of your own, and "
            f"mqe teleop the keys of a terminal"
        ) from None
    remappings = {pad.topic: ros_names.JOY}
    return Process("joy_driver", None, pad.package, pad.executable, remappings=remappings, is_needed=False)
