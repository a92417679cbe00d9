"""The policy's half of the loop: a camera frame and the arm's poses in, an absolute target out.

It owns no target: it composes each delta on the target that the arm's side sent last, with the measured pose as pivot.
So a lost command is a skipped step and never a double one. In one process
`ControlLoop` drives it; on ROS 2 `policy_node` does.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.policy.domain import check_domain
from mqe_core.policy.reachability import Reachability
from mqe_core.robot.arrays import Float32s, Floats, Images
from mqe_core.robot.geometry import apply_action
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.frame_watch import FrameWatch
from mqe_core.runtime.policy_reasons import LATE, NO_ANSWER, NO_FRAME, NO_GOAL, NOT_FINITE_ACTION
from mqe_core.runtime.robot import Clock, Command, Frame


class PolicyUnavailable(RuntimeError):
    """The policy gave no answer that counts, this time; the next may."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """What an action was chosen from, and which one it is: ``actions (N, 7)`` in physical units, ``distances (N,)``
    control steps from each to the goal.
    """

    chosen: int
    actions: Float32s
    distances: Float32s


@dataclass(frozen=True, eq=False)
class PolicyOutput:
    """One answer of a policy: action (7,) float32 in physical units, control steps to the goal where it has a critic,
    where that chooses, among what, and where the bundle tells it, the share of the picture that is unlike the training
    pictures.
    """

    action: Float32s
    steps_to_goal: float | None
    candidates: Candidates | None = None
    outside: float | None = None


class Policy(Protocol):
    """A goal-reaching policy; `domain` is what its images must show."""

    domain: str

    def act(self, observation: Images, goal: Images, last: int = NONE_CHOSEN) -> PolicyOutput:
        """Both images (H, W, 3) uint8 RGB of any size; `last`: the candidate that was chosen for the command before, on
        the way to the same goal. PolicyUnavailable where there is no answer now.
        """


@dataclass(frozen=True, eq=False)
class Decision:
    """What the policy's side decided in one step: to ask for a command, or why not.

    Attributes:
        asked: the command, or None.
        output: the policy's answer; None where there was none.
        reason: one of `policy_reasons.REASONS`; None where there is a command.
        latency_s: from the call to the decision.
        detail: for people, where the reason alone does not say enough.
    """

    asked: Command | None
    output: PolicyOutput | None
    reason: str | None
    latency_s: float
    detail: str = ""


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
        session: name of this sender of commands; another one at each start, so that the arm's side can tell a restart
            from a lost message.
        unreachable_steps: steps_to_goal beyond which a goal is refused (`Reachability`); None: none is.
    """

    def __init__(
        self,
        policy: Policy,
        spec: RobotSpec,
        clock: Clock,
        *,
        gripper: StickyGripper,
        session: str | None = None,
        unreachable_steps: float | None = None,
    ) -> None:
        self.session = session if session is not None else f"policy-{secrets.token_hex(4)}"
        self._policy = policy
        self._spec = spec
        self._clock = clock
        self._gripper = gripper
        self._watch = FrameWatch(spec)
        self._unreachable_steps = unreachable_steps
        self._reachability = Reachability(None)
        self._judged: tuple[float | None, str | None] = (None, None)  # the newest picture's stamp, and what came of it
        self._goal: Images | None = None
        self._last = NONE_CHOSEN  # the candidate of the newest command
        self._sequence = 0

    def set_goal(self, image: Images, domain: str, *, anyway: bool = False) -> None:
        """Pursue a new goal image (H, W, 3) uint8 RGB, with `anyway` also where it would be refused; ValueError where
        it shows another domain than the policy's.
        """
        check_domain(self._policy.domain, domain, "the goal image")
        self._goal = image
        self._reachability = Reachability(None if anyway else self._unreachable_steps)
        self._judged = (None, None)
        self._last = NONE_CHOSEN
        self._gripper.reset()

    def clear_goal(self) -> None:
        """Stop commanding."""
        self._goal = None

    def compute(self, frame: Frame | None, measured_pose: Floats, target_pose: Floats) -> Decision:
        """One step of the policy.

        Args:
            frame: newest camera frame, or None; its stamp is on this side's clock.
            measured_pose: (4, 4) end effector, the pivot of the rotation.
            target_pose: (4, 4) target that the arm's side sent last.

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
            output = self._ask(frame.image, self._goal)
        except PolicyUnavailable as error:
            return Decision(None, None, NO_ANSWER, self._clock.now() - begin, str(error))
        if not np.isfinite(output.action).all():
            return Decision(None, output, NOT_FINITE_ACTION, self._clock.now() - begin)
        refused = self._judge_goal(frame.stamp, output.steps_to_goal)
        if refused is not None:
            most = f"at most {self._unreachable_steps:.1f} can be reached"
            detail = f"{output.steps_to_goal:.1f} steps to the goal, {most}"
            return Decision(None, output, refused, self._clock.now() - begin, detail)
        now = self._clock.now()
        if now - begin > self._spec.control.period_s:
            took = f"the policy took {now - begin:.2f} s, allowed {self._spec.control.period_s} s"
            return Decision(None, output, LATE, now - begin, took)
        if output.candidates is not None:
            self._last = output.candidates.chosen
        self._sequence += 1
        asked = Command(
            pose=apply_action(target_pose, output.action.astype(np.float64), measured_pose),
            gripper=self._gripper(float(output.action[6])),
            stamp=now,
            session=self.session,
            sequence=self._sequence,
            frame_id=self._spec.base_frame,
        )
        return Decision(asked, output, None, now - begin)

    def _judge_goal(self, stamp: float, steps_to_goal: float | None) -> str | None:
        """Why nothing is sent towards the goal, or None. A picture that comes again is judged once."""
        if stamp != self._judged[0]:
            self._judged = (stamp, self._reachability.update(steps_to_goal))
        return self._judged[1]

    def _ask(self, image: Images, goal: Images) -> PolicyOutput:
        """Only a policy that chose before is told what."""
        if self._last == NONE_CHOSEN:
            return self._policy.act(image, goal)
        return self._policy.act(image, goal, self._last)
