"""Promise: of many requests that come at once, each is answered.

Real processes on the mock backend, started once for the whole file.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from mqe_core import ros_names
from mqe_interfaces.action import ReachGoal
from mqe_ros.asking import ANSWERED
from tests.ros.ros_helpers import Client

QUEUES = {f"{kind}_service_qos_profile": ANSWERED for kind in ("goal", "result", "cancel")}


@pytest.fixture
def holding(arm: Client) -> Iterator[Client]:
    yield arm
    assert arm.call("/arm/resume").success


def test_each_of_many_holds_at_once_is_answered(holding: Client) -> None:
    node = holding.node
    # A client's reader gets the answers to all clients: with rclpy's queue of ten it may lose its own.
    clients = [node.create_client(Trigger, ros_names.HOLD, qos_profile=ANSWERED) for _ in range(20)]
    for client in clients:
        holding.wait(client.service_is_ready, "the service")
        holding.answer(lambda client=client: client.call_async(Trigger.Request()), "an answer")  # both know each other
    asked = [client.call_async(Trigger.Request()) for client in clients]
    holding.wait(lambda: all(future.done() for future in asked), "an answer to each")
    assert all(future.result().success for future in asked)
    for client in clients:
        node.destroy_client(client)


def test_one_client_that_holds_many_times_at_once_gets_each_answer(holding: Client) -> None:
    client = holding.node.create_client(Trigger, ros_names.HOLD, qos_profile=ANSWERED)
    holding.wait(client.service_is_ready, "the service")
    holding.answer(lambda: client.call_async(Trigger.Request()), "an answer")
    asked = [client.call_async(Trigger.Request()) for _ in range(100)]
    holding.wait(lambda: all(future.done() for future in asked), "an answer to each")
    holding.node.destroy_client(client)


def test_each_of_fifty_goals_at_once_is_taken_and_ends(arm: Client) -> None:
    client = ActionClient(arm.node, ReachGoal, ros_names.REACH_GOAL, **QUEUES)
    arm.wait(client.server_is_ready, "the action server")
    goal = ReachGoal.Goal(goal_file="corner", timeout_s=3.0)
    arm.answer(lambda: client.send_goal_async(goal), "the first goal's answer")
    asked = [client.send_goal_async(goal) for _ in range(50)]
    arm.wait(lambda: all(future.done() for future in asked), "an answer to each goal")
    assert all(future.result().accepted for future in asked)
    ends = [future.result().get_result_async() for future in asked]
    arm.wait(lambda: all(end.done() for end in ends), "the end of each goal")
    outcomes = [end.result().result.outcome for end in ends]
    # rclpy keeps no order within what comes at once: which of them is in force last is open.
    assert outcomes.count(ReachGoal.Result.TIMEOUT) == 1 and outcomes.count(ReachGoal.Result.PREEMPTED) == 49
    client.destroy()
