"""Joint states as the driver publishes them → positions by name, or why they cannot be one arm's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from mqe_core.files.bounded import shown

MOST_BYTES = 16384  # of a message; the driver's have some 500
_MOST_JOINTS = 64


@dataclass(frozen=True)
class JointReading:
    """What one joint state said, by joint name (rad; fingers: m), and when it was received (monotonic s).

    `problem`: why it says nothing; then it has no positions.
    """

    received: float
    positions: Mapping[str, float]
    problem: str = ""

    @property
    def finger(self) -> float:
        """Finger slide in metres; NaN where it is not known."""
        return float(self.positions.get("left_finger", math.nan))


def read_joint_states(raw: bytes, received: float) -> JointReading:
    """A serialised sensor_msgs/JointState, whatever it holds. Its stamp is not looked at: it is of another clock."""
    try:
        return JointReading(received, _positions(raw))
    except Exception as error:  # a text that is none, an array that does not fit its bytes …
        return JointReading(received, {}, f"joint states that cannot be read: {error}")


def _positions(raw: bytes) -> dict[str, float]:
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{len(raw)} bytes, at most {MOST_BYTES} are")
    message = deserialize_message(raw, JointState)
    names, positions = list(message.name), list(message.position)
    if len(names) != len(positions) or len(names) > _MOST_JOINTS:
        raise ValueError(f"{len(names)} names and {len(positions)} positions")
    by_name = dict(zip(names, positions))
    if len(by_name) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the joint {shown(twice)} more than once")
    return by_name
