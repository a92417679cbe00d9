"""Promise: a goal that goes out of reach on the way is refused, not at the first picture that says so; a parameter
switches that off. Pictures unlike the training data are told.

The policy node alone, with this process as camera and arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from mqe_bringup.process import node
from mqe_bringup.supervisor import Supervisor
from mqe_core.policy.familiarity import GRID, Familiarity
from mqe_core.policy.reference_picture import encoded
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import PolicyStatus
from mqe_ros import convert, topics
from tests.ros.ros_helpers import Client, Goal, diagnosed, figures, reach
from tests.ros.test_policy_inputs import World

LIMIT = 100.0  # of the tiny bundle: grey pictures are some ten of one another, and hundreds from a dark one
GREY = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
DARK = GREY // 8


@pytest.fixture
def policy(
    make_bundle: Callable[..., Path], user_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Supervisor]:
    """The policy node alone, without a goal; this process is camera and arm."""
    bundle = make_bundle(action=(0.002, 0, 0, 0, 0, 0, 1), unreachable_steps=LIMIT)
    parameters = {"policy": str(bundle), "camera_domain": "sim", "goal_folders": str(user_folder / "goals")}
    parameters.update(getattr(request, "param", {}))
    supervisor = Supervisor({}, log_folder=tmp_path)
    supervisor.start([node("policy_node", parameters)])
    yield supervisor
    assert supervisor.stop() == {"policy_node": 0}, supervisor.log_tail("policy_node")


def world_of(client: Client, pixels: np.ndarray) -> World:
    world = World(client, topics.IMAGE.qos)
    world.image, world.arm = convert.array_to_image(pixels, Time(), "camera"), True
    return world


def test_a_goal_that_goes_out_of_reach_on_the_way_is_refused(policy: Supervisor, client: Client) -> None:
    world = world_of(client, GREY)
    goal = Goal(client, ReachGoal.Goal(goal_image=convert.array_to_image(GREY, Time(), ""), timeout_s=60.0))
    goal.moving()
    world.image = convert.array_to_image(DARK, Time(), "camera")
    result = goal.result()
    assert result.outcome == ReachGoal.Result.UNREACHABLE and result.steps >= 2 and result.steps_to_goal > LIMIT
    sent = client.newest("/policy/command").sequence
    client.spin(0.6)
    assert client.newest("/policy/command").sequence == sent


@pytest.mark.parametrize("policy", [{"unreachable_steps": 0.0}], indirect=True)
def test_the_parameter_switches_it_off(policy: Supervisor, client: Client) -> None:
    world_of(client, GREY)
    goal = reach(client)
    goal.moving()
    goal.cancel()
    assert goal.result().outcome == ReachGoal.Result.CANCELED


def test_pictures_unlike_the_training_data_are_told_and_stop_nothing(
    make_bundle: Callable[..., Path], client: Client, tmp_path: Path
) -> None:
    """This policy learned from pictures whose every cell was darker than 40 of 255."""
    known = Familiarity(np.zeros((GRID, GRID, 3), np.uint8), np.full((GRID, GRID, 3), 40, np.uint8), 0.01)
    bundle = make_bundle(action=(0.002, 0, 0, 0, 0, 0, 1), familiar_pictures=known.encoded())
    supervisor = Supervisor({}, log_folder=tmp_path)
    supervisor.start([node("policy_node", {"policy": str(bundle), "camera_domain": "sim"})])
    world = world_of(client, GREY)
    goal = Goal(client, ReachGoal.Goal(goal_image=convert.array_to_image(GREY, Time(), ""), timeout_s=60.0))
    world.until(PolicyStatus.RUNNING, "the picture is unlike the training data: ")
    goal.moving()
    status = diagnosed(client, "active")
    assert status.level == DiagnosticStatus.WARN and "unlike the training data" in status.message
    assert float(figures(status)["picture_outside"]) > 0.9
    world.image = convert.array_to_image(DARK, Time(), "camera")
    client.wait(lambda: client.newest("/policy/status").reason == "", "the end of the warning")
    goal.cancel()
    assert goal.result().outcome == ReachGoal.Result.CANCELED
    assert supervisor.stop() == {"policy_node": 0}, supervisor.log_tail("policy_node")


def test_what_the_camera_saw_in_training_is_shown_to_late_listeners(
    make_bundle: Callable[..., Path], client: Client, tmp_path: Path
) -> None:
    bundle = make_bundle(reference_picture=encoded(np.full((32, 32, 3), (200, 90, 40), np.uint8)))
    supervisor = Supervisor({}, log_folder=tmp_path)
    supervisor.start([node("policy_node", {"policy": str(bundle), "camera_domain": "sim"})])
    client.wait(lambda: client.newest("/policy/status"), "the policy's status")
    heard: list[Image] = []
    topic = topics.REFERENCE_IMAGE
    client.node.create_subscription(topic.type, topic.name, heard.append, topic.qos)
    client.wait(lambda: heard, "the picture")
    shown = convert.image_to_array(heard[0])
    assert shown.shape == (32, 32, 3) and np.abs(shown.astype(int) - (200, 90, 40)).max() < 6
    assert supervisor.stop() == {"policy_node": 0}, supervisor.log_tail("policy_node")
