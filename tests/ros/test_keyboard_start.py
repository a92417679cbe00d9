"""Promise: `mqe teleop` offers its keys once a press does what it says. Beside an arm of this test's own."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from std_srvs.srv import Trigger

from mqe_core import ros_names
from mqe_core.robot.spec import load_robot_spec
from mqe_interfaces.msg import ArmStatus
from mqe_ros import convert, topics
from mqe_ros.asking import ANSWERED
from tests.ros.ros_helpers import Client
from tests.ros.terminal import OFFERED, Terminal


@pytest.fixture
def spoken(client: Client):
    """Speaks as an arm does: of its state, and of its pose where that is asked for."""
    frame, pose = load_robot_spec().base_frame, np.eye(4)
    pose[:3, 3] = 0.2, 0.0, 0.2
    states, *poses = (client.publisher(topic) for topic in (topics.ARM_STATUS, topics.EE_POSE, topics.EE_TARGET))
    service = client.node.create_service(Trigger, ros_names.HOLD, lambda _, answer: answer, qos_profile=ANSWERED)

    def speak(of_its_pose: bool) -> None:
        states.publish(ArmStatus(state=ArmStatus.READY, target_gripper=1.0))
        for publisher in poses if of_its_pose else ():
            publisher.publish(convert.stamped_pose(pose, client.node.get_clock().now().to_msg(), frame))

    speak.listeners = states.get_subscription_count
    yield speak
    client.node.destroy_service(service)


def test_the_first_press_counts(client: Client, spoken) -> None:
    before = spoken.listeners()
    terminal = Terminal(client)
    try:
        client.wait(lambda: spoken.listeners() > before, "the terminal's subscription")
        for _ in range(20):
            spoken(of_its_pose=False)
            client.spin(0.1)
        terminal.hear()
        assert OFFERED not in terminal.said
        terminal.until(OFFERED, again=lambda: spoken(of_its_pose=True))
        terminal.press("g")

        def closing() -> bool:
            spoken(of_its_pose=True)
            return any(command.gripper == 0.0 for command in client.heard[topics.OPERATOR_COMMAND.name])

        client.wait(closing, "the command")
    finally:
        terminal.close()


def test_an_arm_whose_pose_is_unknown_can_still_be_held(client: Client, spoken) -> None:
    terminal = Terminal(client)
    try:
        terminal.until(OFFERED, again=lambda: spoken(of_its_pose=False))
        terminal.press("f")
        terminal.until("nothing is sent: nothing received on", again=lambda: spoken(of_its_pose=False))
    finally:
        terminal.close()
