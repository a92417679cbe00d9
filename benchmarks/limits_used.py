"""How near to the arm's limits normal operation comes: python benchmarks/limits_used.py --policy policy.onnx
[--episodes 3]

For the policy in held-out scenes, and for the scripted demonstrations: the largest joint acceleration that a step asks
of the motors' time profile (mqe_core.runtime.safety.joint_steps), and how far the arm lags behind its last target when
the next one is sent.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.robot.geometry import rotation_angle, state_to_pose
from mqe_core.robot.kinematics import forward_kinematics, inverse_kinematics
from mqe_core.robot.spec import RobotSpec, load_robot_spec
from mqe_core.runtime.backends import make_scene
from mqe_core.runtime.control_loop import ControlLoop
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.policy_side import PolicySide
from mqe_core.runtime.robot import Command
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.demonstration import UnreachableError, run_oracle
from mqe_sim.world import World

TASKS = ("place1", "place2", "drawer_place")


class Watched:
    """A robot that notes, at each step, where the arm was and where it was sent."""

    def __init__(self, robot) -> None:
        self._robot, self.measured, self.sent = robot, [], []

    def send(self, allowed: Command) -> Command:
        self.measured.append(self._robot.observe().joints)
        self.sent.append(np.array(allowed.joints))
        return self._robot.send(allowed)

    def __getattr__(self, name: str):
        return getattr(self._robot, name)


def policy_episode(bundle: PolicyBundle, spec: RobotSpec, task: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(measured, sent) joints (n, 6) each."""
    scene = make_scene("sim", spec, task, seed)
    try:
        watched, policy = Watched(scene.robot), OnnxPolicy(bundle)
        side = PolicySide(policy, spec, scene.clock, gripper=policy.gripper_rule())
        side.set_goal(scene.goal, "sim")
        ControlLoop(
            SafeRobot(watched, spec, scene.clock), scene.camera, side, scene.clock, spec.control.control_hz
        ).run(scene.max_steps)
        return np.array(watched.measured), np.array(watched.sent)
    finally:
        scene.close()


def demonstration(world: World, task: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    record = run_oracle(world, task, seed, None)
    measured, sent = np.array(record.qpos), []
    for state, near in zip(record.desired_state, measured):
        joints = inverse_kinematics(world.spec, state_to_pose(state[:6]), sent[-1] if sent else near)
        sent.append(near if joints is None else joints)
    return measured[:-1], np.array(sent)[1:]


def used(spec: RobotSpec, measured: np.ndarray, sent: np.ndarray) -> tuple[float, float, float]:
    """(rad/s^2, m, rad): the most of each."""
    control = spec.control
    steps = np.diff(sent, axis=0, prepend=sent[:1])
    change = (
        np.abs(steps)
        - np.where(np.sign(steps[:-1]) == np.sign(steps[1:]), np.abs(steps[:-1]), 0.0)[np.r_[0, : len(steps) - 1]]
    )
    per_step = control.profile_accel_time_s * (control.profile_moving_time_s - control.profile_accel_time_s)
    here, target = forward_kinematics(spec, measured[1:]), forward_kinematics(spec, sent[:-1])
    lag = np.linalg.norm(here[:, :3, 3] - target[:, :3, 3], axis=1).max()
    turn = max(rotation_angle(a[:3, :3], b[:3, :3]) for a, b in zip(here, target))
    return float(change[1:].max()) / per_step, float(lag), float(turn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True, help="a bundle of the sim")
    parser.add_argument("--episodes", type=int, default=3, help="scenes per task (default: %(default)s)")
    args = parser.parse_args()
    spec = load_robot_spec()
    bundle, world = PolicyBundle.open(args.policy, spec), World(spec)
    for task in TASKS:
        rows: dict[str, list[tuple[float, float, float]]] = {"policy": [], "demonstrations": []}
        for seed in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + args.episodes):
            rows["policy"].append(used(spec, *policy_episode(bundle, spec, task, seed)))
            try:
                rows["demonstrations"].append(used(spec, *demonstration(world, task, seed)))
            except UnreachableError:
                continue
        for who, figures in rows.items():
            acceleration, lag, turn = np.max(figures, axis=0)
            sys.stdout.write(
                f"{task:13} {who:15} {acceleration:5.1f} rad/s2   lag {1000 * lag:4.0f} mm, {turn:.2f} rad\n"
            )


if __name__ == "__main__":
    main()
