"""Promise: without ROS too a goal of another scene is refused before the arm moves, an own one runs, and both are
counted; `--anyway` pursues it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from mqe_core.cli import main
from mqe_core.images import encode_png
from mqe_core.policy.reachability import FAR, UNREACHABLE
from mqe_core.runtime.policy_side import PolicyOutput, PolicySide, StickyGripper
from mqe_core.runtime.robot import Frame

IMAGE = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
POSE = np.eye(4)
LIMIT = 10.0


class Distances:
    """A policy that goes ahead, and says of the goal what a test wrote down."""

    domain = "sim"

    def __init__(self, *steps_to_goal: float | None) -> None:
        self._answers = iter(steps_to_goal)

    def act(self, observation: np.ndarray, goal: np.ndarray) -> PolicyOutput:
        return PolicyOutput(np.array([0.01, 0, 0, 0, 0, 0, 1], np.float32), next(self._answers))


def reasons(spec, clock, *steps_to_goal: float | None, repeated: int = 1, **goal: bool) -> list[str | None]:
    """Why nothing was asked, for each answer; each picture comes `repeated` times."""
    side = PolicySide(Distances(*steps_to_goal), spec, clock, gripper=StickyGripper(0.5, 1), unreachable_steps=LIMIT)
    side.set_goal(IMAGE, "sim", **goal)
    found = []
    for number in range(len(steps_to_goal)):
        if number % repeated == 0:
            frame = Frame(clock.now(), IMAGE + np.uint8(number), "sim")
        decision = side.compute(frame, POSE, POSE)
        assert (decision.asked is None) == (decision.reason is not None)
        found.append(decision.reason)
        clock.advance(0.01)
    return found


def test_nothing_is_asked_before_an_answer_is_within_the_threshold(spec, clock) -> None:
    assert reasons(spec, clock, 20.0, 20.0, 20.0, 1.0) == [FAR, FAR, UNREACHABLE, UNREACHABLE]
    assert reasons(spec, clock, 20.0, 5.0, 20.0, 20.0, 5.0) == [FAR, None, None, None, None]
    assert reasons(spec, clock, 5.0, 20.0, 20.0, 20.0) == [None, None, None, UNREACHABLE]


def test_a_picture_that_comes_again_is_judged_once(spec, clock) -> None:
    assert reasons(spec, clock, *[20.0] * 6, repeated=2) == [FAR] * 4 + [UNREACHABLE] * 2


def test_an_operator_may_pursue_it_all_the_same(spec, clock) -> None:
    assert reasons(spec, clock, *[20.0] * 5, anyway=True) == [None] * 5


def test_without_a_critic_no_goal_is_refused(spec, clock) -> None:
    assert reasons(spec, clock, *[None] * 4) == [None] * 4


def test_a_new_goal_is_judged_anew(spec, clock) -> None:
    side = PolicySide(Distances(*[20.0] * 6), spec, clock, gripper=StickyGripper(0.5, 1), unreachable_steps=LIMIT)
    found = []
    for number in range(6):
        if number % 3 == 0:
            side.set_goal(IMAGE, "sim")
        decision = side.compute(Frame(clock.now(), IMAGE + np.uint8(number), "sim"), POSE, POSE)
        assert decision.detail == "20.0 steps to the goal, at most 10.0 can be reached"
        found.append(decision.reason)
        clock.advance(0.01)
    assert found == [FAR, FAR, UNREACHABLE] * 2


@pytest.fixture
def dark_goal(tmp_path: Path) -> Path:
    """Unlike the synthetic store's pictures, which are grey on the whole: for the tiny bundle hundreds of steps."""
    path = tmp_path / "dark.png"
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:8, :8] = 200
    path.write_bytes(encode_png(pixels))
    meaning = {"camera": "over_shoulder", "resize_rule": "squash-lanczos", "domain": "sim", "task": "place1", "seed": 4}
    path.with_suffix(".yaml").write_text(yaml.safe_dump({**meaning, "capture_pose": [0.2, 0, 0.2, 0, 0, 0, 1.0]}))
    return path


def test_mqe_run_ends_where_the_goal_is_refused(make_bundle, synthetic_store, dark_goal, tmp_path, capsys) -> None:
    policy = make_bundle(unreachable_steps=100.0)
    run = ["run", "--backend", "mock", "--policy", str(policy), "--episodes", str(synthetic_store), "--seconds", "1"]
    out = tmp_path / "refused"
    goal = ["--goal", str(dark_goal)]
    assert main([*run, *goal, "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert "the goal is unreachable: " in said and "at most 100.0 can be reached; --anyway pursues it" in said
    summary = json.loads((out / "summary.json").read_text())
    assert summary["steps"] == 3 and summary["kept_because"] == {FAR: 2, UNREACHABLE: 1}
    assert main([*run, *goal, "--anyway"]) == 0
    assert main(run) == 0  # the episode's own goal
