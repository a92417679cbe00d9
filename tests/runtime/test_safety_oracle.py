"""Whatever is commanded, nothing that breaks a limit reaches the arm. The judge is PyBullet's kinematics of
the sim's URDF.

The judge reads the spec's YAML numbers and the URDF, and shares no code with the filter: forward kinematics,
rotations, joint names and limits are PyBullet's.
"""

from __future__ import annotations

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
PERIOD_S, TOLERANCE = 0.2, 5e-6
BOX = np.array([0.10, -0.15, -0.01]), np.array([0.45, 0.25, 0.25])  # robot_configs/widowx250s.yaml, BD2 eval.py


class Judge:
    """The arm in PyBullet, only as a kinematic chain."""

    def __init__(self, spec: RobotSpec, folder: Path) -> None:
        from mqe_sim.arm import urdf_text

        urdf = folder / "arm.urdf"
        urdf.write_text(urdf_text(spec), encoding="utf-8")
        self._client = pybullet.connect(pybullet.DIRECT)
        self._body = pybullet.loadURDF(str(urdf), useFixedBase=True, physicsClientId=self._client)
        info = [
            pybullet.getJointInfo(self._body, i, physicsClientId=self._client) for i in range(self._count())
        ]
        revolute = [entry for entry in info if entry[2] == pybullet.JOINT_REVOLUTE]
        self._joints = [entry[0] for entry in revolute]
        self.lower, self.upper, self.velocity = (
            np.array([entry[i] for entry in revolute]) for i in (8, 9, 11)
        )
        self._tool = next(entry[0] for entry in info if entry[12] == b"ee")
        self._hand = [entry[0] for entry in info if entry[12] in (b"gripper", b"gripper_bar", b"left_finger", b"right_finger")]
        for entry in info:
            if entry[12] in (b"left_finger", b"right_finger"):  # at their widest
                opened = entry[9] if abs(entry[9]) > abs(entry[8]) else entry[8]
                pybullet.resetJointState(self._body, entry[0], opened, physicsClientId=self._client)
        part = {entry[12].decode(): entry[0] for entry in info} | {"base": -1}
        body, hand = ("base", "shoulder", "upper_arm"), ("gripper", "gripper_bar", "left_finger", "right_finger")
        self._pairs = [
            (part[a], part[b])
            for a in body
            for b in ("upper_forearm", "lower_forearm", "wrist", *hand)
            if (a, b) != ("upper_arm", "upper_forearm")
        ]
        plane = pybullet.createCollisionShape(pybullet.GEOM_PLANE, physicsClientId=self._client)
        self._table = pybullet.createMultiBody(0, plane, physicsClientId=self._client)

    def _count(self) -> int:
        return pybullet.getNumJoints(self._body, physicsClientId=self._client)

    def tool(self, joints: np.ndarray) -> tuple[np.ndarray, tuple]:
        """Position (3,) and quaternion of the end effector."""
        for index, value in zip(self._joints, joints):
            pybullet.resetJointState(self._body, index, float(value), physicsClientId=self._client)
        state = pybullet.getLinkState(
            self._body, self._tool, computeForwardKinematics=1, physicsClientId=self._client
        )
        return np.array(state[4]), state[5]

    def hand_height(self, joints: np.ndarray) -> float:
        """Metres between the table, z = 0, and the lowest part of the hand; negative inside it."""
        self.tool(joints)
        pybullet.performCollisionDetection(physicsClientId=self._client)
        return min(
            point[8]
            for link in self._hand
            for point in pybullet.getClosestPoints(self._body, self._table, 2.0, linkIndexA=link, physicsClientId=self._client)
        )

    def self_distance(self, joints: np.ndarray) -> float:
        """Metres between the nearest two links that share no joint, at most 0.2; negative inside each other."""
        self.tool(joints)
        pybullet.performCollisionDetection(physicsClientId=self._client)
        near = [
            point[8]
            for a, b in self._pairs
            for point in pybullet.getClosestPoints(self._body, self._body, 0.2, linkIndexA=a, linkIndexB=b, physicsClientId=self._client)
        ]
        return min(near, default=0.2)

    def turn(self, before: tuple, after: tuple) -> np.ndarray:
        """(3,) rotation vector in base axes that takes one orientation to the other."""
        inverse = pybullet.invertTransform([0, 0, 0], before)[1]
        axis, angle = pybullet.getAxisAngleFromQuaternion(
            pybullet.multiplyTransforms([0, 0, 0], after, [0, 0, 0], inverse)[1]
        )
        return np.array(axis) * ((angle + np.pi) % (2 * np.pi) - np.pi)

    def close(self) -> None:
        pybullet.disconnect(self._client)


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
    }[name]


