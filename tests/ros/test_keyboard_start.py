"""Promise: `mqe teleop` offers its keys once a press does what it says, and holds the arm before that as well.

Beside an arm of this test's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
def speak(client: Client) -> Iterator[Callable[[bool], None]]:
    """Speaks once as an arm does: of its state, and of its pose where that is known. It answers whoever holds it."""
    frame, pose = load_robot_spec().base_frame, np.eye(4)
    pose[:3, 3] = 0.2, 0.0, 0.2
    states, *poses = (client.publisher(topic) for topic in (topics.ARM_STATUS, topics.EE_POSE, topics.EE_TARGET))

    def hold(_: object, answer: Trigger.Response) -> Trigger.Response:
        answer.success, answer.message = True, "held by the test"
        return answer

    service = client.node.create_service(Trigger, ros_names.HOLD, hold, qos_profile=ANSWERED)

    def once(pose_known: bool) -> None:
        states.publish(ArmStatus(state=ArmStatus.READY, target_gripper=1.0))
        for publisher in poses if pose_known else ():
            publisher.publish(convert.stamped_pose(pose, client.node.get_clock().now().to_msg(), frame))

    yield once
    client.node.destroy_service(service)


@pytest.fixture
def terminal(client: Client) -> Iterator[Terminal]:
    terminal = Terminal(client)
    yield terminal
    terminal.close()


def test_the_first_press_counts(client: Client, speak: Callable[[bool], None], terminal: Terminal) -> None:
    terminal.until("the arm is ready", again=lambda: speak(False))
    assert OFFERED not in terminal.said
    terminal.until(OFFERED, again=lambda: speak(True))
    terminal.press("g")

    def closing() -> bool:
        speak(True)
        return any(command.gripper == 0.0 for command in client.heard[topics.OPERATOR_COMMAND.name])

    client.wait(closing, "the command")


def test_before_that_the_arm_can_be_held_and_nothing_else(speak: Callable[[bool], None], terminal: Terminal) -> None:
    terminal.until("the arm is ready", again=lambda: speak(False))
    terminal.press("f")
    terminal.press(" ")
    terminal.until("held by the test", again=lambda: speak(False))
    terminal.until(OFFERED, again=lambda: speak(False))  # the pose stays unknown
    assert "nothing is sent" not in terminal.said
    terminal.press("f")
    terminal.until("nothing is sent: nothing received on", again=lambda: speak(False))
