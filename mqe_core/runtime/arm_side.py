"""The arm's half of the loop: it owns the target, judges commands, holds when they stop, and homes.

It knows nothing of images or policies. In one process `ControlLoop` drives it; on ROS 2 `arm_node` does,
calling `receive` for each command and `tick` once per control period.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mqe_core.geometry import make_pose, rotation_angle, rotation_vector
from mqe_core.kinematics import forward_kinematics, inverse_kinematics
from mqe_core.runtime.robot import Clock, Command, RobotState
from mqe_core.runtime.safe_robot import SafeRobot
from mqe_core.runtime.safety_rules import JOINT_STATE, MOTORS, STALE_STATE, TOO_SOON
from mqe_core.spec import RobotSpec

READY, MOVING, HELD, FAULT = "ready", "moving", "held", "fault"
_FAULT_RULES = (MOTORS, JOINT_STATE, STALE_STATE)
_own_sessions = itertools.count(1)
_AT_REST_RAD = 0.15  # of the sleep joints: folded up; the waist may point anywhere
# A motion of its own rises to this height first: above what stands on the table, and still within reach at the far end of the workspace.
_CLEARANCE_M = 0.12
_CLEAR_OF_BASE_M = (
    0.16  # … and from nearer to the base also away from it: straight up there, the hand meets the arm's own shoulder
)
_MAX_OWN_COMMANDS = 150  # 30 s; from one end of the workspace to the other and to sleep it takes 6
_STANDSTILLS = 3  # in a row, after which a motion is stuck; a reversal takes one
_OWN_PACE = 0.3  # of the joints' velocity limits: well below their acceleration limit, too

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ArmReport:
    """What the arm's side has to say after a tick: the state machine, why, the last outcome, and the arm's
    newest state.
    """

    state: str  # ready, moving, held or fault
    reason: str  # rule or cause behind held or fault, or what was clipped; else empty
    clipped: tuple[str, ...]
    command: Command | None  # outcome of the newest command in this tick's period, as SafeRobot returned it
    arm: RobotState | None  # None where the arm could not be read


class ArmSide:
    """State machine around a SafeRobot.

    ready: nothing commanded lately. moving: commands arrive. held: an operator's hold, commands are ignored
        until `resume`.
    fault: motors or joint states are bad; it ends by itself when they are good again, at which point the arm
        is held.
    A refused or missing command makes the arm keep its last sent target; the next good one moves it again.
    """

    def __init__(self, robot: SafeRobot, clock: Clock) -> None:
        self.robot = robot
        self.state = READY
        self.reason = ""
        self._clock = clock
        self._newest: Command | None = None
        self._heard = -np.inf  # a command that was sent
        self._ignored = -np.inf  # one that came during a motion of its own
        self._own: OwnMotion | None = None

    def receive(self, command: Command) -> Command:
        """Judge and send one command now. Its stamp is of this side's clock: when it was received, whatever the sender wrote."""
        if self.state in (HELD, FAULT) or self._own is not None:
            cause = self.state
            if self._own is not None:
                cause, self._ignored = self._own.name, command.stamp
            result = replace(command, refused=cause, detail=f"the arm is {cause}: {self.reason}")
        else:
            result = self._send(command)
        self._newest = result
        return result

    def tick(self) -> ArmReport:
        """Once per control period: watch for silence and faults, go on homing, report."""
        now = self._clock.now()
        arm, fault = self.robot.inspect()
        if fault is not None:
            if self.state != FAULT:
                self._stop(FAULT, f"{fault[0]}: {fault[1]}")
        elif self.state == FAULT:
            self._set(HELD, f"recovered from {self.reason}; resume to go on")
        elif self._own is not None:
            self._go_on(arm, now)
        elif self.state == MOVING and now - self._heard > self.robot.spec.control.max_command_age_s:
            self.robot.hold()
            self._set(READY, f"no command for {self.robot.spec.control.max_command_age_s} s")
        newest, self._newest = self._newest, None
        return ArmReport(self.state, self.reason, newest.clipped if newest is not None else (), newest, arm)

    def hold(self, reason: str = "operator") -> None:
        """Stop taking commands and keep the last sent target, until `resume`. Always wins; safe to call
        again.
        """
        if self.state != FAULT:
            self._stop(HELD, reason)
        else:
            self.robot.hold()

    def resume(self) -> str:
        """Take commands again; returns what was done. RuntimeError where the joints cannot be trusted."""
        if self.state not in (HELD, FAULT):
            return "the arm was not held"
        rebased = self.robot.resume()
        self._set(READY, "")
        return "resumed; the target was re-based on the measured pose" if rebased else "resumed at the held target"

    def home(self) -> None:
        """Start the motion to the neutral joints' pose; `tick` carries it on, `hold` ends it. Raises
        RuntimeError while held.
        """
        self._start("homing", [self.robot.spec.neutral_joints])

    def park(self) -> None:
        """Start the motion to the sleep joints' pose by way of neutral: there the arm rests on itself. An arm that
        is there already is left alone. As `home` otherwise.
        """
        arm, _ = self.robot.inspect()
        if arm is not None and np.abs(arm.joints - self.robot.spec.sleep_joints)[1:].max() < _AT_REST_RAD:
            return
        self._start("parking", [self.robot.spec.neutral_joints, self.robot.spec.sleep_joints])

    def go_to(self, joints: np.ndarray, name: str, gripper: float | None = None) -> None:
        """Start the motion to the pose of `joints` (6,), with the gripper at `gripper` where that is given. As `home` otherwise."""
        self._start(name, [joints], gripper)

    @property
    def moves_itself(self) -> bool:
        """Whether a motion of this side's own is under way: homing, parking, or to a pose."""
        return self._own is not None

    def _start(self, name: str, stations: list[np.ndarray], gripper: float | None = None) -> None:
        if self.state in (HELD, FAULT):
            raise RuntimeError(f"the arm is {self.state} ({self.reason}); resume it before {name}")
        self.robot.release_session()
        self._own = OwnMotion(self.robot.spec, name, stations, gripper)
        self._set(MOVING, name)

    def _go_on(self, arm: RobotState, now: float) -> None:
        assert self._own is not None
        name = self._own.name
        command = self._own.next_command(arm, now)
        if command is None:
            # Whoever sent the arm there would not expect it to set off again by itself.
            if now - self._ignored <= self.robot.spec.control.max_command_age_s:
                self._end(HELD, f"{name} is done; resume lets the commands that come in move the arm again")
            else:
                self._end(READY, "")
            return
        result = self._send(command)
        if result.refused == TOO_SOON:  # the policy's last command came just before; the next tick is a period away
            self._set(MOVING, name)
        elif result.refused is not None:
            self._end(
                self.state if self.state == FAULT else HELD,
                f"{name} stopped: {result.refused}: {result.detail}",
            )
        elif self._own.is_stuck(result.pose, arm.target_pose):
            self._end(HELD, f"{name} is stuck: {', '.join(result.clipped)}: {result.detail}")
        else:
            self._set(MOVING, name)

    def _end(self, state: str, reason: str) -> None:
        self._own = None
        self.robot.release_session()
        self._set(state, reason)

    def _send(self, command: Command) -> Command:
        result = self.robot.send(command)
        if result.refused is None:
            self._heard = command.stamp
            self._set(MOVING, ", ".join(result.clipped))
        elif result.refused in _FAULT_RULES:
            self._stop(FAULT, f"{result.refused}: {result.detail}")
        else:
            self._set(self.state, f"{result.refused}: {result.detail}")
        return result

    def _stop(self, state: str, reason: str) -> None:
        self._own = None
        self.robot.hold()
        self._set(state, reason)

    def _set(self, state: str, reason: str) -> None:
        if state != self.state and FAULT in (state, self.state):
            logger.warning("arm: %s -> %s (%s)", self.state, state, reason)
        self.state, self.reason = state, reason


