"""The arm's half of the loop: it owns the target, judges commands, holds when they stop, and homes.

It knows nothing of images or policies, only of ranks: an operator's command takes the arm from a policy. In one
process `ControlLoop` drives it; on ROS 2 `arm_node` does, calling `receive` for each command and `tick` once per
control period.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.ranks import NOBODY, OPERATOR, POLICY
from mqe_core.robot.safety_rules import FAULT, HELD, HOMING, JOINT_STATE, MOTORS, PARKING, STALE_STATE, TOO_SOON
from mqe_core.runtime.own_motion import OwnMotion
from mqe_core.runtime.robot import Clock, Command, RobotState
from mqe_core.runtime.safety.command_check import UNHEARD
from mqe_core.runtime.safety.safe_robot import SafeRobot

READY, MOVING = "ready", "moving"  # the other two states stand among the reasons to take no command
_FAULT_RULES = (MOTORS, JOINT_STATE, STALE_STATE)
_GIVES_BACK = "resume gives the arm back to the policy"
_AT_REST_RAD = 0.15  # of the sleep joints: folded up; the waist may point anywhere

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ArmReport:
    """What the arm's side has to say once per control period.

    Attributes:
        state: ready, moving, held or fault.
        reason: the rule or cause behind held or fault, or what was clipped; else empty.
        clipped: the rules that changed the newest command of this period.
        answer: what became of that command, as SafeRobot returned it; None where none came.
        arm: the arm's newest state; None where the arm could not be read.
    """

    state: str
    reason: str
    clipped: tuple[str, ...]
    answer: Command | None
    arm: RobotState | None


class ArmSide:
    """State machine around a SafeRobot.

    ready: nothing was commanded lately.
    moving: commands arrive, or the arm homes or parks.
    held: an operator's hold, or a stop that asks for one; commands are refused until `resume`.
    fault: motors or joint states are bad. It ends by itself when they are good again; then the arm is held.

    A refused or missing command makes the arm keep its last sent target; the next good one moves it again.

    An operator outranks a policy: the first good command of one takes the arm, at the target that was sent last. When
    the operator's commands stop, the arm is held. Then an operator may go on, and a policy only after `resume`. A hold
    that was asked for stops operators as well.

    Attributes:
        commander: whose commands the arm follows, a name of `ranks`; the operator's also while only he may go on.
    """

    def __init__(self, robot: SafeRobot, clock: Clock) -> None:
        self.robot = robot
        self.state = READY
        self.reason = ""
        self.commander = NOBODY
        self._clock = clock
        self._newest: Command | None = None  # what became of it
        self._heard = -np.inf  # when a command was last sent; of an operator, when one was last heard
        self._ignored = -np.inf  # when one last came during a motion of its own
        self._own: OwnMotion | None = None

    def receive(self, asked: Command, rank: str = POLICY) -> Command:
        """Judge and send one command now; returns what was really sent, or with `refused` set what was not. The
        stamp is of this side's clock: when the command was received, whatever its sender wrote. `rank` is its
        sender's, a name of `ranks`.
        """
        cause = self._takes_none(rank)
        if cause is not None:
            if self._own is not None:
                self._ignored = asked.stamp
            answer = replace(asked, refused=cause, detail=f"the arm is {self._words(cause)}")
        else:
            answer = self._take(asked, rank)
        self._newest = answer
        return answer

    def tick(self) -> ArmReport:
        """To be called once per control period: watches for silence and faults, goes on homing, and reports."""
        now = self._clock.now()
        arm, fault = self.robot.inspect()
        if fault is not None:
            if self.state != FAULT:
                self._stop(FAULT, f"{fault.rule}: {fault.detail}")
        elif self.state == FAULT:
            self._set(HELD, f"recovered from {self.reason}; resume to go on")
        elif self._own is not None:
            assert arm is not None  # else there is a fault
            self._go_on(self._own, arm, now)
        elif self.state == MOVING and now - self._heard > self.robot.spec.control.max_command_age_s:
            self.robot.hold()
            self._fall_silent()
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
            if self.commander == OPERATOR and self._own is None:
                raise RuntimeError("an operator moves the arm; it can be resumed once he lets go")
            return "the arm was not held"
        rebased = self.robot.resume()
        self.commander = NOBODY
        self._set(READY, "")
        return "resumed; the target was re-based on the measured pose" if rebased else "resumed at the held target"

    def home(self) -> None:
        """Start the motion to the neutral joints' pose; `tick` carries it on, `hold` ends it. Raises
        RuntimeError while held, but not where only an operator may go on: then he still has the arm afterwards.
        """
        self._start(HOMING, [self.robot.spec.neutral_rad])

    def park(self) -> None:
        """Start the motion to the sleep joints' pose by way of neutral: there the arm rests on itself. An arm that
        is there already is left alone. As `home` otherwise.
        """
        arm, _ = self.robot.inspect()
        if arm is not None and np.abs(arm.joints - self.robot.spec.sleep_rad)[1:].max() < _AT_REST_RAD:
            return
        self._start(PARKING, [self.robot.spec.neutral_rad, self.robot.spec.sleep_rad])

    def go_to(self, joints: Floats, name: str, gripper: float | None = None) -> None:
        """Start the motion to the pose of `joints` (6,), with the gripper at `gripper` where that is given. As `home`
        otherwise.
        """
        self._start(name, [joints], gripper)

    @property
    def moves_itself(self) -> bool:
        """Whether a motion of this side's own is under way: homing, parking, or to a pose."""
        return self._own is not None

    def _takes_none(self, rank: str) -> str | None:
        """What refuses every command of that rank now, before any rule judges it; None where nothing does."""
        if self._own is not None:
            return self._own.name
        if self.state == FAULT:
            return FAULT
        if self.commander == OPERATOR:
            return None if rank == OPERATOR else OPERATOR
        return HELD if self.state == HELD else None

    def _words(self, cause: str) -> str:
        return f"an operator's: {_GIVES_BACK}" if cause == OPERATOR else f"{cause}: {self.reason}"

    def _take(self, asked: Command, rank: str) -> Command:
        """Send the command. One that is heard makes its sender the commander, also where a rule refuses it."""
        if rank == OPERATOR and self.commander != OPERATOR:
            self.robot.release_session()  # a policy's; one that is not heard leaves it to that policy
        answer = self._send(asked)
        if answer.refused in UNHEARD or self.state == FAULT:
            return answer
        if rank == OPERATOR:
            self._heard = asked.stamp
            self._set(MOVING, _reason(answer))
        if self.state == MOVING:
            self.commander = rank
        return answer

    def _fall_silent(self) -> None:
        """Commands have stopped."""
        if self.commander == OPERATOR:
            self._set(HELD, f"the operator let go, or was lost; {_GIVES_BACK}")
        else:
            self.commander = NOBODY
            self._set(READY, f"no command for {self.robot.spec.control.max_command_age_s} s")

    def _start(self, name: str, stations: list[Floats], gripper: float | None = None) -> None:
        if self.state in (HELD, FAULT) and self.commander != OPERATOR:
            raise RuntimeError(f"the arm is {self.state} ({self.reason}); resume it before {name}")
        self.robot.release_session()
        self._own = OwnMotion(self.robot.spec, name, stations, gripper)
        if self.commander == POLICY:
            self.commander = NOBODY
        self._set(MOVING, name)

    def _go_on(self, own: OwnMotion, arm: RobotState, now: float) -> None:
        name, asked = own.name, own.next_command(arm, now)
        if asked is None:
            if self.commander == OPERATOR:
                self._end(HELD, f"{name} is done; {_GIVES_BACK}")
                return
            # Whoever sent the arm there would not expect it to set off again by itself.
            if now - self._ignored <= self.robot.spec.control.max_command_age_s:
                self._end(HELD, f"{name} is done; resume lets the commands that come in move the arm again")
            else:
                self._end(READY, "")
            return
        answer = self._send(asked)
        if answer.refused == TOO_SOON:  # the policy's last command came just before; the next one is a period away
            self._set(MOVING, name)
        elif answer.refused is not None:
            self._end(self.state if self.state == FAULT else HELD, f"{name} stopped: {_reason(answer)}")
        elif own.is_stuck(answer.pose, arm.target_pose):
            self._end(HELD, f"{name} is stuck: {', '.join(answer.clipped)}: {answer.detail}")
        else:
            self._set(MOVING, name)

    def _end(self, state: str, reason: str) -> None:
        self._own = None
        self.robot.release_session()
        self._set(state, reason)

    def _send(self, asked: Command) -> Command:
        answer = self.robot.send(asked)
        if answer.refused is None:
            self._heard = asked.stamp
            self._set(MOVING, _reason(answer))
        elif answer.refused in _FAULT_RULES:
            self._stop(FAULT, _reason(answer))
        elif self.state != HELD:  # why it is held is worth more than what a second operator tried
            self._set(self.state, _reason(answer))
        return answer

    def _stop(self, state: str, reason: str) -> None:
        self._own, self.commander = None, NOBODY
        self.robot.hold()
        self._set(state, reason)

    def _set(self, state: str, reason: str) -> None:
        if state != self.state and FAULT in (state, self.state):
            logger.warning("arm: %s -> %s (%s)", self.state, state, reason)
        self.state, self.reason = state, reason


def _reason(answer: Command) -> str:
    """What a state says of the newest command's answer."""
    return ", ".join(answer.clipped) if answer.refused is None else f"{answer.refused}: {answer.detail}"
