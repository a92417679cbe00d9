"""Whatever is commanded, nothing that breaks a limit reaches the arm. The judge is PyBullet (safety_judge.py)."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mqe_core.runtime.loopback import LoopbackRobot
from mqe_core.runtime.robot import Command
from mqe_core.runtime.safe_robot import SafeRobot
from mqe_core.runtime.safety_rules import REFUSE_RULES
from mqe_core.spec import RobotSpec, load_robot_spec, with_table_height

pybullet = pytest.importorskip("pybullet")
sys.path.insert(0, str(Path(__file__).parent))
from safety_judge import Judge, Walk  # noqa: E402

PERIOD_S = 0.2


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory):
    judge = Judge(load_robot_spec(), tmp_path_factory.mktemp("judge"))
    yield judge
    judge.close()


class Clock:
    time = 0.0

    def now(self) -> float:
        return self.time

    def sleep_until(self, t: float) -> None:
        self.time = max(self.time, t)


def rotation_of(vector: np.ndarray) -> np.ndarray:
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    return np.array(
        pybullet.getMatrixFromQuaternion(
            pybullet.getQuaternionFromAxisAngle((vector / angle).tolist(), angle)
        )
    ).reshape(3, 3)


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


def start_joints(spec: RobotSpec, name: str) -> np.ndarray:
    return {
        "neutral": spec.neutral_joints,
        "sleep": spec.sleep_joints,
        "down": np.array([0.0, 0.02201, 0.18310, 0.0, 1.36568, 0.0]),
        "stretched": np.array([0.3, 0.9, -1.0, 0.0, 0.6, 0.0]),  # near the arm's reach
        "low elbow": np.array([0.0, 1.711, -1.928, 0.0, -1.719, 0.0]),  # its upper arm 6 mm above the table
    }[name]


class BlockedRobot(LoopbackRobot):
    """An arm that something keeps from moving while `blocked` is set."""

    blocked = False

    def _advance(self) -> None:
        joints = self._joints.copy()
        super()._advance()
        if self.blocked:
            self._joints = joints


def check_walk(
    judge: Judge, start: str, steps: list[dict], spec: RobotSpec | None = None
) -> tuple[int, set[str]]:
    """Send the walk through a SafeRobot and judge every command sent; returns how many were sent and the
    rules that spoke.
    """
    spec, clock = spec or load_robot_spec(), Clock()
    arm = BlockedRobot(spec, clock=clock, start_joints=start_joints(spec, start))
    robot = SafeRobot(arm, spec, clock)
    walk, count, rules = Walk(judge, start_joints(spec, start)), 0, set()
    for number, step in enumerate(steps):
        arm.blocked = step.get("blocked", False)
        clock.time += step["wait"]
        state = robot.observe()
        pose = state.target_pose.copy()
        if step["kind"] == "relative":
            pose[:3, 3] += step["move"]
            pose[:3, :3] = rotation_of(np.array(step["turn"])) @ pose[:3, :3]
        else:
            pose[:3, 3] = np.array([0.28, 0.05, 0.12]) + np.array(step["move"])
            pose[:3, :3] = rotation_of(np.array(step["turn"]))
        if step["kind"] == "hostile":
            value, row, column = step["poison"]
            pose[row, column] = value
        sent = robot.send(Command(pose, step["gripper"], clock.now(), "fuzz", number, spec.base_frame))
        after = robot.observe()
        rules.update(sent.clipped, [sent.refused] if sent.refused else [])
        if sent.refused is not None:
            assert sent.refused in REFUSE_RULES
            np.testing.assert_array_equal(
                after.target_pose, state.target_pose
            )  # held: the last sent target stays
            continue
        count += 1
        judge.step(walk, sent.joints, sent.pose, clock.now(), state.joints)
        assert 0.0 <= sent.gripper <= 1.0
    return count, rules


@settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(start=starts, steps=st.lists(step_strategy, min_size=1, max_size=30))
def test_no_sent_command_breaks_a_limit(judge: Judge, start: str, steps: list[dict]) -> None:
    check_walk(judge, start, steps)


def random_steps(rng: np.random.Generator, count: int, translation: float, rotation: float) -> list[dict]:
    return [
        {
            "kind": "relative",
            "move": rng.normal(0, translation, 3),
            "turn": rng.normal(0, rotation, 3),
            "gripper": float(rng.uniform(-0.2, 1.2)),
            "wait": PERIOD_S,
            "poison": (0.0, 0, 0),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("start", ["neutral", "down", "sleep", "stretched"])
def test_long_random_walks_break_no_limit(judge: Judge, start: str) -> None:
    rng = np.random.default_rng(sum(map(ord, start)))
    sent, rules = check_walk(judge, start, random_steps(rng, 300, 0.03, 0.12))
    # The walk met the limits it is to prove; not each walk finds the table.
    assert sent > 100 and {"workspace", "translation_step", "gripper"} <= rules


def test_walks_near_the_table_leave_it_alone(judge: Judge) -> None:
    rng = np.random.default_rng(7)
    steps = random_steps(rng, 400, 0.03, 0.15)
    for step in steps:
        step["move"] = step["move"] + [0.0, 0.0, -0.02]
    assert "table" in check_walk(judge, "down", steps)[1]
    for step in steps:  # turns on the table, as often as the filter takes them: no step may end a little lower than the last
        step["wait"], step["move"], step["turn"] = 0.11, np.array([0.0, 0.0, -0.01]), rng.normal(0, 0.3, 3)
    assert "joint_velocity" in check_walk(judge, "down", steps)[1]


def towards_the_base(count: int) -> list[dict]:
    """A walk, inside the workspace box, that pulls the hand back and down and tips it up, until the arm meets its own base."""
    steps = random_steps(np.random.default_rng(3), count, 0.01, 0.05)
    for step in steps:
        step["move"], step["turn"] = step["move"] + [-0.03, 0.0, -0.02], step["turn"] + [0.0, -0.15, 0.0]
    return steps


def test_an_arm_that_is_led_into_itself_stops_before(judge: Judge) -> None:
    assert "self_collision" in check_walk(judge, "down", towards_the_base(60))[1]


def test_the_judge_objects_where_self_collision_is_not_looked_for(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqe_core.runtime.path_check.PathCheck._meets_itself", lambda *_: False)
    with pytest.raises(AssertionError, match="self-collision"):
        check_walk(judge, "down", towards_the_base(60))


def against_an_obstacle(count: int) -> list[dict]:
    """A walk of an arm that is blocked half of the time, ten steps each."""
    steps = random_steps(np.random.default_rng(9), count, 0.02, 0.08)
    for number, step in enumerate(steps):
        step["blocked"] = number // 10 % 2 == 1
    return steps


def test_the_target_does_not_run_away_from_a_blocked_arm(judge: Judge) -> None:
    assert "wind_up" in check_walk(judge, "down", against_an_obstacle(200))[1]


def test_the_judge_objects_where_the_target_runs_away(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqe_core.runtime.target_limits.TargetLimits.ahead", lambda *_: (np.inf, np.inf))
    with pytest.raises(AssertionError, match="wind-up"):
        check_walk(judge, "down", against_an_obstacle(200))


def pressing_down(count: int) -> list[dict]:
    """A walk that lowers a hand which the elbow below it carries."""
    steps = random_steps(np.random.default_rng(5), count, 0.005, 0.05)
    for step in steps:
        step["move"] = step["move"] + [0.01, 0.0, -0.01]
    return steps


def test_an_elbow_that_is_led_into_the_table_stops_before(judge: Judge) -> None:
    assert {"table", "path"} & check_walk(judge, "low elbow", pressing_down(40))[1]


def test_the_judge_objects_where_only_the_hand_is_kept_off_the_table(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqe_core.runtime.table.LinkClearance.__call__", lambda _, frames: np.ones((*frames.shape[:-3], 1)))
    with pytest.raises(AssertionError, match="arm in the table"):
        check_walk(judge, "low elbow", pressing_down(40))


def along_the_walls(count: int) -> list[dict]:
    """A walk in long steps that pushes into a corner of the workspace box and slides along its walls."""
    steps = random_steps(np.random.default_rng(11), count, 0.04, 0.1)
    for number, step in enumerate(steps):
        step["move"] = step["move"] + [0.03, 0.05 * np.cos(number / 8), 0.02]
    return steps


def test_a_way_along_the_walls_stays_inside_them(judge: Judge) -> None:
    assert "workspace" in check_walk(judge, "down", along_the_walls(200))[1]


def test_the_judge_objects_where_the_box_is_looked_at_at_waypoints_only(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqe_core.runtime.path_check.PathCheck._leaves_the_box", lambda *_: False)
    with pytest.raises(AssertionError, match="workspace"):
        for start in ("down", "stretched"):
            check_walk(judge, start, along_the_walls(400))


def loosened(spec: RobotSpec, what: str) -> RobotSpec:
    """The spec with one limit taken away."""
    if what == "workspace":
        return replace(spec, workspace=replace(spec.workspace, low_m=np.full(3, -1.0), high_m=np.ones(3)))
    if what == "table":
        return with_table_height(spec, -1.0)
    if what == "velocity":
        return replace(spec, joints=tuple(replace(joint, velocity_rad_per_s=100.0) for joint in spec.joints))
    if what == "position":
        return replace(
            spec, joints=tuple(replace(joint, lower_rad=-3.2, upper_rad=3.2) for joint in spec.joints)
        )
    return replace(spec, control=replace(spec.control, **{f"max_{what}": 1e3}))


@pytest.mark.parametrize(
    "what", ["workspace", "table", "velocity", "position", "translation_step_m", "rotation_step_rad", "joint_acceleration_rad_per_s2"]
)
def test_the_judge_objects_where_a_limit_is_missing(judge: Judge, what: str) -> None:
    spec = loosened(load_robot_spec(), what)
    with pytest.raises(AssertionError):
        for seed in range(40):
            check_walk(judge, "down", random_steps(np.random.default_rng(seed), 100, 0.03, 0.15), spec)


@pytest.mark.slow
def test_very_long_walks_break_no_limit(judge: Judge) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        check_walk(
            judge,
            ["neutral", "down", "sleep", "stretched"][seed % 4],
            random_steps(rng, 2000, rng.uniform(0.005, 0.08), rng.uniform(0.02, 0.5)),
        )