class OwnMotion:
    """Commands that lead through `stations` (joints (6,) each): first straight up to a clearance height where the tool is lower,
    then with all joints turning at once from one station to the next, as near the arm's own base a straight line in space would
    fold it into itself.
    """

    def __init__(
        self, spec: RobotSpec, name: str, stations: Sequence[np.ndarray], gripper: float | None = None
    ) -> None:
        self.name = name
        self._gripper = gripper  # None: as it is
        self._spec = spec
        self._stations = [np.asarray(joints, dtype=np.float64) for joints in stations]
        self._risen = False
        self._standstills = 0
        self._sequence = 0
        self._session = f"{name}-{next(_own_sessions)}"

    def next_command(self, arm: RobotState, now: float) -> Command | None:
        """The next target after `arm.target_pose`, or None once that is the last station."""
        here = arm.target_pose
        while self._stations and self._is_at(here, forward_kinematics(self._spec, self._stations[0])):
            self._stations.pop(0)
        if not self._stations:
            return None
        self._risen = self._risen or here[2, 3] >= _CLEARANCE_M - 1e-4
        self._sequence += 1
        return Command(
            pose=self._turn(arm) if self._risen else self._rise(arm),
            gripper=arm.target_gripper if self._gripper is None else self._gripper,
            stamp=now,
            session=self._session,
            sequence=self._sequence,
            frame_id=self._spec.base_frame,
        )

    def _rise(self, arm: RobotState) -> np.ndarray:
        """One step up, already turning as the first station asks where that can be reached; the filter shortens the turn."""
        here = arm.target_pose
        position = np.array([max(here[0, 3], _CLEAR_OF_BASE_M), here[1, 3], _CLEARANCE_M])
        step = position - here[:3, 3]
        length = float(np.linalg.norm(step))
        step *= min(1.0, self._spec.control.max_translation_step_m / length) if length > 0 else 1.0
        turned = make_pose(forward_kinematics(self._spec, self._stations[0])[:3, :3], here[:3, 3] + step)
        if inverse_kinematics(self._spec, turned, arm.joints) is not None:
            return turned
        return make_pose(here[:3, :3], here[:3, 3] + step)

    def _turn(self, arm: RobotState) -> np.ndarray:
        """One step of all joints towards the station: shortened as a whole, as each limit by itself would lead off the way."""
        here, control = arm.target_pose, self._spec.control
        joints = inverse_kinematics(self._spec, here, arm.joints)
        joints = arm.joints if joints is None else joints
        way = self._stations[0] - joints
        longest = control.period_s * self._spec.joint_velocity
        fraction = _OWN_PACE / max(_OWN_PACE, float((np.abs(way) / longest).max()))
        for _ in range(
            3
        ):  # the hand's step is nearly, not quite, in proportion; what is still too long the filter shortens
            pose = forward_kinematics(self._spec, joints + fraction * way)
            translation = float(np.abs(pose[:3, 3] - here[:3, 3]).max()) / control.max_translation_step_m
            rotation = (
                float(np.abs(rotation_vector(pose[:3, :3] @ here[:3, :3].T)).max()) / control.max_rotation_step_rad
            )
            excess = max(translation, rotation)
            if excess <= 1.0:
                break
            fraction *= 0.98 / excess
        return pose

    def is_stuck(self, sent: np.ndarray, before: np.ndarray) -> bool:
        """Whether the target that was `sent` after `before` ends this: it stands still, or the motion never ends."""
        self._standstills = self._standstills + 1 if np.abs(sent - before).max() < 1e-6 else 0
        return self._standstills >= _STANDSTILLS or self._sequence >= _MAX_OWN_COMMANDS

    @staticmethod
    def _is_at(here: np.ndarray, goal: np.ndarray) -> bool:
        return bool(
            np.abs(here[:3, 3] - goal[:3, 3]).max() < 1e-4 and rotation_angle(here[:3, :3], goal[:3, :3]) < 1e-3
        )
