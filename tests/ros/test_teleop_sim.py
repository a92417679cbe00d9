"""Promise: a person with a pad can do a task in the sim. The person here is a script that looks at the hand only; where
the things lie it knows from the scene's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")
pytest.importorskip("pybullet")

from mqe_bringup.graph import Graph, build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_core.robot.geometry import pose_to_state
from mqe_core.robot.spec import load_robot_spec
from mqe_ros import convert
from mqe_sim.client import Client as SimClient
from mqe_sim.tasks import make_task
from mqe_sim.world import World
from tests.ros.ros_helpers import Client
from tests.ros.scripted_pad import DEVICES, ScriptedPad

SPEC = load_robot_spec()
TASK, SEED = "place1", 3
HOVER_M, GRASP_M, NEAR_M = 0.10, 0.018, 0.004
GAIN = 0.5  # of the way, in each control step
STEP_M = 0.5 * DEVICES.fastest_m_per_s * SPEC.control.period_s  # at full deflection, at the speed at the start
STEP_RAD = 0.5 * DEVICES.fastest_rad_per_s * SPEC.control.period_s


class Things(NamedTuple):
    """Where they lie: (3,) each, m; the object's yaw and height, and how high the target's support is."""

    object_m: np.ndarray
    yaw_rad: float
    height_m: float
    target_m: np.ndarray
    support_m: float


@pytest.fixture(scope="module")
def things() -> Things:
    with closing(World(SPEC)) as world:
        task = make_task(TASK, world, SEED)
        kind, place = task.pairs[0]
        thing, target = task.objects[0], task.targets[0]
        return Things(
            np.array(world.position(thing)),
            world.yaw(thing),
            kind.height_m,
            np.array(world.position(target)),
            place.support_m,
        )


@pytest.fixture(scope="module")
def graph(constant_policy: Path, user_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    arguments = {"backend": "sim", "policy": str(constant_policy), "task": TASK, "seed": str(SEED), "teleop": "topic"}
    graph = build_graph(arguments)
    supervisor = Supervisor(graph.environment, log_folder=tmp_path_factory.mktemp("logs"))
    supervisor.start(graph.processes)
    yield graph
    codes = supervisor.stop()
    assert set(codes.values()) == {0}, {name: supervisor.log_tail(name) for name in codes}


@pytest.fixture
def person(graph: Graph, client: Client) -> Iterator[ScriptedPad]:
    for name in ("/arm/status", "/arm/ee_pose", "/arm/ee_target"):
        client.wait(lambda name=name: client.newest(name), f"the first message on {name}")
    pad = ScriptedPad(client)
    pad.ready()
    pad.take()
    yield pad
    pad.down.clear()
    client.spin(0.2)
    pad.close()


def hand(pad: ScriptedPad) -> np.ndarray:
    """(6,) measured: x, y, z, roll, pitch, yaw."""
    return pose_to_state(convert.pose_to_matrix(pad.client.newest("/arm/ee_pose").pose), 0.0)[:6]


def go(pad: ScriptedPad, goal_m: np.ndarray, yaw_rad: float) -> None:
    """Steer the hand there by the sticks, as somebody does who looks at it."""

    def is_there() -> bool:
        if "dead_man" not in pad.down or pad.client.newest("/arm/status").state == "held":
            hold_again(pad)
        now = hand(pad)
        way, turn = goal_m - now[:3], yaw_rad - now[5]
        pad.motion = np.clip([*GAIN * way / STEP_M, 0, 0, GAIN * turn / STEP_RAD], -1, 1)
        return float(np.linalg.norm(way)) < NEAR_M and abs(turn) < 0.05

    pad.client.wait(is_there, f"the hand at {goal_m}")
    pad.motion = np.zeros(6)
    pad.client.spin(0.4)


def hold_again(pad: ScriptedPad) -> None:
    """A pad of a process that did not get a core for a while counts as lost: a person presses again."""
    pad.motion = np.zeros(6)
    pad.down.discard("dead_man")
    pad.client.spin(0.2)
    pad.take()


def above(place_m: np.ndarray, height_m: float = HOVER_M) -> np.ndarray:
    return np.array([*place_m[:2], height_m])


def toggle(pad: ScriptedPad, opening: float) -> None:
    pad.press("gripper")
    told: Callable[[], bool] = lambda: pad.client.newest("/arm/status").target_gripper == opening  # noqa: E731
    pad.client.wait(told, f"the gripper at {opening}")
    pad.client.spin(1.0)


def test_the_hand_goes_over_the_object_and_turns_as_it_lies(person: ScriptedPad, things: Things) -> None:
    go(person, above(things.object_m), things.yaw_rad)
    now = hand(person)
    assert np.linalg.norm(now[:2] - things.object_m[:2]) < 0.01 and abs(now[5] - things.yaw_rad) < 0.06
    assert person.client.newest("/arm/status").commander == "operator"


def test_place1_is_done_by_hand(person: ScriptedPad, graph: Graph, things: Things) -> None:
    go(person, above(things.object_m), things.yaw_rad)
    go(person, above(things.object_m, things.object_m[2] + GRASP_M - things.height_m / 2), things.yaw_rad)
    toggle(person, 0.0)
    go(person, above(things.object_m), things.yaw_rad)
    go(person, above(things.target_m), 0.0)
    go(person, above(things.target_m, things.support_m + GRASP_M + NEAR_M), 0.0)
    toggle(person, 1.0)
    go(person, above(things.target_m), 0.0)
    with closing(SimClient(graph.sim_address)) as scene:
        assert scene.score() == scene.info()["max_score"] == 1.0
