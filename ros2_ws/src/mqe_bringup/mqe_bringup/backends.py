"""The argument `backend`: which arm is driven, and what a real one needs."""

from __future__ import annotations

import importlib.util
from importlib.metadata import entry_points

from mqe_core.runtime.real_arm import DRIVER_MODULE, SERIAL_DEVICE
from mqe_core.user_files import measured_table_height


def missing_for_hardware() -> list[tuple[str, str]]:
    """(what, remedy) of each thing that a real arm needs and this machine lacks."""
    missing = []
    if importlib.util.find_spec(DRIVER_MODULE) is None:
        remedy = (
            "install Interbotix's X-Series packages, and this project beside them in your ROS installation's "
            "Python (the wheels of `make setup` "
            "have no driver), and source both workspaces here: docs/hardware.md, Installing"
        )
        missing.append((f"the arm's driver {DRIVER_MODULE} is not installed", remedy))
    if not SERIAL_DEVICE.exists():
        remedy = (
            "power the arm, plug in its U2D2, and install Interbotix's udev rules, which name the port: "
            "docs/hardware.md, Wiring"
        )
        missing.append((f"the arm's serial device {SERIAL_DEVICE} does not exist", remedy))
    return missing


def choose_backend(requested: str) -> tuple[str, str]:
    """The backend and why it was taken. ValueError where it is unknown, or the real arm lacks something."""
    installed = {entry.name for entry in entry_points(group="mqe.robots")}
    if requested not in ("auto", "hardware", "sim", "mock"):
        raise ValueError(f"backend {requested!r} is unknown; expected auto, hardware, sim or mock")
    missing = (
        missing_for_hardware()
        if "hardware" in installed
        else [("mqe_ros is not installed", "build the workspace: make setup")]
    )
    if requested == "hardware" and missing:
        what, remedies = zip(*missing)
        steps = "; ".join(f"({number}) {remedy}" for number, remedy in enumerate(remedies, 1))
        raise ValueError(
            f"backend hardware cannot start: {', and '.join(what)}. Next: {steps}. Without an arm use backend:=sim"
        )
    if requested == "auto":
        return ("sim", f"auto: {missing[0][0]}") if missing else ("hardware", "auto: driver and serial device found")
    return requested, "asked for"


def table_height(given: str, backend: str) -> float | None:
    """m, or None for the robot file's, which is the simulated table's. A real arm's has to be given or configured."""
    try:
        height = float(given) if given else None
    except ValueError:
        raise ValueError(f"table_height must be a number of metres, got {given!r}") from None
    return measured_table_height(height) if backend == "hardware" else height
