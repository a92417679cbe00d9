"""The ROS domain that the environment names, and whether it lets nodes find each other, checked before ROS reads it.

ROS itself takes -1 for 0 and 077 for 63, and answers a text with a line of its own sources.
"""

from __future__ import annotations

import os

HIGHEST = 101  # the ports of a higher domain are among those that Linux hands out to any program

_DOMAINS = tuple(str(number) for number in range(HIGHEST + 1))
_RANGE, _SERVER = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_DISCOVERY_SERVER"


def domain_of(number: int) -> int:
    """One of the 90 domains from 10 on, for a graph that shall meet no other. Those below are left to people."""
    return 10 + number % 90


def ros_domain() -> int:
    """ROS_DOMAIN_ID, or 0 where it is not set. ValueError where it is no whole number from 0 to HIGHEST, or has zeros
    in front, which make it an octal one.
    """
    text = os.environ.get("ROS_DOMAIN_ID", "") or "0"
    if text not in _DOMAINS:
        raise ValueError(
            f"ROS_DOMAIN_ID must be a whole number from 0 to {HIGHEST}, got {text!r}: set another one, or unset it"
        )
    return int(text)


def require_discovery() -> None:
    """ValueError where the environment keeps this process from finding any node."""
    if os.environ.get(_RANGE) == "OFF":
        raise ValueError(f"{_RANGE} is OFF: no node finds another one; set LOCALHOST, or unset it")


def discovery_hint() -> str:
    """What may keep this process from finding nodes that others find, as the rest of a sentence; else empty."""
    return f" by the {_SERVER} that is set here" if os.environ.get(_SERVER) else ""
