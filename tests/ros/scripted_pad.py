"""A pad in the tests' hands, and what hostile pads say."""

from __future__ import annotations

from collections.abc import Iterator

from sensor_msgs.msg import Joy
from std_msgs.msg import Header

from mqe_bringup import scripted_pad
from mqe_core.runtime.teleop.devices import load_devices
from tests.ros.ros_helpers import Client
from tests.ros.test_hostile_messages import NAMES, STAMPS

DEVICES = load_devices()
SPEC = DEVICES.pad("gamepad")


class ScriptedPad(scripted_pad.ScriptedPad):
    """Publishes while its client listens."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.node, DEVICES)
        self.client = client

    def ready(self) -> None:
        """Until the node listens, and has seen the pad at rest."""
        self.client.wait(self.is_heard, "the subscription to /joy")
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
