"""Walks: commands of every kind, sent through a SafeRobot and judged one by one.

A step is a dict. `kind`: relative (`move` metres and `turn` rotation vector, from the last target), absolute (`move`
from the middle of the box), action (`action`, Bridge's), or hostile (`poison`: value, row, column of the pose).
`gripper`, `wait` in seconds before it; where present `blocked` (something keeps the arm from moving), `hold` (hold and
resume before it), `fields` (of the command, in place of the honest ones).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pybullet

from mqe_core.robot.geometry import apply_action
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.safety_rules import CLIP_RULES, REFUSE_RULES
from mqe_core.robot.spec import RobotSpec, load_robot_spec
from mqe_core.runtime.loopback import LoopbackRobot
from mqe_core.runtime.robot import Command, RobotState
from mqe_core.runtime.safety.safe_robot import SafeRobot
from tests.runtime.safety_judge import Judge, Walk

PERIOD_S = 0.2


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
        pybullet.getMatrixFromQuaternion(pybullet.getQuaternionFromAxisAngle((vector / angle).tolist(), angle))
    ).reshape(3, 3)


def start_joints(spec: RobotSpec, name: str) -> np.ndarray:
    return {
        "neutral": spec.neutral_rad,
        "sleep": spec.sleep_rad,
        "down": np.array([0.0, 0.02201, 0.18310, 0.0, 1.36568, 0.0]),
        "stretched": np.array([0.3, 0.9, -1.0, 0.0, 0.6, 0.0]),  # near the arm's reach
        "low elbow": np.array([0.0, 1.711, -1.928, 0.0, -1.719, 0.0]),  # its upper arm 6 mm above the table
    }[name]


class TroubledRobot(LoopbackRobot):
    """An arm that something keeps from moving while `blocked` is set, and whose shoulder sags by `sag_rad` below its
    target.
    """

    blocked, sag_rad = False, 0.0

    def observe(self) -> RobotState:
        state = super().observe()
        if self.sag_rad == 0.0:
            return state
        joints = state.joints + [0.0, self.sag_rad, 0.0, 0.0, 0.0, 0.0]
        return replace(state, joints=joints, pose=forward_kinematics(self._spec, joints))

    def _advance(self) -> None:
        joints = self._joints.copy()
        super()._advance()
        if self.blocked:
            self._joints = joints


def check_walk(
    judge: Judge, start: str | np.ndarray, steps: list[dict], spec: RobotSpec | None = None, sag_rad: float = 0.0
) -> tuple[int, Counter[str]]:
    """Send the walk and judge every command sent; returns how many were sent and how often each rule spoke. A sagging
    arm starts where it is commanded to be, and sags from its first command on.
    """
    spec, clock = spec or load_robot_spec(), Clock()
    joints = start_joints(spec, start) if isinstance(start, str) else start
    arm = TroubledRobot(spec, clock=clock, start_joints=joints)
    robot = SafeRobot(arm, spec, clock)
    walk, count, rules = Walk(judge, joints), 0, Counter()
    for number, step in enumerate(steps):
        arm.blocked, arm.sag_rad = step.get("blocked", False), sag_rad if count else 0.0
        clock.time += step["wait"]
        state = robot.observe()
        if step.get("hold"):
            robot.hold()
            if robot.resume():  # the arm was found far from its target
                walk = Walk(judge, state.joints)
            else:
                np.testing.assert_array_equal(robot.observe().target_pose, state.target_pose)
            state = robot.observe()
        command = Command(_asked(step, state), step["gripper"], clock.now(), "fuzz", number, spec.base_frame)
        sent = robot.send(replace(command, **step["fields"](clock.now(), number)) if "fields" in step else command)
        rules.update(sent.clipped)
        assert set(sent.clipped) <= set(CLIP_RULES)
        if sent.refused is not None:
            assert sent.refused in REFUSE_RULES and sent.joints is None and sent.detail
            rules[sent.refused] += 1
            np.testing.assert_array_equal(
                robot.observe().target_pose, state.target_pose
            )  # held: the last sent target stays
            continue
        count += 1
        judge.step(walk, sent.joints, sent.pose, clock.now(), state.joints)
        assert 0.0 <= sent.gripper <= 1.0
    return count, rules


def _asked(step: dict, state: RobotState) -> np.ndarray:
    pose = state.target_pose.copy()
    if step["kind"] == "action":
        return apply_action(pose, step["action"], state.pose)
    turn = rotation_of(np.array(step["turn"]))
    if step["kind"] == "relative":
        pose[:3, 3] += step["move"]
        pose[:3, :3] = turn @ pose[:3, :3]
    else:
        pose[:3, 3] = np.array([0.28, 0.05, 0.12]) + np.array(step["move"])
        pose[:3, :3] = turn
    if step["kind"] == "hostile":
        value, row, column = step["poison"]
        pose[row, column] = value
    return pose


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


def towards_the_base(count: int) -> list[dict]:
    """A walk, inside the workspace box, that pulls the hand back and down and tips it up, until the arm meets its own
    base.
    """
    steps = random_steps(np.random.default_rng(3), count, 0.01, 0.05)
    for step in steps:
        step["move"], step["turn"] = step["move"] + [-0.03, 0.0, -0.02], step["turn"] + [0.0, -0.15, 0.0]
    return steps


def against_an_obstacle(count: int) -> list[dict]:
    """A walk of an arm that is blocked half of the time, ten steps each."""
    steps = random_steps(np.random.default_rng(9), count, 0.02, 0.08)
    for number, step in enumerate(steps):
        step["blocked"] = number // 10 % 2 == 1
    return steps


def pressing_down(count: int) -> list[dict]:
    """A walk that lowers a hand which the elbow below it carries."""
    steps = random_steps(np.random.default_rng(5), count, 0.005, 0.05)
    for step in steps:
        step["move"] = step["move"] + [0.01, 0.0, -0.01]
    return steps


def along_the_walls(count: int) -> list[dict]:
    """A walk in long steps that pushes into a corner of the workspace box and slides along its walls."""
    steps = random_steps(np.random.default_rng(11), count, 0.04, 0.1)
    for number, step in enumerate(steps):
        step["move"] = step["move"] + [0.03, 0.05 * np.cos(number / 8), 0.02]
    return steps
