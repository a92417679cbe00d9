"""The mock: LoopbackRobot moves its joints by arithmetic, ReplayCamera shows recorded frames.

No physics and no drawing, so that everything around an arm can be run and tested anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mqe_core.kinematics import forward_kinematics
from mqe_core.runtime.robot import DOMAINS, Clock, Command, Frame, MotorHealth, RobotState
from mqe_core.spec import RobotSpec


class LoopbackRobot:
    """Joints move towards the last sent target at up to their velocity limits, by the injected clock;
    deterministic.
    """

    def __init__(self, spec: RobotSpec, *, clock: Clock, start_joints: np.ndarray | None = None) -> None:
        self._spec = spec
        self._clock = clock
        self._joints = np.array(spec.neutral_joints if start_joints is None else start_joints, dtype=np.float64)
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

    def send(self, command: Command) -> Command:
        if command.joints is None:
            raise ValueError("a command without joints reached the backend; send it through make_robot's SafeRobot")
        self._advance()
        self._target_joints = np.array(command.joints, dtype=np.float64)
        self._target_gripper = float(command.gripper)
        return command

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
    """Shows given frames at `hz`, again from the first one after the last. `mqe_core.replay` makes one from a
    stored episode.

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
        frames: Sequence[np.ndarray] | np.ndarray,
        domain: str,
        hz: float | None = None,
    ) -> None:
        if domain not in DOMAINS:
            raise ValueError(f"domain must be one of {', '.join(DOMAINS)}; got {domain!r}")
        if len(frames) == 0:
            raise ValueError("there is no frame to replay")
        self._frames = frames
        self._domain = domain
        self._clock = clock
        self._hz = spec.control.control_hz if hz is None else hz
        self._start = clock.now()

    def read(self) -> Frame | None:
        count = int((self._clock.now() - self._start) * self._hz + 1e-6)
        return Frame(self._start + count / self._hz, np.asarray(self._frames[count % len(self._frames)]), self._domain)

    def close(self) -> None:
        """Nothing to release."""