def check_walk(
    judge: Judge, start: str, steps: list[dict], spec: RobotSpec | None = None
) -> tuple[int, set[str]]:
    """Send the walk through a SafeRobot and judge every command sent; returns how many were sent and the
    rules that spoke.
    """
    spec, clock = spec or load_robot_spec(), Clock()
    low, high = BOX
    mock = LoopbackRobot(spec, clock=clock, start_joints=start_joints(spec, start))
    robot = SafeRobot(mock, spec, clock)
    last_joints = start_joints(spec, start)
    last_time, count, rules = -np.inf, 0, set()
    resting = min(0.0, judge.self_distance(last_joints))
    floor = min(0.0, judge.hand_height(last_joints))  # found too low it may stay so, and once higher not go back
    for number, step in enumerate(steps):
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
        q = sent.joints
        assert np.isfinite(q).all() and np.isfinite(sent.pose).all()
        assert (q >= judge.lower).all() and (q <= judge.upper).all()
        elapsed = min(PERIOD_S, clock.now() - last_time)
        assert (np.abs(q - last_joints) <= judge.velocity * elapsed + 1e-8).all()
        before, here = judge.tool(last_joints), judge.tool(q)
        np.testing.assert_allclose(sent.pose[:3, 3], here[0], atol=TOLERANCE)
        np.testing.assert_allclose(
            sent.pose[:3, :3],
            np.array(pybullet.getMatrixFromQuaternion(here[1])).reshape(3, 3),
            atol=TOLERANCE,
        )
        assert (np.abs(here[0] - before[0]) <= 0.05 + TOLERANCE).all()
        assert (np.abs(judge.turn(before[1], here[1])) <= 0.25 + TOLERANCE).all()
        # Inside the box, or (found outside it) not farther out than before.
        beyond, was_beyond = (np.maximum(low - p, p - high).clip(min=0) for p in (here[0], before[0]))
        assert (beyond <= was_beyond + TOLERANCE).all()
        # On the whole way there the hand stays off the table, or (found too low) gets no lower.
        for part in (0.25, 0.5, 0.75, 1.0):
            between = last_joints + part * (q - last_joints)
            assert judge.hand_height(between) >= floor - TOLERANCE
            if not (np.abs(between - spec.sleep_joints)[1:] < 0.3).all():  # folded up to sleep the arm rests on itself
                # Parts that touch already (the arm was found asleep) are judged by their capsules, which are not these boxes.
                allowed = -1e-4 if judge.self_distance(last_joints) >= 0.0 else resting - 0.002
                assert judge.self_distance(between) >= allowed
        floor = min(0.0, max(floor, judge.hand_height(q)))
        assert 0.0 <= sent.gripper <= 1.0
        last_joints, last_time = q, clock.now()
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
    monkeypatch.setattr("mqe_core.runtime.safety.SafetyFilter._meets_itself", lambda *_: False)
    with pytest.raises(AssertionError, match="self_distance"):
        check_walk(judge, "down", towards_the_base(60))


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
    return replace(spec, control=replace(spec.control, **{f"max_{what}": 10.0}))


@pytest.mark.parametrize(
    "what", ["workspace", "table", "velocity", "position", "translation_step_m", "rotation_step_rad"]
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
