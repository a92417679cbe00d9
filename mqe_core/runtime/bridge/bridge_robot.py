"""An arm and a camera behind a running bridge_data_robot server (`bridge_server.py`).

The server has no hold and no watchdog: its motors keep their last target.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mqe_core import images
from mqe_core.policy.domain import REAL
from mqe_core.robot.arrays import Floats
from mqe_core.robot.geometry import action_between, apply_action, part_way, state_to_pose
from mqe_core.robot.kinematics import inverse_kinematics
from mqe_core.robot.safety_rules import JOINT_STATE, MOTORS, ROTATION_STEP, TRANSLATION_STEP, UNREACHABLE
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.aside import Aside
from mqe_core.runtime.bridge.bridge_server import BridgeServer
from mqe_core.runtime.robot import Command, Frame, MotorHealth, RobotState
from mqe_core.runtime.safety.tolerances import SHORTER

# What the server clips a step to, m and rad (bridge_data_robot, robot_base_env.py).
_STEP_LIMITS = np.array([0.05] * 3 + [0.25] * 3)
_DECODE_S = 0.5  # for one picture; 640x480 takes 10 ms
# Of a limit. The filter's own limits are kept that exactly where the joints are solved for.
_STEP_ROUNDING = 1e-6


class BridgeServerRobot:
    """The arm behind an initialised server, on that one's clock.

    The server does not tell the joints; here they are those that reach the measured pose. Nor does it tell the target
    on which it composes each step. Initialising it puts the arm at its start pose and the target on the measured one.
    From there the same target is kept here, step by step, with the server's own limits.

    The server turns each step about the position that it measures then, which is only nearly the one observed before.
    So turns of a moving arm let the two targets drift apart, by the turn times the way made in between. Where a step is
    not confirmed (no answer, a failure, nonsense), the target is no longer known, and this is the end.
    """

    def __init__(self, spec: RobotSpec, *, server: BridgeServer) -> None:
        self._spec, self._server = spec, server
        self._target: Floats | None = None
        self._lost: str | None = None  # why the target is not known any more
        self._target_gripper = 1.0

    def observe(self) -> RobotState:
        """RuntimeError where the server does not answer, has not confirmed a step, or tells a pose that the arm cannot
        have.
        """
        if self._lost is not None:
            raise RuntimeError(
                f"{self._lost}; its target is not known any more: start again (the arm moves to its start pose)"
            )
        observation = self._server.observation()
        pose = state_to_pose(observation.state)
        joints = (
            inverse_kinematics(self._spec, pose, self._spec.neutral_rad)
            if np.isfinite(observation.state).all()
            else None
        )
        if joints is None:
            raise RuntimeError(f"the server tells a state that the arm cannot have: {observation.state.tolist()}")
        if self._target is None:
            self._target, self._target_gripper = pose.copy(), min(max(float(observation.state[6]), 0.0), 1.0)
        return RobotState(
            stamp=observation.asked,
            joints=joints,
            gripper=float(observation.state[6]),
            pose=pose,
            target_pose=self._target.copy(),
            target_gripper=self._target_gripper,
            health=MotorHealth(ok=True),
        )

    def send(self, allowed: Command) -> Command:
        """One step towards the command, as far as the server goes in one; returns the target that the server has now.

        Refused where the arm cannot be observed (joint_state), and where the server does not confirm the step (motors),
        which may be carried out nevertheless. ValueError where the command has no joints.
        """
        if allowed.joints is None:
            raise ValueError(
                "a command without joints reached the backend; send it through SafeRobot, which solves for them"
            )
        try:
            state = self.observe()  # a newer one where judging the command took long
        except RuntimeError as error:
            return replace(allowed, joints=None, clipped=(), refused=JOINT_STATE, detail=str(error))
        sent, motion = self._shortened(allowed, allowed.joints, state)
        if sent.refused is not None:
            return sent
        self._lost = "the wait for the answer to a step was interrupted"  # unless it ends in one of these ways
        try:
            self._server.step(np.append(motion, sent.gripper))
        except Exception as error:  # whatever it is, the step may have been done
            self._lost = str(error)
            return replace(sent, refused=MOTORS, detail=f"{error}; it may still be carried out")
        self._lost = None
        self._target, self._target_gripper = apply_action(state.target_pose, motion, state.pose), float(sent.gripper)
        return replace(sent, pose=self._target.copy())

    def _shortened(self, allowed: Command, seed: Floats, state: RobotState) -> tuple[Command, Floats]:
        """The command, or one of a part of the way to it, and the motion (6,) that makes the server go there.

        The server clips each number of a motion by itself, which would lead off the way that the filter has checked;
        and as its turn is about the measured position, what makes up for an arm that lags behind is in the motion, too.
        """
        fraction, pose = 1.0, allowed.pose
        rule: str | None = None
        while True:
            motion = action_between(state.target_pose, pose, state.pose)
            excess = np.abs(motion) / _STEP_LIMITS
            if excess.max() <= 1.0 + _STEP_ROUNDING:
                break
            rule = rule or (TRANSLATION_STEP if excess.argmax() < 3 else ROTATION_STEP)
            fraction *= SHORTER / float(excess.max())
            pose = part_way(state.target_pose, allowed.pose, fraction, fraction)
        motion = np.clip(motion, -_STEP_LIMITS, _STEP_LIMITS)
        if rule is None:
            return allowed, motion
        detail = "; ".join(
            filter(None, [allowed.detail, f"the server goes {100 * fraction:.0f} % of that way in one step"])
        )
        joints = inverse_kinematics(self._spec, pose, seed)
        if joints is None:
            refused = f"{detail}, and no joints reach that"
            return replace(allowed, joints=None, refused=UNREACHABLE, detail=refused), motion
        clipped = tuple(dict.fromkeys((*allowed.clipped, rule)))
        return replace(allowed, pose=pose, joints=joints, clipped=clipped, detail=detail), motion

    def hold(self) -> None:
        """Nothing to send: the server's motors keep their target by themselves."""

    def close(self) -> None:
        """The connection belongs to who made it."""


class BridgeServerCamera:
    """The server's first camera, at its full size."""

    def __init__(self, server: BridgeServer) -> None:
        self._server = server
        self._aside = Aside(_DECODE_S, most_left=1)

    def read(self) -> Frame | None:
        """The picture of the server's newest observation, as old as that one's request. RuntimeError where the server
        does not answer, or sends what is no picture.
        """
        observation = self._server.observation()
        try:
            image = self._aside.wait_for(lambda: images.decode(observation.jpeg, images.FRAME_PIXELS))
        except (ValueError, TimeoutError) as error:
            raise RuntimeError(f"the server's camera: {error}") from error
        # An RGB array that was encoded as if it were BGR: an ordinary decoder finds red and blue exchanged.
        return Frame(observation.asked, np.ascontiguousarray(image[:, :, ::-1]), REAL)

    def close(self) -> None:
        """The connection belongs to who made it."""
