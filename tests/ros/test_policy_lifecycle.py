"""Promise: policy_node follows the standard lifecycle: it acts while active only, lets go of everything at cleanup,
configures again, and a configuration that fails says why and leaves it unconfigured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.srv import GetAvailableTransitions

from mqe_bringup.graph import build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import ArmStatus, PolicyStatus
from tests.ros.ros_helpers import STEPS_TO_GOAL, Client, Lifecycle, diagnosed, reach, write_constant_policy

PUBLISHED = ("/policy/command", "/policy/status", "/goal/image")


@pytest.fixture(scope="module")
def graph(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Supervisor]:
    arguments = {
        "backend": "mock",
        "policy": str(constant_policy),
        "camera": str(synthetic_store),
        "self_activate": "false",
    }
    graph = build_graph(arguments)
    supervisor = Supervisor(graph.environment, log_folder=tmp_path_factory.mktemp("logs"))
    supervisor.start(graph.processes)
    yield supervisor
    codes = supervisor.stop()
    assert codes == {"arm_node": 0, "camera_node": 0, "policy_node": 0}, {
        name: supervisor.log_tail(name) for name in codes
    }


@pytest.fixture
def unconfigured(graph: Supervisor, client: Client) -> Iterator[Lifecycle]:
    """The policy node, unconfigured, beside an arm that takes commands; again so at the end."""
    client.wait(lambda: graph.ended() or client.newest("/arm/status"), "the arm")
    assert graph.ended() is None
    lifecycle = Lifecycle(client)
    assert lifecycle.state == "unconfigured"
    yield lifecycle
    if lifecycle.state == "active":
        lifecycle.change("deactivate")
    if lifecycle.state == "inactive":
        lifecycle.change("cleanup")


def test_it_acts_only_while_it_is_active(unconfigured: Lifecycle, client: Client) -> None:
    node = unconfigured
    assert diagnosed(client, "unconfigured").level == DiagnosticStatus.WARN
    assert [client.node.count_publishers(name) for name in PUBLISHED] == [0, 0, 0]
    unconfigured_answer = reach(client).result()
    assert node.change("configure") and node.state == "inactive"
    for result in (unconfigured_answer, reach(client).result()):
        assert result.outcome == ReachGoal.Result.FAILED and "/policy_node is not active" in result.reason
    assert "configure, then" in unconfigured_answer.reason
    assert client.heard["/policy/status"] == []
    assert node.change("activate") and node.state == "active"
    assert diagnosed(client, "active").level == DiagnosticStatus.OK
    goal = reach(client)
    goal.moving()
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.MOVING, "the arm's motion")

    assert node.change("deactivate") and node.state == "inactive"
    result = goal.result()
    assert (result.outcome, result.reason) == (ReachGoal.Result.FAILED, "policy_node was deactivated")
    client.wait(lambda: client.newest("/policy/status").state == PolicyStatus.IDLE, "the last status")
    assert client.newest("/policy/status").reason == "failed: policy_node was deactivated"
    client.heard["/policy/command"].clear()
    client.heard["/policy/status"].clear()
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.READY, "the arm's return to ready")
    assert "no command" in client.newest("/arm/status").reason
    client.spin(0.6)
    assert client.heard["/policy/command"] == client.heard["/policy/status"] == []
    assert diagnosed(client, "inactive").level == DiagnosticStatus.WARN
    assert "is not active" in reach(client).result().reason

    assert node.change("activate")
    goal = reach(client)
    goal.moving()
    goal.cancel()
    assert goal.result().outcome == ReachGoal.Result.CANCELED


def test_a_cleaned_up_node_configures_again_with_what_its_parameters_say_then(
    unconfigured: Lifecycle, client: Client, constant_policy: Path, tmp_path: Path
) -> None:
    node = unconfigured
    assert node.change("configure", "activate")
    session = client.wait(lambda: client.newest("/policy/status"), "a status").session
    goal = reach(client)
    goal.moving()
    assert node.change("deactivate", "cleanup")
    assert goal.result().reason == "policy_node was deactivated"  # although it was cleaned up at once
    client.wait(lambda: not any(client.node.count_publishers(name) for name in PUBLISHED), "the end of the publishers")
    assert not [
        info
        for info in client.node.get_subscriptions_info_by_topic("/camera/image_raw")
        if info.node_name == "policy_node"
    ]

    other = tmp_path / "other.onnx"
    write_constant_policy(other, stall_commands=4)
    node.set(policy=str(other))
    try:
        assert node.change("configure", "activate")
        result = reach(client).result()
        nearest = f"at the nearest {STEPS_TO_GOAL:.3g} steps to the goal"
        assert result.outcome == ReachGoal.Result.STALLED
        assert result.reason == f"not getting closer: not for 4 commands; {nearest}"
        assert result.steps == 5
        assert client.newest("/policy/status").session != session
    finally:
        node.set(policy=str(constant_policy))


def test_a_failed_configuration_is_told_and_leaves_it_unconfigured(
    unconfigured: Lifecycle, graph: Supervisor, client: Client, constant_policy: Path, make_bundle, tmp_path: Path
) -> None:
    node = unconfigured
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(constant_policy.read_bytes()[:1000])
    for policy, reason in ((str(broken), str(broken)), (str(make_bundle(domain="real")), "trained on real images")):
        node.set(policy=policy)
        assert not node.change("configure")
        assert node.state == "unconfigured"
        assert reason in graph.log_tail("policy_node")
        assert reason in diagnosed(client, "unconfigured").message
        assert not any(client.node.count_publishers(name) for name in PUBLISHED)
    node.set(policy=str(constant_policy))
    assert node.change("configure", "activate")


def test_a_transition_that_its_state_does_not_allow_is_refused(unconfigured: Lifecycle, client: Client) -> None:
    for transition in ("activate", "deactivate", "cleanup", "no_such_thing"):
        assert not unconfigured.change(transition)
    assert unconfigured.state == "unconfigured"
    asked = GetAvailableTransitions.Request()
    available = client.ask(
        GetAvailableTransitions, "/policy_node/get_available_transitions", asked
    ).available_transitions
    assert {description.transition.label for description in available} >= {"configure", "shutdown"}
