"""The ROS domain that the environment names, checked before ROS reads it.

ROS itself takes -1 for 0, and answers a text with a line of its own sources.
"""

from __future__ import annotations

import os

HIGHEST = 101  # the ports of a higher domain are among those that Linux hands out to any program


def domain_of(number: int) -> int:
    """One of the 90 domains from 10 on, for a graph that shall meet no other. Those below are left to people."""
    return 10 + number % 90


def ros_domain() -> int:
    """ROS_DOMAIN_ID, or 0 where it is not set. ValueError where it is no whole number from 0 to HIGHEST."""
    text = os.environ.get("ROS_DOMAIN_ID", "") or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST):
        raise ValueError(
            f"ROS_DOMAIN_ID must be a whole number from 0 to {HIGHEST}, got {text!r}: set another one, or unset it"
        )
    return int(text)
