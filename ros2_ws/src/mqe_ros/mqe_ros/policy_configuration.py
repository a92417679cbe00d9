"""What the policy node runs on from one configuration to the next cleanup: read, opened and checked."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqe_core.policy.bundle import PolicyBundle, check_fit
from mqe_core.policy.domain import check_domain
from mqe_core.policy.goals import Goal, check_camera, find_goal, read_goal
from mqe_core.robot.spec import RobotSpec, load_robot_spec
from mqe_core.runtime.latency import Slot, choose_slot, given_slot, measure
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.remote.keys import key_folder
from mqe_core.runtime.remote.remote_policy import RemotePolicy

ValueOf = Callable[[str], Any]


@dataclass(frozen=True, eq=False)
class PolicyConfiguration:
    """Parameters with their defaults filled in, and the policy, which is open until `close`."""

    spec: RobotSpec
    policy: OnnxPolicy | RemotePolicy
    name: str  # the bundle's file or the server's address
    domain: str  # what the camera shows
    slot: Slot
    reached_steps: float | None  # of mqe_core.policy.goal_progress.Progress, like the next two
    stall_commands: int | None
    reached_in_a_row: int
    unreachable_steps: float | None  # of mqe_core.policy.reachability.Reachability
    goal_folders: tuple[Path, ...]
    first_goal: Goal | None  # to pursue from each activation on

    def close(self) -> None:
        _close(self.policy)


def read_configuration(value_of: ValueOf) -> PolicyConfiguration:
    """Open and check everything; ValueError, RuntimeError or OSError say what is wrong.

    It takes about a second longer where the slot is not given, as the policy's latency is measured then.
    """
    spec = load_robot_spec(value_of("robot"))
    name, policy = _open_policy(value_of, spec)
    try:
        contract, domain = policy.contract, value_of("camera_domain")
        check_domain(contract.domain, domain, "the camera")
        folders = tuple(Path(folder) for folder in value_of("goal_folders").split(os.pathsep) if folder)
        goal = _find_goal(value_of("goal"), folders, domain, spec)
        reached_steps, stall_commands = value_of("reached_steps"), value_of("stall_commands")
        unreachable_steps = value_of("unreachable_steps")
        return PolicyConfiguration(
            spec=spec,
            policy=policy,
            name=name,
            domain=domain,
            slot=_slot(value_of("slot_s"), policy, spec),
            reached_steps=contract.reached_steps if reached_steps < 0.0 else reached_steps,
            stall_commands=contract.stall_commands if stall_commands < 0 else stall_commands or None,
            reached_in_a_row=value_of("reached_in_a_row"),
            unreachable_steps=contract.unreachable_steps if unreachable_steps < 0.0 else unreachable_steps or None,
            goal_folders=folders,
            first_goal=goal,
        )
    except BaseException:
        _close(policy)
        raise


def _open_policy(value_of: ValueOf, spec: RobotSpec) -> tuple[str, OnnxPolicy | RemotePolicy]:
    """The bundle, or the server that computes one elsewhere, with its name."""
    server, keys = value_of("policy_server"), value_of("server_keys") or str(key_folder())
    if not server:
        path = value_of("policy")
        return path, OnnxPolicy(PolicyBundle.open(path, spec, threads=value_of("threads")))
    timeout = 0.5 * spec.control.period_s
    policy = RemotePolicy(server, keys=None if keys == "none" else Path(keys), reply_timeout_s=timeout)
    try:
        check_fit(policy.contract, spec)
    except ValueError:
        policy.close()
        raise
    return server, policy


def _find_goal(name: str, folders: tuple[Path, ...], domain: str, spec: RobotSpec) -> Goal | None:
    if not name:
        return None
    goal = read_goal(find_goal(name, folders))
    check_domain(domain, goal.domain, f"the goal {goal.path}")
    check_camera(goal, spec.camera.name)
    return goal


def _slot(given_s: float, policy: OnnxPolicy | RemotePolicy, spec: RobotSpec) -> Slot:
    period_s = spec.control.period_s
    if not math.isnan(given_s):
        return given_slot(given_s, period_s)
    return choose_slot(measure(policy, spec.camera.height_px, spec.camera.width_px), period_s)


def _close(policy: OnnxPolicy | RemotePolicy) -> None:
    if isinstance(policy, RemotePolicy):
        policy.close()
