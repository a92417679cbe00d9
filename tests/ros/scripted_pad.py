"""A pad in the tests' hands: /joy as joy's game_controller_node publishes it, twenty times a second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Joy
from std_msgs.msg import Header

from mqe_core.runtime.teleop.devices import MOTIONS, load_devices
from mqe_ros import topics
from tests.ros.ros_helpers import Client
from tests.ros.test_hostile_messages import NAMES, STAMPS

DEVICES = load_devices()
SPEC = DEVICES.pad("gamepad")
REPEAT_S = 0.05


class ScriptedPad:
    """Publishes while its client listens. `motion` (6,) from −1 to 1 is put onto the sticks so that just that motion is
    read; `down` are the names of buttons. `stamp` is the driver's, None: now.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.motion: Sequence[float] = np.zeros(6)
        self.down: set[str] = set()
        self.axes: list[float] | None = None  # in place of what the motion means
        self.stamp: Time | None = None
        self.plugged_in = True
        self._publisher = client.node.create_publisher(Joy, topics.JOY.name, topics.JOY.qos)
        self._timer = client.node.create_timer(REPEAT_S, self._publish)

    def ready(self) -> None:
        """Until the node listens, and has seen the pad at rest."""
        self.client.wait(self._publisher.get_subscription_count, "the subscription to /joy")
        self.client.spin(0.3)

    def take(self) -> None:
        """Press the dead-man until the arm says that it is the operator's."""
        self.down.add("dead_man")
        self.client.wait(lambda: self.client.newest("/arm/status").commander == "operator", "the take-over")

    def press(self, button: str, seconds: float = 0.2) -> None:
        self.down.add(button)
        self.client.spin(seconds)
        self.down.discard(button)
        self.client.spin(0.1)

    def close(self) -> None:
        self.client.node.destroy_timer(self._timer)
        self.client.node.destroy_publisher(self._publisher)

    def _publish(self) -> None:
        if not self.plugged_in:
            return
        stamp = self.client.node.get_clock().now().to_msg() if self.stamp is None else self.stamp
        axes, buttons = self._places()
        self._publisher.publish(Joy(header=Header(stamp=stamp, frame_id="joy"), axes=axes, buttons=buttons))

    def _places(self) -> tuple[list[float], list[int]]:
        axes, buttons = [0.0] * SPEC.axes, [0] * SPEC.buttons
        for name, wanted in zip(MOTIONS, self.motion):
            kind, *numbers = getattr(SPEC, name).split()
            if kind == "axis":
                size = abs(wanted) * (1.0 - DEVICES.dead_zone) + DEVICES.dead_zone
                axes[int(numbers[0])] = float(np.sign(wanted) * size)
            elif wanted:
                buttons[int(numbers[wanted < 0])] = 1
        for name in self.down:
            buttons[int(getattr(SPEC, name).split()[1])] = 1
        return self.axes or axes, buttons


def hostile_joys() -> Iterator[Joy]:
    """Messages that no pad sends, and some that one does."""
    axes, buttons = [0.0] * SPEC.axes, [0] * SPEC.buttons
    for stamp in STAMPS:
        yield Joy(header=Header(stamp=stamp), axes=axes, buttons=buttons)
    for name in NAMES:
        yield Joy(header=Header(frame_id=name))
    for wrong in ([], [0.0] * 7, [0.0] * 900, [0.0] * 100_000, [1e308] * SPEC.axes):
        yield Joy(axes=wrong, buttons=buttons)
    for pressed in ([], [0] * 900, [-1] * SPEC.buttons, [2**31 - 1] * SPEC.buttons):
        yield Joy(axes=axes, buttons=pressed)
