"""Whether ROS works here: rclpy is loaded, a node started and a message sent, in the environment of the nodes.

This is tried in other processes, as ROS may end its own, or hang.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from mqe_core.doctor.finding import FAIL, OK, WARN, Finding, tried
from mqe_core.files.bounded import TEXT_BYTES, read_bounded, shortened
from mqe_core.ros_domain import ros_domain
from mqe_core.workspace import is_built, workspace_environment

_LIMIT_S = 15.0  # for each; they take about a second
_LOAD = "import importlib.util as u; print(u.find_spec('rclpy').origin, flush=True); import rclpy"
_TRIAL = "mqe_bringup.ros_trial"


def examine_ros() -> Iterator[Finding]:
    """rclpy, the workspace, the RMW, the domain, and a message."""
    built = is_built()
    remedy = "" if built else "build it: make setup, or colcon build in ros2_ws"
    yield Finding(OK if built else WARN, f"the ROS workspace is {'built' if built else 'not built'}", remedy)
    try:
        environment = workspace_environment() if built else dict(os.environ)
    except RuntimeError as error:
        yield Finding(FAIL, "the ROS workspace cannot be used", str(error))
        return
    rclpy = _rclpy(environment)
    yield rclpy
    yield _rmw()
    yield from _domain()
    yield from _profile()
    if built and rclpy.level == OK:
        yield from _trial(environment)


def _rclpy(environment: Mapping[str, str]) -> Finding:
    if importlib.util.find_spec("rclpy") is None:
        remedy = "needed for the ROS graph: make setup, or source your ROS installation"
        return Finding(WARN, "rclpy is not importable here", remedy)
    loaded = tried([sys.executable, "-c", _LOAD], environment, _LIMIT_S)
    origin = loaded.said[0] if loaded.said else "an unknown place"
    if loaded.code == 0:
        return Finding(OK, f"rclpy is loaded from {origin}")
    return Finding(
        FAIL,
        f"rclpy cannot be loaded from {origin}: {loaded.reason}",
        "another ROS, or another RMW, is named first than the one of this Python: use a terminal in which no ROS is "
        "sourced, and unset RMW_IMPLEMENTATION; or take the Python of the ROS that is sourced",
    )


def _rmw() -> Finding:
    chosen = os.environ.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    fast = chosen == "rmw_fastrtps_cpp"
    remedy = (
        ""
        if fast
        else "the images' profile is for Fast DDS only; unset RMW_IMPLEMENTATION, or look after large messages yourself"
    )
    return Finding(OK if fast else WARN, f"RMW {chosen}", remedy)


def _domain() -> Iterator[Finding]:
    try:
        ros_domain()
    except ValueError as error:
        yield Finding(FAIL, "the ROS domain is none", str(error))
        return
    domain = os.environ.get("ROS_DOMAIN_ID")
    local = (
        os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") in ("LOCALHOST", "OFF")
        or os.environ.get("ROS_LOCALHOST_ONLY") == "1"
    )
    alone = domain is not None or local
    remedy = (
        ""
        if alone
        else "on a shared network another graph can command this arm: set ROS_DOMAIN_ID, or "
        "ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"
    )
    yield Finding(
        OK if alone else WARN, f"ROS domain {domain or '0 (default)'}{', this machine only' if local else ''}", remedy
    )


def _profile() -> Iterator[Finding]:
    """Fast DDS passes over a profile that it cannot read, with a line of its own in every node's log."""
    for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        path = os.environ.get(variable)
        if not path:
            continue
        try:
            ElementTree.fromstring(read_bounded(Path(path), TEXT_BYTES))
        except (ValueError, OSError, ElementTree.ParseError) as error:
            remedy = f"nodes start without it: mend the file that {variable} names, or unset the variable"
            yield Finding(WARN, f"the profile of the RMW cannot be read: {shortened(str(error), 200)}", remedy)
        else:
            yield Finding(OK, f"the RMW's profile is {path}")


def _trial(environment: Mapping[str, str]) -> Iterator[Finding]:
    """A node, and a message there and back. The trial prints a line for each that worked."""
    trial = tried([sys.executable, "-m", _TRIAL], environment, _LIMIT_S)
    if trial.said:
        yield Finding(OK, f"a node starts: {trial.said[0]}")
    else:
        yield Finding(
            FAIL,
            f"no node starts: {trial.reason}",
            "unset RMW_IMPLEMENTATION and your own profile of it, and try again",
        )
        return
    if len(trial.said) > 1:
        yield Finding(OK, f"messages arrive: {trial.said[1]}")
    else:
        yield Finding(
            FAIL,
            f"no message arrives in another process: {trial.reason}",
            "is multicast allowed on this network, /dev/shm writable, and the discovery range not OFF? Unset your own "
            "profile of the RMW, and try again",
        )
