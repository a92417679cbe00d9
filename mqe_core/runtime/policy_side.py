"""The policy's half of the loop: a camera frame and the arm's poses in, an absolute target out.

It owns no target: it composes each delta on the target that the arm's side really commanded, with the
measured pose as pivot, so a lost command is a skipped step and never a double one. In one process
`ControlLoop` drives it; on ROS 2 `policy_node` does.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mqe_core.geometry import apply_action
from mqe_core.runtime.frame_watch import FrameWatch
from mqe_core.runtime.robot import Clock, Command, Frame, check_domain
from mqe_core.spec import RobotSpec

# Why there is no command. The arm keeps its target.
NO_GOAL = "no_goal"
NO_FRAME = "no_frame"
NOT_FINITE = "not_finite_action"
NO_ANSWER = "no_answer"
LATE = "late"  # the answer took longer than a control period


class PolicyUnavailable(RuntimeError):
    """The policy gave no answer that counts, this time; the next may."""


@dataclass(frozen=True, eq=False)
class PolicyOutput:
    """One answer of a policy: action (7,) float32 in physical units, and control steps to the goal where it
    has a critic.
    """

    action: np.ndarray
    steps_to_goal: float | None


class Policy(Protocol):
    """A goal-reaching policy; `domain` is what its images must show."""

    domain: str

    def act(self, observation: np.ndarray, goal: np.ndarray) -> PolicyOutput:
        """Both images (H, W, 3) uint8 RGB of any size. PolicyUnavailable where there is no answer now."""


@dataclass(frozen=True, eq=False)
class Decision:
    """What the policy's side decided in one step: a command, or the reason why there is none."""

    command: Command | None
    output: PolicyOutput | None
    held: str | None  # one of the reasons above, or FrameWatch's; None where there is a command
    latency_s: float  # from the call to the decision
    detail: str = ""  # for people, where the reason alone does not say enough


class StickyGripper:
    """Bridge's gripper rule: open or closed, changed only after `steps` answers in a row say so (1 in
    bridge_data_v2, experiments/eval.py).
    """

    def __init__(self, threshold: float, steps: int) -> None:
        self._threshold = threshold
        self._steps = steps
        self.reset()

    def reset(self) -> None:
        """An episode begins with the gripper open."""
        self._closed = False
        self._disagreeing = 0

    def __call__(self, gripper: float) -> float:
        """Continuous gripper action (1 = open) → exactly 0.0 or 1.0."""
        if (gripper < self._threshold) != self._closed:
            self._disagreeing += 1
        else:
            self._disagreeing = 0
        if self._disagreeing >= self._steps:
            self._closed, self._disagreeing = not self._closed, 0
        return 0.0 if self._closed else 1.0


class PolicySide:
    """Turns frames and poses into commands of one session.

    Args:
        policy: anything with `act` and `domain`.
        gripper: rule that makes the gripper action binary.
        session: name of this commander; unique per start, so that the arm's side can tell a restart from a
            lost message.
    """

    def __init__(
        self,
        policy: Policy,
        spec: RobotSpec,
        clock: Clock,
        *,
        gripper: StickyGripper,
        session: str | None = None,
    ) -> None:
        self.session = session if session is not None else f"policy-{secrets.token_hex(4)}"
        self._policy = policy
        self._spec = spec
        self._clock = clock
        self._gripper = gripper
        self._watch = FrameWatch(spec)
        self._goal: np.ndarray | None = None
        self._sequence = 0

    def set_goal(self, image: np.ndarray, domain: str) -> None:
        """Pursue a new goal image (H, W, 3) uint8 RGB; ValueError where it shows another domain than the
        policy's.
        """
        check_domain(self._policy.domain, domain, "the goal image")
        self._goal = image
        self._gripper.reset()

    def clear_goal(self) -> None:
        """Stop commanding."""
        self._goal = None

    def compute(self, frame: Frame | None, measured_pose: np.ndarray, target_pose: np.ndarray) -> Decision:
        """One step of the policy.

        Args:
            frame: newest camera frame, or None; its stamp is on this side's clock.
            measured_pose: (4, 4) end effector, the pivot of the rotation.
            target_pose: (4, 4) target that the arm's side really commanded last.

        Raises ValueError where the frame shows another domain than the policy's.
        """
        begin = self._clock.now()
        if self._goal is None:
            return Decision(None, None, NO_GOAL, 0.0)
        if frame is None:
            return Decision(None, None, NO_FRAME, 0.0)
        check_domain(self._policy.domain, frame.domain, "the camera")
        refusal = self._watch.judge(frame, measured_pose[:3, 3], begin)
        if refusal is not None:
            return Decision(None, None, refusal[0], self._clock.now() - begin, refusal[1])
        try:
            output = self._policy.act(frame.image, self._goal)
        except PolicyUnavailable as error:
            return Decision(None, None, NO_ANSWER, self._clock.now() - begin, str(error))
        if not np.isfinite(output.action).all():
            return Decision(None, output, NOT_FINITE, self._clock.now() - begin)
        now = self._clock.now()
        if now - begin > self._spec.control.period_s:
            took = f"the policy took {now - begin:.2f} s, allowed {self._spec.control.period_s} s"
            return Decision(None, output, LATE, now - begin, took)
        self._sequence += 1
        command = Command(
            pose=apply_action(target_pose, output.action, measured_pose),
            gripper=self._gripper(float(output.action[6])),
            stamp=now,
            session=self.session,
            sequence=self._sequence,
            frame_id=self._spec.base_frame,
        )
        return Decision(command, output, None, now - begin)
