"""Whatever is commanded, nothing that breaks a limit reaches the arm. The judge is PyBullet (safety_judge.py)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mqe_core.robot.spec import RobotSpec, load_robot_spec

pytest.importorskip("pybullet")
from tests.runtime.safety_judge import Judge
from tests.runtime.safety_walks import (
    PERIOD_S,
    against_an_obstacle,
    along_the_walls,
    check_walk,
    pressing_down,
    random_steps,
    towards_the_base,
)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory):
    judge = Judge(load_robot_spec(), tmp_path_factory.mktemp("judge"))
    yield judge
    judge.close()


small, large = st.floats(-0.06, 0.06), st.floats(-1.0, 1.0)
angles = st.one_of(st.floats(-0.3, 0.3), st.floats(-np.pi, np.pi))
hostile = st.sampled_from([np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300])
step_strategy = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["relative", "relative", "relative", "absolute", "hostile"]),
        "move": st.tuples(*[st.one_of(small, large)] * 3),
        "turn": st.tuples(*[angles] * 3),
        "gripper": st.one_of(st.floats(-1, 2), hostile),
        "wait": st.sampled_from([PERIOD_S, PERIOD_S, PERIOD_S, 0.11, 0.05, 0.0, 1.0]),
        "poison": st.tuples(hostile, st.integers(0, 3), st.integers(0, 3)),
    }
)
starts = st.sampled_from(["neutral", "down", "sleep", "stretched"])


@settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(start=starts, steps=st.lists(step_strategy, min_size=1, max_size=30))
def test_no_sent_command_breaks_a_limit(judge: Judge, start: str, steps: list[dict]) -> None:
    check_walk(judge, start, steps)


@pytest.mark.parametrize("start", ["neutral", "down", "sleep", "stretched"])
def test_long_random_walks_break_no_limit(judge: Judge, start: str) -> None:
    rng = np.random.default_rng(sum(map(ord, start)))
    sent, rules = check_walk(judge, start, random_steps(rng, 300, 0.03, 0.12))
    # The walk met the limits it is to prove; not each walk finds the table.
    assert sent > 100 and {"workspace", "translation_step", "gripper"} <= set(rules)


def test_walks_near_the_table_leave_it_alone(judge: Judge) -> None:
    rng = np.random.default_rng(7)
    steps = random_steps(rng, 400, 0.03, 0.15)
    for step in steps:
        step["move"] = step["move"] + [0.0, 0.0, -0.02]
    assert "table" in check_walk(judge, "down", steps)[1]
    for (
        step
    ) in steps:  # turns on the table, as often as the filter takes them: no step may end a little lower than the last
        step["wait"], step["move"], step["turn"] = 0.11, np.array([0.0, 0.0, -0.01]), rng.normal(0, 0.3, 3)
    assert "joint_velocity" in check_walk(judge, "down", steps)[1]


def test_an_arm_that_is_led_into_itself_stops_before(judge: Judge) -> None:
    assert "self_collision" in check_walk(judge, "down", towards_the_base(60))[1]


def test_the_judge_objects_where_self_collision_is_not_looked_for(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mqe_core.runtime.safety.path_check.PathCheck._meets_itself", lambda *_: False)
    with pytest.raises(AssertionError, match="self-collision"):
        check_walk(judge, "down", towards_the_base(60))


def test_the_target_does_not_run_away_from_a_blocked_arm(judge: Judge) -> None:
    assert "wind_up" in check_walk(judge, "down", against_an_obstacle(200))[1]


def test_a_sagging_arm_is_not_walked_down_by_hold_and_resume(judge: Judge) -> None:
    """Each hold and resume leaves the target as it is, to the last digit."""
    still = random_steps(np.random.default_rng(1), 1, 0.01, 0.02) + [
        {"kind": "relative", "move": np.zeros(3), "turn": np.zeros(3), "gripper": 1.0, "wait": PERIOD_S, "hold": True}
        for _ in range(200)
    ]
    assert check_walk(judge, "down", still, sag_rad=0.03)[0] == 201


def test_the_judge_objects_where_the_target_runs_away(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqe_core.runtime.safety.target_limits.TargetLimits.ahead", lambda *_: (np.inf, np.inf))
    with pytest.raises(AssertionError, match="wind-up"):
        check_walk(judge, "down", against_an_obstacle(200))


def test_an_elbow_that_is_led_into_the_table_stops_before(judge: Judge) -> None:
    assert {"table", "path"} & set(check_walk(judge, "low elbow", pressing_down(40))[1])


def test_the_judge_objects_where_only_the_hand_is_kept_off_the_table(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mqe_core.runtime.safety.table_clearance.LinkClearance.__call__",
        lambda _, frames: np.ones((*frames.shape[:-3], 1)),
    )
    with pytest.raises(AssertionError, match="arm in the table"):
        check_walk(judge, "low elbow", pressing_down(40))


def test_a_way_along_the_walls_stays_inside_them(judge: Judge) -> None:
    assert "workspace" in check_walk(judge, "down", along_the_walls(200))[1]


def test_the_judge_objects_where_the_box_is_looked_at_only_at_the_targets(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mqe_core.runtime.safety.path_check.PathCheck._leaves_the_box", lambda *_: False)
    with pytest.raises(AssertionError, match="workspace"):
        for start in ("down", "stretched"):
            check_walk(judge, start, along_the_walls(400))


def loosened(spec: RobotSpec, what: str) -> RobotSpec:
    """The spec with one limit taken away."""
    if what == "workspace":
        return replace(spec, workspace=replace(spec.workspace, low_m=np.full(3, -1.0), high_m=np.ones(3)))
    if what == "table":
        return replace(spec, workspace=replace(spec.workspace, table_height_m=-1.0))
    if what == "velocity":
        return replace(spec, joints=tuple(replace(joint, velocity_rad_per_s=100.0) for joint in spec.joints))
    if what == "position":
        return replace(spec, joints=tuple(replace(joint, lower_rad=-3.2, upper_rad=3.2) for joint in spec.joints))
    return replace(spec, control=replace(spec.control, **{f"max_{what}": 1e3}))


@pytest.mark.parametrize(
    "what",
    [
        "workspace",
        "table",
        "velocity",
        "position",
        "translation_step_m",
        "rotation_step_rad",
        "joint_acceleration_rad_per_s2",
    ],
)
def test_the_judge_objects_where_a_limit_is_missing(judge: Judge, what: str) -> None:
    spec = loosened(load_robot_spec(), what)
    with pytest.raises(AssertionError):
        for seed in range(40):
            check_walk(judge, "down", random_steps(np.random.default_rng(seed), 100, 0.03, 0.15), spec)
