"""The mock: LoopbackRobot moves its joints by arithmetic, ReplayCamera shows recorded frames.

No physics and no drawing, so that everything around an arm can be run and tested anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mqe_core.policy.domain import require_domain
from mqe_core.robot.arrays import Floats, Images
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Clock, Command, Frame, MotorHealth, RobotState
from mqe_core.runtime.safety.tolerances import DUE_PERIODS


class LoopbackRobot:
    """Joints move towards the last sent target at up to their velocity limits, by the injected clock. The same
    commands at the same times give the same motion.
    """

    def __init__(self, spec: RobotSpec, *, clock: Clock, start_joints: Floats | None = None) -> None:
        self._spec = spec
        self._clock = clock
        self._joints = np.array(spec.neutral_rad if start_joints is None else start_joints, dtype=np.float64)
        self._gripper = 1.0
        self._target_joints = self._joints.copy()
        self._target_gripper = self._gripper
        self._time = clock.now()

    def observe(self) -> RobotState:
        self._advance()
        return RobotState(
            stamp=self._time,
            joints=self._joints.copy(),
            gripper=self._gripper,
            pose=forward_kinematics(self._spec, self._joints),
            target_pose=forward_kinematics(self._spec, self._target_joints),
            target_gripper=self._target_gripper,
            health=MotorHealth(ok=True),
        )

    def send(self, allowed: Command) -> Command:
        if allowed.joints is None:
            raise ValueError("a command without joints reached the backend; send it through make_robot's SafeRobot")
        self._advance()
        self._target_joints = np.array(allowed.joints, dtype=np.float64)
        self._target_gripper = float(allowed.gripper)
        return allowed

    def hold(self) -> None:
        """Nothing to do: the joints already stop at the last sent target."""

    def close(self) -> None:
        """Nothing to release."""

    def _advance(self) -> None:
        now = self._clock.now()
        elapsed, self._time = now - self._time, now
        reach = self._spec.joint_velocity * elapsed
        self._joints += np.clip(self._target_joints - self._joints, -reach, reach)
        gripper = self._spec.gripper
        opening = gripper.velocity_m_per_s / (gripper.open_m - gripper.closed_m) * elapsed
        self._gripper += min(max(self._target_gripper - self._gripper, -opening), opening)


class ReplayCamera:
    """Shows given frames at `hz`, again from the first one after the last. `mqe_core.closed_loop.stored_camera` makes
    one from a stored episode.

    Args:
        frames: (n, H, W, 3) uint8 RGB or a list of images.
        domain: what the frames show, `sim` or `real`; pixels do not say, so there is no default.
        hz: frame rate; the control rate where it is not given.
    """

    def __init__(
        self,
        spec: RobotSpec,
        *,
        clock: Clock,
        frames: Sequence[Images] | Images,
        domain: str,
        hz: float | None = None,
    ) -> None:
        require_domain(domain, "the stored frames")
        if len(frames) == 0:
            raise ValueError("there is no frame to replay")
        self._frames = frames
        self._domain = domain
        self._clock = clock
        self._hz = spec.control.control_hz if hz is None else hz
        self._start = clock.now()

    def read(self) -> Frame | None:
        count = int((self._clock.now() - self._start) * self._hz + DUE_PERIODS)
        return Frame(self._start + count / self._hz, np.asarray(self._frames[count % len(self._frames)]), self._domain)

    def close(self) -> None:
        """Nothing to release."""
