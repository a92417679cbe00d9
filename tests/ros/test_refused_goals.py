"""Promise: a goal of another scene is refused by the running graph, and the arm never moves towards it; the scene's own
goal runs.

Real processes, with a stand-in for a policy: its distance is how far the mean colours of picture and goal are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from diagnostic_msgs.msg import DiagnosticStatus

from mqe_bringup.graph import build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import PolicyStatus
from mqe_ros import convert
from tests.ros.ros_helpers import Client, Goal, diagnosed, figures, reach, target
from tests.ros.test_operate import mqe

LIMIT = 100.0  # grey pictures are some ten of one another, and hundreds from the dark goal `corner`
GREY = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def telling_policy(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle(action=(0.002, 0, 0, 0, 0, 0, 1), unreachable_steps=LIMIT)


@pytest.fixture(scope="module")
def running(
    telling_policy: Path, synthetic_store: Path, user_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Supervisor]:
    """In place of conftest's: the mock graph with that policy."""
    graph = build_graph({"backend": "mock", "policy": str(telling_policy), "camera": str(synthetic_store)})
    supervisor = Supervisor(graph.environment, log_folder=tmp_path_factory.mktemp("logs"))
    supervisor.start(graph.processes)
    yield supervisor
    codes = supervisor.stop()
    assert set(codes.values()) == {0}, {name: supervisor.log_tail(name) for name in codes}


def own_goal(client: Client) -> Goal:
    image = convert.array_to_image(GREY, client.node.get_clock().now().to_msg(), "")
    return Goal(client, ReachGoal.Goal(goal_image=image, timeout_s=60.0))


def test_the_arm_never_moves_towards_a_goal_of_another_scene(homed: Client) -> None:
    client = homed
    joints, before = list(client.newest("/joint_states").position), target(client)
    for topic in ("/policy/command", "/policy/status", "/joint_states"):
        client.heard[topic].clear()
    goal = reach(client)
    result = goal.result()
    assert (result.outcome, result.steps) == (ReachGoal.Result.UNREACHABLE, 0)
    assert result.steps_to_goal > 2 * LIMIT and f"{result.steps_to_goal:.1f} steps to the goal" in result.reason
    client.spin(1.0)
    assert client.heard["/policy/command"] == []
    assert {tuple(state.position) for state in client.heard["/joint_states"]} == {tuple(joints)}
    np.testing.assert_array_equal(target(client), before)
    said = client.heard["/policy/status"]
    assert any(status.state == PolicyStatus.WAITING and "far_goal" in status.reason for status in said)
    assert said[-1].state == PolicyStatus.IDLE and said[-1].reason.startswith("unreachable: ")
    assert [feedback.steps for feedback in goal.feedback] == [0] * len(goal.feedback)


def test_diagnostics_and_the_command_line_tell_it(arm: Client) -> None:
    code, said, _ = mqe("goal", "send", "corner", "--timeout", "30")
    assert code == 1 and "unreachable: " in said and f"at most {LIMIT:.1f} can be reached" in said
    assert "mqe goal send --anyway" in said and "0 commands" in said
    status = diagnosed(arm, "active")
    assert status.level == DiagnosticStatus.WARN and "no goal; unreachable: " in status.message
    assert figures(status)["unreachable_steps"] == str(LIMIT)
    code, said, _ = mqe("arm", "status")
    assert code == 0 and "corner ended: unreachable: " in said


def test_the_scenes_own_goal_runs(arm: Client) -> None:
    before = target(arm)[0, 3]
    goal = own_goal(arm)
    goal.moving()
    assert target(arm)[0, 3] > before and goal.feedback[-1].steps_to_goal < LIMIT
    assert diagnosed(arm, "active").level == DiagnosticStatus.OK
    goal.cancel()
    assert goal.result().outcome == ReachGoal.Result.CANCELED


def test_an_operator_may_pursue_it_all_the_same(arm: Client) -> None:
    goal = Goal(arm, ReachGoal.Goal(goal_file="corner", timeout_s=60.0, anyway=True))
    goal.moving()
    assert goal.feedback[-1].steps_to_goal > LIMIT
    goal.cancel()
    assert goal.result().outcome == ReachGoal.Result.CANCELED
    assert reach(arm).result().outcome == ReachGoal.Result.UNREACHABLE  # the next one is judged again
