"""Promise: the index chosen last goes with a goal, through every way a policy is asked, and is lost with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.closed_loop.random_choice import RandomChoice
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.choice import check_choice
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.policy_side import Candidates, PolicyOutput, PolicySide, StickyGripper
from mqe_core.runtime.remote import wire
from mqe_core.runtime.remote.policy_server import PolicyServer
from mqe_core.runtime.remote.remote_policy import RemotePolicy
from mqe_core.runtime.robot import Frame
from tests.runtime.remote.running_server import PATIENCE_S, Running

GOAL = np.zeros((32, 32, 3), np.uint8)


def red(value: int) -> np.ndarray:
    """Candidate i of the tiny bundle is |value - 10 i| steps from the goal."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0] = value
    return image


@pytest.fixture
def policy(choosing_bundle: Path) -> OnnxPolicy:
    return OnnxPolicy(PolicyBundle.open(choosing_bundle))


def test_an_answer_holds_what_it_was_chosen_from(policy: OnnxPolicy) -> None:
    output = policy.act(red(18), GOAL)
    assert output.candidates is not None and output.candidates.chosen == 2
    np.testing.assert_allclose(output.candidates.distances, [18, 8, 2, 12], atol=1e-3)
    np.testing.assert_array_equal(output.action, output.candidates.actions[2])


def test_the_index_chosen_last_is_kept_within_the_margin(policy: OnnxPolicy) -> None:
    image = red(15)  # as far from candidate 1 as from 2
    assert [policy.act(image, GOAL, last).candidates.chosen for last in (NONE_CHOSEN, 1, 2, 3)] == [1, 1, 2, 1]


class Asked:
    """A policy that notes what it was told, and chooses number 3."""

    domain = "sim"

    def __init__(self) -> None:
        self.told: list[int] = []

    def act(self, observation: np.ndarray, goal: np.ndarray, last: int = NONE_CHOSEN) -> PolicyOutput:
        self.told.append(last)
        action = np.zeros(7, np.float32)
        return PolicyOutput(action, 3.0, Candidates(3, np.tile(action, (4, 1)), np.ones(4, np.float32)))


class Clock:
    time = 0.0

    def now(self) -> float:
        return self.time


def test_the_policy_side_keeps_it_and_loses_it_with_the_goal(spec: RobotSpec) -> None:
    clock, asked = Clock(), Asked()
    side = PolicySide(asked, spec, clock, gripper=StickyGripper(0.5, 1))
    side.set_goal(GOAL, "sim")

    def step(*, late: float = 0.0) -> None:
        clock.time += 0.2
        now = clock.time
        pose = np.eye(4)
        image = np.random.default_rng(round(10 * now)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        if late:
            act = asked.act

            def slow(*arguments):
                clock.time += late
                return act(*arguments)

            asked.act = slow
        side.compute(Frame(now, image, "sim"), pose, pose)
        asked.__dict__.pop("act", None)

    step(late=0.5)  # a command that is never sent was chosen for nothing
    for _ in range(3):
        step()
    side.set_goal(GOAL, "sim")
    for _ in range(2):
        step()
    side.clear_goal()
    side.set_goal(GOAL, "sim")
    step()
    assert asked.told == [-1, -1, 3, 3, -1, 3, -1]


def test_a_server_is_told_it_and_answers_alike(choosing_bundle: Path, policy: OnnxPolicy) -> None:
    running = Running(PolicyBundle.open(choosing_bundle))
    try:
        remote = RemotePolicy(running.address, keys=None, reply_timeout_s=PATIENCE_S)
        assert remote.contract == policy.contract
        for value, last in ((15, NONE_CHOSEN), (15, 2), (15, 3), (29, 0)):
            here, there = policy.act(red(value), GOAL, last), remote.act(red(value), GOAL, last)
            assert here.candidates.chosen == there.candidates.chosen
            for name in ("actions", "distances"):
                np.testing.assert_array_equal(getattr(here.candidates, name), getattr(there.candidates, name))
            np.testing.assert_array_equal(here.action, there.action)
        remote.close()
    finally:
        running.stop()


@pytest.mark.parametrize("last", [-2, 4, 2**63 - 1, -(2**63)])
def test_a_server_refuses_an_index_of_no_candidate(choosing_bundle: Path, last: int) -> None:
    server = PolicyServer(PolicyBundle.open(choosing_bundle), "tcp://127.0.0.1:*", None)
    try:
        fields = {"id": 1, "observation": GOAL.tobytes(), "goal": GOAL.tobytes(), "last": last}
        with pytest.raises(wire.WireError, match=f"one of 4 candidates, got {last}"):
            server._request(fields)
    finally:
        server.close()


def test_a_policy_of_one_answer_is_not_asked_to_choose(make_bundle) -> None:
    server = PolicyServer(PolicyBundle.open(make_bundle()), "tcp://127.0.0.1:*", None)
    try:
        with pytest.raises(wire.WireError, match="ask it to act"):
            server._request({"id": 1, "observation": GOAL.tobytes(), "goal": GOAL.tobytes(), "last": -1})
    finally:
        server.close()


def test_chance_in_the_critics_place_takes_all_alike_and_again(policy: OnnxPolicy, make_bundle) -> None:
    drawn = []
    for _ in range(2):
        chance = RandomChoice(policy, seed=1)
        outputs = [chance.act(red(18), GOAL, 2) for _ in range(200)]
        drawn.append([output.candidates.chosen for output in outputs])
        assert all(np.array_equal(o.action, o.candidates.actions[o.candidates.chosen]) for o in outputs)
    assert drawn[0] == drawn[1]
    assert all(30 < drawn[0].count(index) < 70 for index in range(4))
    with pytest.raises(ValueError, match="this one has one answer"):
        check_choice("random", chooses=False)
    with pytest.raises(ValueError, match="choice must be one of critic, random"):
        check_choice("dice", chooses=True)
