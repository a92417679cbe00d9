"""Promise: an operator sees what a policy chose among: each candidate's way, the chosen one bold, its distance beside
the second's; of a policy that does not choose there is no such topic.

Real processes on the mock backend for the last tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from builtin_interfaces.msg import Time
from visualization_msgs.msg import Marker, MarkerArray

from mqe_bringup.graph import build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_core.robot.geometry import apply_action
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.policy_side import Candidates
from mqe_ros.candidate_markers import AHEAD_S, CandidateMarkers
from tests.ros.ros_helpers import Client, reach, target

SPEC = load_robot_spec()
REST = forward_kinematics(SPEC, SPEC.neutral_rad)
STEPS = AHEAD_S * SPEC.control.control_hz


def made(distances: list[float], chosen: int) -> Candidates:
    rng = np.random.default_rng(0)
    actions = rng.normal(0, [0.01] * 3 + [0.05] * 3 + [0.0], (len(distances), 7)).astype(np.float32)
    return Candidates(chosen, actions, np.array(distances, np.float32))


def shown(candidates: Candidates, measured: np.ndarray = REST) -> dict[str, Marker]:
    return by_name(CandidateMarkers(SPEC).markers(candidates, REST, measured, Time(sec=7)))


def by_name(message: MarkerArray) -> dict[str, Marker]:
    assert all(marker.header.frame_id == SPEC.base_frame for marker in message.markers)
    return {marker.ns: marker for marker in message.markers if marker.action == Marker.ADD}


def points(marker: Marker) -> np.ndarray:
    return np.array([(point.x, point.y, point.z) for point in marker.points])


def test_each_way_begins_at_the_target_and_sets_out_where_its_action_leads() -> None:
    candidates = made([12.0, 9.5, 20.0, 11.0], chosen=1)
    measured = REST.copy()
    measured[:3, 3] += [0.02, 0.0, -0.01]  # the arm lags, and steps turn about where it is
    markers = shown(candidates, measured)
    ways = points(markers["candidates"]).reshape(3, 2, 3)
    for way, number in zip([*ways, points(markers["chosen"])], (0, 2, 3, 1)):
        first = apply_action(REST, candidates.actions[number].astype(float), measured)[:3, 3] - REST[:3, 3]
        np.testing.assert_allclose(way, [REST[:3, 3], REST[:3, 3] + STEPS * first], atol=1e-9)


def test_the_chosen_one_is_bold_and_the_others_are_coloured_by_distance() -> None:
    markers = shown(made([12.0, 9.5, 20.0, 11.0], chosen=1))
    assert markers["chosen"].scale.x >= 3 * markers["candidates"].scale.x
    blues = [colour.b for colour in markers["candidates"].colors[::2]]
    assert blues[2] > blues[0] > blues[1]  # 11, 12 and 20 steps
    assert [marker.lifetime.sec for marker in markers.values()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("distances", "chosen", "words"),
    [
        ([12.0, 9.5, 20.0, 11.0], 1, "9.5 steps to the goal; second of 4: 11.0"),
        ([9.8, 9.5], 0, "9.8 steps to the goal, kept; second of 2: 9.5"),
        ([9.5], 0, "9.5 steps to the goal"),
        ([9.5, np.nan, 11.0], 0, "9.5 steps to the goal; second of 3: 11.0"),
    ],
)
def test_its_distance_stands_beside_the_seconds(distances: list[float], chosen: int, words: str) -> None:
    assert shown(made(distances, chosen))["distances"].text == words


def test_a_candidate_that_is_no_number_is_not_drawn() -> None:
    candidates = made([9.5, 10.0, 11.0], chosen=0)
    candidates.actions[1, 2] = np.nan
    assert len(shown(candidates)["candidates"].points) == 2
    candidates.actions[2, 0] = np.inf
    assert "candidates" not in shown(candidates)


@pytest.fixture
def start(
    synthetic_store: Path, user_folder: Path, client: Client, tmp_path: Path
) -> Iterator[Callable[[Path], Supervisor]]:
    supervisors = []

    def start_it(policy: Path) -> Supervisor:
        graph = build_graph({"backend": "mock", "policy": str(policy), "camera": str(synthetic_store)})
        supervisors.append(Supervisor(graph.environment, log_folder=tmp_path))
        supervisors[-1].start(graph.processes)
        client.wait(
            lambda: supervisors[-1].ended() or (client.newest("/arm/status") and client.newest("/policy/status")),
            "the graph",
        )
        return supervisors[-1]

    yield start_it
    for supervisor in supervisors:
        assert set(supervisor.stop().values()) == {0}


def test_a_policy_that_chooses_shows_what_it_chose_among(start, choosing_bundle: Path, client: Client) -> None:
    """Its candidates go 1, 2, 3 and 4 mm along x."""
    start(choosing_bundle)
    goal = reach(client)
    goal.moving()
    client.heard["/policy/candidates"].clear()
    markers = by_name(client.wait(lambda: client.newest("/policy/candidates"), "the markers"))
    (begin, chosen), others = points(markers["chosen"]), points(markers["candidates"]).reshape(-1, 2, 3)
    along = sorted([*(others[:, 1] - others[:, 0])[:, 0], (chosen - begin)[0]])
    np.testing.assert_allclose(along, STEPS * 1e-3 * np.arange(1, 5), atol=1e-6)
    assert np.linalg.norm(begin - target(client)[:3, 3]) < 0.05
    assert "second of 4" in markers["distances"].text
    goal.cancel()
    goal.result()


def test_a_policy_of_one_answer_has_no_such_topic(start, constant_policy: Path, client: Client) -> None:
    start(constant_policy)
    goal = reach(client)
    goal.moving()
    assert client.node.count_publishers("/policy/candidates") == 0
    goal.cancel()
    goal.result()
