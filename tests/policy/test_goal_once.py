"""What depends on the goal alone is computed once per goal, and the answers stay those of the whole graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.goal_once import _GOALS, PolicySession, cut_at_goal
from mqe_core.policy.golden_images import counter_image
from mqe_core.policy.sessions import start_session
from mqe_core.runtime.onnx_policy import OnnxPolicy

SHIPPED = Path(__file__).parents[2] / "ros2_ws/src/mqe_bringup/policies/widowx_sim.onnx"


@pytest.fixture(scope="module")
def shipped() -> onnx.ModelProto:
    return onnx.load(SHIPPED)


def pictures(model: onnx.ModelProto, *numbers: int) -> np.ndarray:
    size = next(value for value in model.graph.input if value.name == "goal").type.tensor_type.shape.dim[1].dim_value
    return np.stack([counter_image(size, number) for number in numbers])


class Counted:
    """Stands before a session and counts what it is asked."""

    def __init__(self, session: Any) -> None:
        self.session, self.calls = session, 0

    def run(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.session.run(*arguments)


@pytest.fixture()
def counted(shipped: onnx.ModelProto) -> tuple[PolicySession, Counted]:
    session = PolicySession(shipped, threads=1)
    session._of_goal = of_goal = Counted(session._of_goal)
    return session, of_goal


@pytest.mark.parametrize("batch", [1, 3])
def test_the_answers_are_those_of_the_whole_graph(shipped: onnx.ModelProto, batch: int) -> None:
    whole, session = start_session(shipped.SerializeToString(), threads=1), PolicySession(shipped, threads=1)
    for first in (0, 10):
        inputs = {
            "observation": pictures(shipped, *range(first, first + batch)),
            "goal": pictures(shipped, *range(first + 5, first + 5 + batch)),
        }
        expected = dict(zip(session.outputs, whole.run(session.outputs, inputs)))
        for _ in range(2):  # the second time its goal is known
            answers = session.run(inputs)
            assert list(answers) == list(expected) == ["action", "steps_to_goal"]
            for name, values in answers.items():
                np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-6)


def test_a_goal_is_computed_once(shipped: onnx.ModelProto, counted: tuple[PolicySession, Counted]) -> None:
    session, of_goal = counted
    goal = pictures(shipped, 7)
    answers = [session.run({"observation": pictures(shipped, n), "goal": goal})["action"] for n in range(3)]
    assert of_goal.calls == 1 and not np.array_equal(answers[0], answers[1])
    session.run({"observation": pictures(shipped, 0), "goal": goal.copy()})  # the same picture in another array
    assert of_goal.calls == 1


def test_a_goal_that_is_prepared_is_known_to_the_first_answer(
    shipped: onnx.ModelProto, counted: tuple[PolicySession, Counted]
) -> None:
    session, of_goal = counted
    goal = pictures(shipped, 7)
    session.prepare(goal)
    session.run({"observation": pictures(shipped, 1), "goal": goal})
    assert of_goal.calls == 1


def test_another_goal_is_seen_even_in_the_same_array(
    shipped: onnx.ModelProto, counted: tuple[PolicySession, Counted]
) -> None:
    session, of_goal = counted
    observation, goal = pictures(shipped, 0), pictures(shipped, 7)
    before = session.run({"observation": observation, "goal": goal})["steps_to_goal"]
    goal[:] = pictures(shipped, 8)
    after = session.run({"observation": observation, "goal": goal})["steps_to_goal"]
    assert of_goal.calls == 2 and before != after


def test_a_few_goals_are_kept_and_no_large_batches(
    shipped: onnx.ModelProto, counted: tuple[PolicySession, Counted]
) -> None:
    session, of_goal = counted
    observation = pictures(shipped, 0)
    goals = [pictures(shipped, number) for number in range(1, _GOALS + 2)]
    for goal in (*goals, goals[-1], goals[1]):
        session.run({"observation": observation, "goal": goal})
    assert of_goal.calls == len(goals) and len(session._known) == _GOALS
    session.run({"observation": observation, "goal": goals[0]})  # it went first
    assert of_goal.calls == len(goals) + 1
    many = np.repeat(goals[0], 100, axis=0)
    for _ in range(2):
        session.run({"observation": many, "goal": many})
    assert of_goal.calls == len(goals) + 3 and max(map(len, session._known)) == goals[0].nbytes


def test_a_graph_without_layers_of_the_goal_stays_whole(make_bundle: Callable[..., Path]) -> None:
    model = onnx.load(make_bundle())
    assert cut_at_goal(model) is None
    session = PolicySession(model, threads=1)
    images = pictures(model, 1)
    assert session._of_goal is None and set(session.run({"observation": images, "goal": images})) == set(
        session.outputs
    )


def test_a_graph_with_branches_stays_whole(shipped: onnx.ModelProto) -> None:
    branched = onnx.ModelProto.FromString(shipped.SerializeToString())
    assert cut_at_goal(branched) is not None
    branch = onnx.helper.make_graph([], "branch", [], [])
    branched.graph.node.append(onnx.helper.make_node("If", ["yes"], [], then_branch=branch, else_branch=branch))
    assert cut_at_goal(branched) is None


def test_a_batch_that_the_observation_s_shape_names_cuts_nothing_together() -> None:
    """As the exporter writes a network that makes coordinates: it asks the observation alone for the shape."""
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Shape", ["observation"], ["shape"]),
        helper.make_node("Expand", ["one", "shape"], ["ones"]),
        *(helper.make_node("Cast", [name], [f"{name}_f"], to=kind.FLOAT) for name in ("observation", "goal")),
        *(helper.make_node("Add", [f"{name}_f", "ones"], [f"{name}_1"]) for name in ("observation", "goal")),
        *(helper.make_node("MatMul", [f"{name}_1", "w"], [f"{name}_w"]) for name in ("observation", "goal")),
        helper.make_node("Sub", ["observation_w", "goal_w"], ["answer"]),
    ]
    inputs = [helper.make_tensor_value_info(n, kind.UINT8, ["batch", 4, 4, 3]) for n in ("observation", "goal")]
    outputs = [helper.make_tensor_value_info("answer", kind.FLOAT, ["batch", 4, 4, 2])]
    weights = {"one": np.ones((1, 1, 1, 1), np.float32), "w": np.arange(6, dtype=np.float32).reshape(3, 2)}
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    parts, session = cut_at_goal(model), PolicySession(model, threads=1)
    assert parts is not None and [value.name for value in parts[0].graph.input] == ["goal"]
    for batch in (1, 3):
        observation, goal = (np.full((batch, 4, 4, 3), value, np.uint8) for value in (5, 2))
        answer = session.run({"observation": observation, "goal": goal})["answer"]
        assert answer.shape == (batch, 4, 4, 2)
        np.testing.assert_array_equal(answer[..., 0], 3 * (0 + 2 + 4))
        np.testing.assert_array_equal(answer[..., 1], 3 * (1 + 3 + 5))


def test_a_policy_prepares_the_goal_as_it_will_see_it() -> None:
    """Squashed to the policy's size by the same rule."""
    policy = OnnxPolicy(PolicyBundle.open(SHIPPED))
    policy.bundle._session._of_goal = of_goal = Counted(policy.bundle._session._of_goal)
    policy.prepare(counter_image(200, 7))
    policy.act(counter_image(200, 1), counter_image(200, 7))
    assert of_goal.calls == 1


def test_a_goal_is_prepared_beside_the_one_in_force() -> None:
    """Another thread does so, at any moment."""
    policy = OnnxPolicy(PolicyBundle.open(SHIPPED))
    frame, goal = counter_image(400, 1), counter_image(400, 2)
    alone = policy.act(frame, goal).action
    others = [counter_image(400, 3 + k) for k in range(3)]
    ended = threading.Event()

    def prepare() -> None:
        while not ended.is_set():
            for other in others:
                policy.prepare(other)

    thread = threading.Thread(target=prepare)
    thread.start()
    try:
        for _ in range(40):
            np.testing.assert_allclose(policy.act(frame, goal).action, alone, rtol=1e-6, atol=1e-7)
    finally:
        ended.set()
        thread.join()
