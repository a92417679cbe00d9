"""A pad in a script's hands: /joy as joy's game_controller_node publishes it, twenty times a second."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from sensor_msgs.msg import Joy
from std_msgs.msg import Header

from mqe_core.robot.arrays import Floats
from mqe_core.runtime.teleop.devices import MOTIONS, Devices, PadSpec
from mqe_ros import topics

REPEAT_S = 0.05
_LEAST_TURN = 0.4  # of a full deflection


def places(spec: PadSpec, dead_zone: float, motion: Floats, down: Collection[str]) -> tuple[list[float], list[int]]:
    """The axes and buttons of which `Pad.read` makes this motion (6,), from −1 to 1, and the buttons `down`, by name.

    A motion that the pad has on buttons is pressed or not.
    """
    axes, buttons = [0.0] * spec.axes, [0] * spec.buttons
    for name, wanted in zip(MOTIONS, motion, strict=True):
        kind, *numbers = getattr(spec, name).split()
        if kind.endswith("axis"):
            way = -np.sign(wanted) if kind.startswith("-") else np.sign(wanted)
            axes[int(numbers[0])] = float(way * (abs(wanted) * (1.0 - dead_zone) + dead_zone))
        elif wanted:
            buttons[int(numbers[0 if wanted > 0 else 1])] = 1
    for name in down:
        buttons[int(getattr(spec, name).split()[1])] = 1
    return axes, buttons


def deflections(action: Floats, devices: Devices, period_s: float) -> Floats:
    """(6,) from −1 to 1, at the highest speed, for a Bridge action (7,). Roll and pitch are on buttons: all or none."""
    full = period_s * np.repeat([devices.fastest_m_per_s, devices.fastest_rad_per_s], 3)
    motion = np.clip(action[:6] / full, -1.0, 1.0)
    motion[3:5] = np.where(np.abs(motion[3:5]) > _LEAST_TURN, np.sign(motion[3:5]), 0.0)
    return np.asarray(motion, dtype=np.float64)


class ScriptedPad:
    """A pad of the kind `gamepad`. It publishes while its node is spun.

    Attributes:
        motion: (6,) from −1 to 1, put onto the sticks so that just that motion is read.
        down: names of the buttons that are pressed.
        axes: in place of what the motion means, where given.
        stamp: the driver's; None: now.
        plugged_in: whether it publishes.
    """

    def __init__(self, node: Node, devices: Devices) -> None:
        self.motion: Floats = np.zeros(6)
        self.down: set[str] = set()
        self.axes: list[float] | None = None
        self.stamp: Time | None = None
        self.plugged_in = True
        self._node, self._spec, self._dead_zone = node, devices.pad("gamepad"), devices.dead_zone
        self._publisher = node.create_publisher(Joy, topics.JOY.name, topics.JOY.qos)
        self._timer = node.create_timer(REPEAT_S, self._publish)

    def is_heard(self) -> bool:
        """Whether somebody listens to it."""
        return self._publisher.get_subscription_count() > 0

    def close(self) -> None:
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _publish(self) -> None:
        if not self.plugged_in:
            return
        stamp = self._node.get_clock().now().to_msg() if self.stamp is None else self.stamp
        axes, buttons = places(self._spec, self._dead_zone, self.motion, self.down)
        header = Header(stamp=stamp, frame_id="joy")
        self._publisher.publish(Joy(header=header, axes=self.axes or axes, buttons=buttons))
