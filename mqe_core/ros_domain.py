"""The ROS domain that the environment names, checked before ROS reads it: it takes -1 for 0, and a text it names by a line of its own sources."""

from __future__ import annotations

import os

HIGHEST = 101  # the ports of a higher one are those that Linux hands out to any program


def ros_domain() -> int:
    """ROS_DOMAIN_ID, or 0 without one. ValueError where it is no number from 0 to 101."""
    text = os.environ.get("ROS_DOMAIN_ID", "") or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST):
        raise ValueError(
            f"ROS_DOMAIN_ID must be a whole number from 0 to {HIGHEST}, got {text!r}: set another one, or unset it"
        )
    return int(text)
