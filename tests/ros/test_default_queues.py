"""Promise: of many holds at once each is answered also where the client is somebody else's, with rclpy's queue of
ten, and looks away for a moment.

Real processes on the mock backend, started once for the whole file.
"""

from __future__ import annotations

import time

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from std_srvs.srv import Trigger

from mqe_core import ros_names
from tests.ros.ros_helpers import Client

AWAY_S = 0.05


@pytest.mark.parametrize("count", [20, 50])
def test_each_of_many_holds_by_a_client_of_somebody_elses_is_answered(arm: Client, count: int) -> None:
    client = arm.node.create_client(Trigger, ros_names.HOLD)
    arm.wait(client.service_is_ready, "the service")
    arm.answer(lambda: client.call_async(Trigger.Request()), "an answer")  # both know each other
    asked = [client.call_async(Trigger.Request()) for _ in range(count)]
    time.sleep(AWAY_S)
    arm.wait(lambda: all(future.done() for future in asked), "an answer to each")
    assert all(future.result().success for future in asked)
    arm.node.destroy_client(client)
    assert arm.call("/arm/resume").success
